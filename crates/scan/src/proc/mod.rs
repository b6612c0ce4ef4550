//! The kernel's own files, where the program is not possible.

pub(crate) mod counters;
pub(crate) mod files;
