//! Checks that /proc is of the caller's PID namespace.

use crate::error::{Error, Result};
use crate::status::Status;

/// Checks that the numbers of processes in /proc are those of the caller.
///
/// # Errors
/// [`Error::NotPossible`] if /proc is of another PID namespace, or is not there: a number would be
/// another process's in it.
pub fn check() -> Result<()> {
    let status = Status::read("/proc/self/status").map_err(|e| {
        Error::NotPossible(format!(
            "reading /proc/self/status: {e}; mount /proc: mount -t proc proc /proc"
        ))
    })?;
    if is_of(&status, std::process::id()) {
        return Ok(());
    }
    Err(Error::NotPossible(
        "/proc is of another PID namespace, so that a process number means another process there: mount this namespace's own \
         (mount -t proc proc /proc; or start the namespace with unshare --mount-proc)"
            .into(),
    ))
}

/// Returns whether the process with this status in /proc has the number `pid` for itself.
fn is_of(status: &Status, pid: u32) -> bool {
    // Its numbers, from the namespace of /proc down to its own: one, if it is the same.
    let numbers = status.text("NSpid").unwrap_or_default();
    numbers.split_whitespace().eq([pid.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_namespace_has_several_numbers() {
        let of = |text: &str| is_of(&Status::from(text.as_bytes().to_vec()), 7);
        assert!(of("Pid:\t7\nNSpid:\t7\n"));
        assert!(!of("Pid:\t900\nNSpid:\t900\t7\n"));
        assert!(!of("Pid:\t900\nNSpid:\t900\n"));
        assert!(!of(""));
        check().unwrap();
    }
}
