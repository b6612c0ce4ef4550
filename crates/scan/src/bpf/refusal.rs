//! The reason why the kernel did not load the program, and what would help.

use std::fs;
use std::io;

use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::error::Error;

/// Returns the error of an object that was not loaded, with what would help.
pub(crate) fn not_loaded(error: &(dyn std::error::Error + 'static)) -> Error {
    let help = match errno(error) {
        Some(libc::EPERM) => {
            "; it needs root, or CAP_BPF and CAP_PERFMON, and a kernel that is not locked down for confidentiality"
        }
        // The kernel then has no function for this program that reads its memory, and calls the
        // program invalid.
        Some(libc::EINVAL) if is_locked_down() => "; this kernel is locked down for confidentiality",
        _ => "",
    };
    Error::NotPossible(format!("loading the BPF program: {}{help}", describe(error)))
}

/// Returns whether the kernel is locked down for confidentiality.
fn is_locked_down() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// Describes an error of aya in one line, the same for the same failure.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    // It names the map that is made first, which differs from time to time.
    if let Some(MapError::CreateError { io_error, .. }) = find(error) {
        return format!("map error: failed to create its maps: {io_error}");
    }
    // The verifier's log is long, and ends with its reason.
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = find(error) {
        let reason = last_reason(&verifier_log.to_string());
        return format!("the BPF_PROG_LOAD syscall returned {io_error}{reason}");
    }
    chain(error)
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

/// Returns the errno of the system call that an error comes from.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    find::<io::Error>(error)?.raw_os_error()
}

/// Returns the first error of this type among an error and its causes.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Returns an error with its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
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
    use aya::EbpfError;

    use super::*;

    #[test]
    fn a_map_that_cannot_be_made_is_the_same_text_whichever_it_is() {
        let text = |map: &str| {
            describe(&EbpfError::MapError(MapError::CreateError {
                name: map.to_owned(),
                io_error: io::Error::from_raw_os_error(libc::EPERM),
            }))
        };
        assert_eq!(
            text("NAMES"),
            "map error: failed to create its maps: Operation not permitted (os error 1)"
        );
        assert_eq!(text("NAMES"), text("RECORDS"));
        let other = EbpfError::NoBTF;
        assert_eq!(describe(&other), other.to_string());
    }

    #[test]
    fn what_helps_is_told_by_the_number_of_the_failure_and_not_by_its_text() {
        let of = |number, name: &str| {
            let error = EbpfError::MapError(MapError::CreateError {
                name: name.to_owned(),
                io_error: io::Error::from_raw_os_error(number),
            });
            not_loaded(&error).to_string()
        };
        let denied = of(libc::EPERM, "NAMES");
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
