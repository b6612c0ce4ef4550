//! What can go wrong, sorted by what the user can do about it.

use std::fmt;

/// Why an experiment, a report or a measurement could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value that the user gave cannot be used; the text says which and what would do.
    Usage(String),
    /// This machine or kernel does not allow it; the text names the limit.
    NotPossible(String),
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
    pub fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
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
            Self::Failed { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
