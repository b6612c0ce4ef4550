//! The pair of fences between a reader that announces itself and a writer that looks for readers.
//!
//! # Ordering contract
//! For every light fence L and every heavy fence H, either what precedes L is visible to what follows H, or what precedes H
//! is visible to what follows L. With two sequentially consistent fences that is the language's own promise. With
//! membarrier(2) the light fence is a compiler fence only: the kernel has every running thread of the process execute a full
//! barrier somewhere between the system call's begin and end, and L lies before or after that point.

use crate::primitive::{Ordering, fence};

/// How the cost of the fences is shared between readers and writers; chosen for each domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fences {
    /// A full fence on both sides: about 8 ns for each section, nothing special for writers. Works everywhere.
    Symmetric,
    /// Nothing for sections, membarrier(2) for writers, once for some hundred retired objects: 0.2 us, or 2 us while
    /// another thread of the process runs.
    #[cfg(all(feature = "std", target_os = "linux", not(loom)))]
    Asymmetric,
}

impl Fences {
    /// [`Fences::Asymmetric`] where the kernel allows it, else [`Fences::Symmetric`].
    #[must_use]
    pub fn cheapest_for_readers() -> Self {
        // Miri knows no membarrier(2).
        #[cfg(all(feature = "std", target_os = "linux", not(loom), not(miri)))]
        {
            use rustix::thread::{MembarrierCommand, membarrier};
            // Registering again is no error, so the first use of each domain may do it.
            if membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() {
                return Self::Asymmetric;
            }
        }
        Self::Symmetric
    }

    /// The reader's side: after it has announced what it may hold, before it loads a pointer.
    #[inline(always)]
    pub(crate) fn light(self) {
        match self {
            Self::Symmetric => fence(Ordering::SeqCst),
            #[cfg(all(feature = "std", target_os = "linux", not(loom)))]
            Self::Asymmetric => core::sync::atomic::compiler_fence(Ordering::SeqCst),
        }
    }

    /// The writer's side: after it has unlinked, before it looks for readers. Says whether it took effect; if not, nothing
    /// may be freed on account of what is seen after it.
    #[must_use]
    pub(crate) fn heavy(self) -> bool {
        match self {
            Self::Symmetric => {
                fence(Ordering::SeqCst);
                true
            }
            #[cfg(all(feature = "std", target_os = "linux", not(loom)))]
            Self::Asymmetric => {
                use rustix::thread::{MembarrierCommand, membarrier};
                membarrier(MembarrierCommand::PrivateExpedited).is_ok()
            }
        }
    }

    /// Whether the heavy fence costs no more than freeing a few objects.
    pub(crate) fn is_heavy_cheap(self) -> bool {
        self == Self::Symmetric
    }

    /// Blocks of retired objects for which one heavy fence is worth its price.
    pub(crate) fn blocks_for_a_fence(self) -> usize {
        match self {
            Self::Symmetric => 1,
            #[cfg(all(feature = "std", target_os = "linux", not(loom)))]
            Self::Asymmetric => 4,
        }
    }
}
