//! One file for each command.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
mod export;
pub(crate) mod man;
pub(crate) mod repro;
