//! AArch64: NEON, eight comparisons of two keys.

use core::arch::aarch64::{vaddvq_u64, vcltq_u64, vdupq_n_u64, vld1q_u64, vsubq_u64};

use super::{Keys, Search};

pub(crate) struct Neon;

// Up to Rust 1.86 all of these functions are unsafe; later those that read no memory are not.
#[allow(unused_unsafe)]
impl Search for Neon {
    #[inline(always)]
    unsafe fn position(keys: &Keys, index: u64) -> usize {
        // SAFETY: NEON is part of the architecture, here and below.
        let wanted = unsafe { vdupq_n_u64(index) };
        // SAFETY: as above.
        let mut count = unsafe { vdupq_n_u64(0) };
        for two in keys.chunks_exact(2) {
            // SAFETY: it loads two words.
            let two = unsafe { vld1q_u64(two.as_ptr()) };
            // SAFETY: as above.
            let below = unsafe { vcltq_u64(two, wanted) };
            // Where the key is below, the comparison yields all ones, which is minus one.
            // SAFETY: as above.
            count = unsafe { vsubq_u64(count, below) };
        }
        // SAFETY: as above.
        let count = unsafe { vaddvq_u64(count) };
        // The sixteenth word is no key.
        count as usize - usize::from(keys[15] < index)
    }
}
