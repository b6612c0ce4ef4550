//! The place of an index in a node: the number of its fifteen last indexes that are smaller.
//!
//! A node's keys are two cache lines of sixteen words, the sixteenth of which is no key. All
//! variants read all of them and branch on none. The processor decides which one is best: at run
//! time where `std` is there to ask.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// The most slots that a node has room for.
pub(crate) const MOST: usize = 15;

/// The keys of a node.
pub(crate) type Keys = [u64; MOST + 1];

/// A way to search.
pub(crate) trait Search {
    /// Returns how many of the first fifteen keys, which ascend, are below `index`.
    ///
    /// # Safety
    /// The processor has the instructions that the implementor names.
    unsafe fn position(keys: &Keys, index: u64) -> usize;
}

/// Calls a generic function with the best [`Search`] of this processor.
///
/// `search!(function::<generics>(arguments))`: the function takes the search as its first type
/// parameter and is `#[inline(always)]`.
macro_rules! search {
    ($name:ident :: <$($generic:ty),*> ($($value:expr),*)) => {
        match $crate::search::best() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` has found AVX-512F.
            $crate::search::Best::Avx512 => unsafe {
                $crate::search::avx512(#[inline(always)] || $name::<$crate::search::Avx512 $(, $generic)*>($($value),*))
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` has found AVX2.
            $crate::search::Best::Avx2 => unsafe {
                $crate::search::avx2(#[inline(always)] || $name::<$crate::search::Avx2 $(, $generic)*>($($value),*))
            },
            #[cfg(target_arch = "aarch64")]
            // NEON is part of the architecture.
            $crate::search::Best::Neon => $name::<$crate::search::Neon $(, $generic)*>($($value),*),
            #[cfg(not(target_arch = "aarch64"))]
            $crate::search::Best::Portable => $name::<$crate::search::Portable $(, $generic)*>($($value),*),
        }
    };
}
pub(crate) use search;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use {avx2::Avx2, avx512::Avx512};

/// The searches of this architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Best {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(not(target_arch = "aarch64"))]
    Portable,
}

/// Returns the best search of this processor; without `std`, of the processor that the compiler
/// was told of.
#[inline]
pub(crate) fn best() -> Best {
    #[cfg(target_arch = "x86_64")]
    {
        #[cfg(feature = "std")]
        let (avx512, avx2) = (
            std::is_x86_feature_detected!("avx512f"),
            std::is_x86_feature_detected!("avx2"),
        );
        #[cfg(not(feature = "std"))]
        let (avx512, avx2) = (cfg!(target_feature = "avx512f"), cfg!(target_feature = "avx2"));
        if avx512 {
            Best::Avx512
        } else if avx2 {
            Best::Avx2
        } else {
            Best::Portable
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        Best::Neon
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        Best::Portable
    }
}

/// Does `work` with AVX-512F available to the compiler.
///
/// # Safety
/// The processor has it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) unsafe fn avx512<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Does `work` with AVX2 available to the compiler.
///
/// # Safety
/// The processor has it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
pub(crate) unsafe fn avx2<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes what every search returns.
    fn count(keys: &Keys, index: u64) -> usize {
        keys[..MOST].iter().filter(|&&key| key < index).count()
    }

    fn agree(keys: &Keys, index: u64) {
        let expected = count(keys, index);
        // SAFETY: it needs nothing.
        assert_eq!(unsafe { Portable::position(keys, index) }, expected, "{keys:?} {index}");
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2") {
                // SAFETY: just checked.
                assert_eq!(unsafe { Avx2::position(keys, index) }, expected, "{keys:?} {index}");
            }
            if std::is_x86_feature_detected!("avx512f") {
                // SAFETY: just checked.
                assert_eq!(unsafe { Avx512::position(keys, index) }, expected, "{keys:?} {index}");
            }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: NEON is part of the architecture.
        assert_eq!(unsafe { Neon::position(keys, index) }, expected, "{keys:?} {index}");
    }

    #[test]
    fn all_searches_agree_with_counting() {
        let seed = std::env::var("VMAPLE_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap_or(0));
        println!("VMAPLE_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let edges = [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];
        for round in 0..20_000 {
            let mut keys: Keys = std::array::from_fn(|_| match round % 3 {
                0 => random.u64(..),
                1 => edges[random.usize(..edges.len())],
                _ => random.u64(..20),
            });
            // The sixteenth word may be anything.
            keys[..MOST].sort_unstable();
            let len = random.usize(..=MOST);
            keys[len..MOST].fill(u64::MAX);
            for index in edges.into_iter().chain(keys).chain([random.u64(..), random.u64(..20)]) {
                agree(&keys, index);
            }
        }
    }
}
