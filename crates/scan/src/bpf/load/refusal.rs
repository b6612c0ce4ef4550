//! The reason why the kernel did not load the program, and what would help.

use std::fs;

use crate::bpf::load::syscall::Refused;
use crate::error::Error;

/// Returns the error of an object that does not fit the kernel.
pub(crate) fn unfit(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::NotPossible(format!("fitting the BPF program to this kernel: {}", chain(error)))
}

/// Returns the error of an object that was not loaded, with what would help.
pub(crate) fn refused(Refused { what, error, log }: &Refused) -> Error {
    let help = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "; it needs root, or CAP_BPF and CAP_PERFMON, and a kernel that is not locked down for confidentiality"
        }
        // The kernel then has no function for this program that reads its memory, and calls the
        // program invalid.
        Some(libc::EINVAL) if is_locked_down() => "; this kernel is locked down for confidentiality",
        _ => "",
    };
    let reason = last_reason(log);
    Error::NotPossible(format!("loading the BPF program: {what}: {error}{reason}{help}"))
}

/// Returns whether the kernel is locked down for confidentiality.
fn is_locked_down() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// Returns the reason in a log of the verifier, after a colon.
///
/// The text is empty if there is none.
fn last_reason(log: &str) -> String {
    let is_statistic = |line: &str| {
        line.is_empty()
            || ["verification time ", "stack depth ", "processed ", "subprog "]
                .iter()
                .any(|s| line.starts_with(s))
    };
    let reason = log.lines().map(str::trim).rfind(|line| !is_statistic(line));
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

/// Returns an error with its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let more = cause.to_string();
        if text.is_empty() {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_helps_is_told_by_the_number_of_the_failure_and_not_by_its_text() {
        let of = |number, what| {
            let error = Refused {
                what,
                error: io::Error::from_raw_os_error(number),
                log: String::new(),
            };
            refused(&error).to_string()
        };
        let denied = of(libc::EPERM, "creating its maps");
        assert!(denied.ends_with("not locked down for confidentiality"), "{denied}");
        let too_large = of(libc::E2BIG, "(os error 1)");
        assert!(too_large.ends_with("(os error 7)"), "{too_large}");
    }

    #[test]
    fn of_a_log_of_the_verifier_the_reason_is_told() {
        let log = "0: R1=ctx\nprogram of this type cannot use helper bpf_probe_read_kernel#113\nprocessed 4 insns\n\n";
        assert_eq!(
            last_reason(log),
            ": program of this type cannot use helper bpf_probe_read_kernel#113"
        );
        assert_eq!(last_reason("processed 4 insns\n"), "");
    }
}
