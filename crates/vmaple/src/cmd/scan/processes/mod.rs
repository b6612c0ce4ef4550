//! The processes to scan: which, what they are, and what became of them.

mod cgroup;
pub(super) mod identity;
pub(super) mod select;
mod stat;
pub(super) mod status;
pub(super) mod tally;
pub(super) mod target;
