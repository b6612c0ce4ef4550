//! The pair of fences between a reader that announces itself and a writer that looks for readers.
//!
//! # Ordering contract
//! For every light fence L and every heavy fence H, one of two holds: what precedes L is visible to
//! what follows H, or what precedes H is visible to what follows L. A module for each way has the
//! same functions: [`full`] and [`membarrier`].

mod full;
#[cfg(all(feature = "std", target_os = "linux", not(loom), not(miri)))]
mod membarrier;
#[cfg(not(all(feature = "std", target_os = "linux", not(loom), not(miri))))]
mod membarrier {
    //! No such system call: this way is unavailable.
    pub(super) use super::full::{BLOCKS_FOR_A_FENCE, heavy, light};

    pub(super) fn register() -> bool {
        false
    }
}

/// How readers and writers share the cost of the fences; chosen for each domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fences {
    /// A full fence on both sides: about 8 ns for each section, nothing special for writers. Works
    /// everywhere.
    Symmetric,
    /// No cost for sections; membarrier(2) for writers, once for some hundred retired objects.
    ///
    /// The call takes 0.2 us, or 2 us while another thread of the process runs. Needs Linux and
    /// `std`; elsewhere, and where the kernel refuses the call, a domain falls back to
    /// [`Symmetric`](Self::Symmetric).
    Asymmetric,
}

impl Fences {
    /// Returns [`Fences::Asymmetric`] where the kernel allows it, else [`Fences::Symmetric`].
    #[must_use]
    pub fn cheapest_for_readers() -> Self {
        if membarrier::register() {
            Self::Asymmetric
        } else {
            Self::Symmetric
        }
    }

    /// Returns these fences, or [`Fences::Symmetric`] if they are unavailable.
    pub(crate) fn or_symmetric(self) -> Self {
        match self {
            Self::Symmetric => self,
            Self::Asymmetric => Self::cheapest_for_readers(),
        }
    }

    /// Orders the reader's announcement before its loads of pointers.
    #[inline(always)]
    pub(crate) fn light(self) {
        match self {
            Self::Symmetric => full::light(),
            Self::Asymmetric => membarrier::light(),
        }
    }

    /// Orders the writer's unlinking before its look for readers; returns whether it took effect.
    ///
    /// If it did not, nothing may be freed on account of what is seen after it.
    #[must_use]
    pub(crate) fn heavy(self) -> bool {
        match self {
            Self::Symmetric => full::heavy(),
            Self::Asymmetric => membarrier::heavy(),
        }
    }

    /// Returns whether the heavy fence costs no more than freeing a few objects.
    pub(crate) fn is_heavy_cheap(self) -> bool {
        self == Self::Symmetric
    }

    /// Returns the number of blocks of retired objects for which one heavy fence is worth its
    /// price.
    pub(crate) fn blocks_for_a_fence(self) -> usize {
        match self {
            Self::Symmetric => full::BLOCKS_FOR_A_FENCE,
            Self::Asymmetric => membarrier::BLOCKS_FOR_A_FENCE,
        }
    }
}
