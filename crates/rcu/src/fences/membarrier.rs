//! membarrier(2) on Linux: the light fence is a compiler fence only.
//!
//! Between the begin and the end of the system call, the kernel has every running thread of the
//! process execute a full barrier. A light fence lies before or after that point, which is the
//! contract.

use core::sync::atomic::{Ordering, compiler_fence};

use rustix::thread::{MembarrierCommand, membarrier};

pub(super) const BLOCKS_FOR_A_FENCE: usize = 4;

/// Registers the process with the kernel; returns whether the kernel allows it.
///
/// Registering again is no error, so each domain may do it.
pub(super) fn register() -> bool {
    membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
}

#[inline(always)]
pub(super) fn light() {
    compiler_fence(Ordering::SeqCst);
}

pub(super) fn heavy() -> bool {
    membarrier(MembarrierCommand::PrivateExpedited).is_ok()
}
