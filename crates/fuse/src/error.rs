//! The errors of a mount, sorted by what the user can do about them.

use std::fmt;

/// The reason why a tree cannot be mounted or unmounted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What is asked for makes no sense: the directory is not empty, or no mount.
    Usage(String),
    /// This machine or the rights of this process do not allow it. The text says what is missing.
    NotPossible(String),
    /// /proc cannot be read.
    Scan(vmaple_scan::Error),
    /// Something that should have worked did not.
    Failed {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        why: String,
    },
}

/// What a function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Failed {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NotPossible(text) => f.write_str(text),
            Self::Scan(error) => error.fmt(f),
            Self::Failed { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Scan(error) => Some(error),
            _ => None,
        }
    }
}

impl From<vmaple_scan::Error> for Error {
    fn from(error: vmaple_scan::Error) -> Self {
        Self::Scan(error)
    }
}
