//! The one thing that can go wrong.

use core::fmt;

/// Memory for bookkeeping could not be had; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for the bookkeeping of deferred freeing")
    }
}

impl core::error::Error for AllocError {}
