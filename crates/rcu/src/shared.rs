//! What the readers, the writer and the reaper of a domain share.

use crate::block::BlockStack;
use crate::fences::Fences;
use crate::primitive::{AtomicU64, AtomicUsize, unique_id};
use crate::slot::Registry;
use crate::stats::Counters;

/// The first era. Nothing is born before it.
const FIRST_ERA: u64 = 1;

/// What every section reads, away from what writers write more often.
#[repr(align(128))]
pub(crate) struct ReadMostly {
    /// The current era, which the [`Updater`](crate::Updater) alone advances.
    pub(crate) era: AtomicU64,
    pub(crate) fences: Fences,
    /// This domain's alone in the life of the process: an address could become another domain's.
    pub(crate) id: u64,
}

/// What all handles of a domain share.
pub(crate) struct Shared {
    read_mostly: ReadMostly,
    pub(crate) registry: Registry,
    /// Retired objects on their way from the updater to the reaper.
    pub(crate) sealed: BlockStack,
    /// Empty blocks on their way back.
    pub(crate) empty: BlockStack,
    pub(crate) counters: Counters,
    /// The number of blocks in `empty`, roughly: a block that is put while others are taken may be
    /// counted.
    pub(crate) empties: AtomicUsize,
}

impl core::ops::Deref for Shared {
    type Target = ReadMostly;

    #[inline]
    fn deref(&self) -> &ReadMostly {
        &self.read_mostly
    }
}

impl Shared {
    pub(crate) fn new(fences: Fences) -> Self {
        Self {
            read_mostly: ReadMostly {
                era: AtomicU64::new(FIRST_ERA),
                fences,
                id: unique_id(),
            },
            registry: Registry::new(),
            sealed: BlockStack::new(),
            empty: BlockStack::new(),
            counters: Counters::new(),
            empties: AtomicUsize::new(0),
        }
    }
}
