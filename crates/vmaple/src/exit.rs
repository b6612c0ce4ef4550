//! Exit codes, as `vmaple --help` lists them.

use std::process::ExitCode;

use vmaple_repro::Error;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    LimitExceeded = 3,
    NotPossible = 77,
    Interrupted = 130,
}

impl Exit {
    /// Returns the code of an error, by its kind, wherever that stands in the chain.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(error) = error.chain().find_map(|e| e.downcast_ref()) {
            return Self::of_scan(error);
        }
        if let Some(error) = error.chain().find_map(|e| e.downcast_ref()) {
            return Self::of_mount(error);
        }
        match error.chain().find_map(|e| e.downcast_ref::<Error>()) {
            Some(Error::Usage(_)) => Self::Usage,
            Some(Error::NotPossible(_)) => Self::NotPossible,
            _ => Self::Failed,
        }
    }

    /// Returns the code of a mount's error.
    fn of_mount(error: &vmaple_fuse::Error) -> Self {
        match error {
            vmaple_fuse::Error::Usage(_) => Self::Usage,
            vmaple_fuse::Error::NotPossible(_) => Self::NotPossible,
            vmaple_fuse::Error::Scan(error) => Self::of_scan(error),
            _ => Self::Failed,
        }
    }

    /// Returns the code of a scan's error.
    pub(crate) fn of_scan(error: &vmaple_scan::Error) -> Self {
        match error {
            vmaple_scan::Error::NotPossible(_) | vmaple_scan::Error::NotPermitted(_) => Self::NotPossible,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
