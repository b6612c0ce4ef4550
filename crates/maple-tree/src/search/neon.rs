//! AArch64: NEON, eight comparisons of two keys.

use core::arch::aarch64::{vaddvq_u64, vcltq_u64, vdupq_n_u64, vld1q_u64, vsubq_u64};

use super::{Keys, Search};

pub(crate) struct Neon;

impl Search for Neon {
    #[inline(always)]
    unsafe fn position(keys: &Keys, index: u64) -> usize {
        // SAFETY: NEON is part of the architecture.
        unsafe { below(keys, index) }
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn below(keys: &Keys, index: u64) -> usize {
    let wanted = vdupq_n_u64(index);
    let mut count = vdupq_n_u64(0);
    for two in keys.chunks_exact(2) {
        // SAFETY: two words are what is loaded.
        let two = unsafe { vld1q_u64(two.as_ptr()) };
        // Where it is below the comparison gives all ones, which is minus one.
        count = vsubq_u64(count, vcltq_u64(two, wanted));
    }
    // The sixteenth word is no key.
    vaddvq_u64(count) as usize - usize::from(keys[15] < index)
}
