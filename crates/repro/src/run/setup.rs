//! What all runs of an experiment have in common.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::plan::Plan;

use super::cgroup::ScannerCgroup;

/// What all runs of an experiment have in common.
pub(super) struct Setup<'a> {
    pub(super) plan: &'a Plan,
    /// The program that lets [`super::task::perform`] take over.
    pub(super) exe: &'a Path,
    /// The cgroup of the scanners, if a nice value is not all.
    pub(super) cgroup: Option<&'a ScannerCgroup>,
    /// Becomes readable when the user wants to stop.
    pub(super) stop: BorrowedFd<'a>,
}
