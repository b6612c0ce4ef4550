//! The errors of a scan, sorted by what the user can do about them.

use std::fmt;
use std::io;

use crate::denied::Denied;

/// The reason why a process could not be scanned.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A method is unavailable on this kernel or machine, or with the caller's rights. The text
    /// says what is missing.
    NotPossible(String),
    /// The caller may not read the process's memory map (`EACCES`). The text names the capability
    /// or rule.
    NotPermitted(Denied),
    /// There is no such process (`ESRCH`), or it ended during the scan. What was read is discarded.
    NoProcess(u32),
    /// The process is a thread of the kernel, which has no memory map.
    KernelThread(u32),
    /// The process has been killed or is ending: its memory map is gone already.
    Exiting(u32),
    /// The process has ended, and its parent has not waited for it.
    Zombie(u32),
    /// The process executed another program during the scan: what was read is of two.
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
    /// Returns an [`Error::Failed`] from what was tried and any displayable reason.
    pub(crate) fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Failed {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// Returns the process that the error is about, if it is about one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::NotPermitted(denied) => Some(denied.pid()),
            Self::NoProcess(pid)
            | Self::KernelThread(pid)
            | Self::Exiting(pid)
            | Self::Zombie(pid)
            | Self::Executed(pid) => Some(*pid),
            Self::NotPossible(_) | Self::Failed { .. } => None,
        }
    }

    /// Returns whether the process has ended or is ending. There is nothing to scan, and will not
    /// be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NoProcess(_) | Self::Exiting(_) | Self::Zombie(_))
    }

    /// Returns the error of an access to /proc/PID that failed.
    pub(crate) fn of_proc(pid: u32, what: &str, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted(Denied::of(pid)),
            Some(libc::ENOENT | libc::ESRCH) => Self::NoProcess(pid),
            _ => Self::failed(what, error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPossible(text) => f.write_str(text),
            Self::NotPermitted(denied) => denied.fmt(f),
            Self::NoProcess(pid) => write!(f, "process {pid}: no such process (ESRCH)"),
            Self::KernelThread(pid) => write!(f, "process {pid}: it is a kernel thread, which has no memory map"),
            Self::Exiting(pid) => write!(f, "process {pid}: it is ending: its memory map is gone already"),
            Self::Zombie(pid) => write!(f, "process {pid}: it has ended, and its parent has not waited for it"),
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
