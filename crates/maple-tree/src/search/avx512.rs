//! x86-64 with AVX-512F: two comparisons of eight keys, without sign.

use core::arch::x86_64::{_mm512_cmplt_epu64_mask, _mm512_loadu_si512, _mm512_set1_epi64};

use super::{Keys, Search};

pub(crate) struct Avx512;

impl Search for Avx512 {
    #[inline(always)]
    unsafe fn position(keys: &Keys, index: u64) -> usize {
        // SAFETY: the caller's processor has AVX-512F.
        unsafe { below(keys, index) }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn below(keys: &Keys, index: u64) -> usize {
    let index = _mm512_set1_epi64(index.cast_signed());
    let (low, high) = keys.split_at(8);
    // SAFETY: it loads eight words, which need not be aligned.
    let low = unsafe { _mm512_loadu_si512(low.as_ptr().cast()) };
    // SAFETY: as above.
    let high = unsafe { _mm512_loadu_si512(high.as_ptr().cast()) };
    let low = _mm512_cmplt_epu64_mask(low, index);
    // The sixteenth word is no key.
    let high = _mm512_cmplt_epu64_mask(high, index) & 0x7f;
    (u16::from_le_bytes([low, high])).trailing_ones() as usize
}
