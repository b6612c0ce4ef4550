//! x86-64 with AVX2: four comparisons of four keys.

use core::arch::x86_64::{
    __m256i, _mm256_castsi256_pd, _mm256_cmpgt_epi64, _mm256_loadu_si256, _mm256_movemask_pd, _mm256_set1_epi64x,
    _mm256_xor_si256,
};

use super::{Keys, Search};

pub(crate) struct Avx2;

impl Search for Avx2 {
    #[inline(always)]
    unsafe fn position(keys: &Keys, index: u64) -> usize {
        // SAFETY: the caller's processor has AVX2.
        unsafe { below(keys, index) }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn below(keys: &Keys, index: u64) -> usize {
    // The comparison is one of signed numbers: both sides are moved by 2^63.
    let sign = _mm256_set1_epi64x(i64::MIN);
    let index = _mm256_xor_si256(_mm256_set1_epi64x(index.cast_signed()), sign);
    let mut mask = 0;
    for (i, four) in keys.chunks_exact(4).enumerate() {
        // SAFETY: it loads four words, which need not be aligned.
        let four = unsafe { _mm256_loadu_si256(four.as_ptr().cast::<__m256i>()) };
        let below = _mm256_cmpgt_epi64(index, _mm256_xor_si256(four, sign));
        mask |= _mm256_movemask_pd(_mm256_castsi256_pd(below)) << (4 * i);
    }
    // The sixteenth word is no key. Keys ascend: the first that is not below ends the count.
    (mask | 1 << 15).trailing_ones().min(15) as usize
}
