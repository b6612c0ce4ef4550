//! Two sequentially consistent fences: the contract is the language's own promise.

use crate::primitive::{Ordering, fence};

pub(super) const BLOCKS_FOR_A_FENCE: usize = 1;

#[inline(always)]
pub(super) fn light() {
    fence(Ordering::SeqCst);
}

pub(super) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    true
}
