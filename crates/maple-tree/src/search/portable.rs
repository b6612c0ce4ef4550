//! Any processor: binary search without branches, four steps.

use super::{Keys, Search};

pub(crate) struct Portable;

impl Search for Portable {
    #[inline(always)]
    unsafe fn position(keys: &Keys, index: u64) -> usize {
        let mut position = 0;
        for step in [8, 4, 2, 1] {
            // Fifteen keys are 8 + 4 + 2 + 1: no step leaves them.
            position += step * usize::from(keys[position + step - 1] < index);
        }
        position
    }
}
