//! The only error: no memory.

use core::fmt;

/// No memory for bookkeeping; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for the bookkeeping of deferred freeing")
    }
}

impl core::error::Error for AllocError {}
