//! What can go wrong, sorted by what the user can do about it.

use std::fmt;
use std::io;

/// Why a process could not be scanned.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// This kernel, this machine or the caller's rights do not allow a method; the text says what is missing.
    NotPossible(String),
    /// The caller may not read the process's memory map (`EACCES`).
    NotPermitted(u32),
    /// There is no such process, or it has no address space any more (`ESRCH`); also if it ended during the scan: what was read is
    /// discarded.
    NoProcess(u32),
    /// The process executed another program during the scan, so that what was read is of two.
    Executed(u32),
    /// Something that should have worked did not.
    Failed {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        why: String,
    },
}

impl Error {
    /// An [`Error::Failed`] from what was tried and any displayable reason.
    pub(crate) fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Failed {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// What an access to /proc/PID says.
    pub(crate) fn of_proc(pid: u32, what: &str, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted(pid),
            Some(libc::ENOENT | libc::ESRCH) => Self::NoProcess(pid),
            _ => Self::failed(what, error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPossible(text) => f.write_str(text),
            Self::NotPermitted(pid) => write!(
                f,
                "process {pid}: permission denied (EACCES): whoever may not read /proc/{pid}/maps may not scan it either; run as its user or as root"
            ),
            Self::NoProcess(pid) => write!(
                f,
                "process {pid}: no such process, or it has ended, or it has no memory map (ESRCH)"
            ),
            Self::Executed(pid) => write!(
                f,
                "process {pid}: it executed another program during the scan; scan it again"
            ),
            Self::Failed { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
