//! What a leaf table knows of its pages, in one word.

use super::arch::{PageFlags, Pte};

const BITS: u32 = 10;
const FIELD: u64 = (1 << BITS) - 1;
const SHARE: u64 = 1 << 63;

/// Counts of a leaf table's pages, packed: one load gives all of one moment. Of an upper table the pages are the tables below it.
///
/// # Invariants
/// Each of the four counts has ten bits and is at most 512.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafCounters(u64);

impl LeafCounters {
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// What one entry counts for.
    pub(super) fn of(pte: Option<Pte>) -> Self {
        let Some(pte) = pte else {
            return Self(0);
        };
        if pte.flags.contains(PageFlags::ZERO) {
            return Self(1);
        }
        let bit = |flag, field| u64::from(pte.flags.contains(flag)) << (field * BITS);
        Self(1 | 1 << BITS | bit(PageFlags::DIRTY, 2) | bit(PageFlags::ACCESSED, 3))
    }

    /// With an entry replaced that is counted.
    #[must_use]
    pub(super) fn replaced(self, old: Self, new: Self) -> Self {
        // INVARIANT: no field goes below zero or above the number of entries, so none carries into another.
        Self(self.0 - old.0 + new.0)
    }

    /// With the note that pages may be shared.
    #[must_use]
    pub(super) const fn shared(self) -> Self {
        Self(self.0 | SHARE)
    }

    const fn field(self, field: u32) -> u64 {
        self.0 >> (field * BITS) & FIELD
    }

    /// Entries that are not empty.
    #[must_use]
    pub const fn present(self) -> u64 {
        self.field(0)
    }

    /// Pages of anonymous memory, those of zeros not counted.
    #[must_use]
    pub const fn anon(self) -> u64 {
        self.field(1)
    }

    /// Those of them that have been written.
    #[must_use]
    pub const fn dirty(self) -> u64 {
        self.field(2)
    }

    /// Those of them that have been accessed.
    #[must_use]
    pub const fn young(self) -> u64 {
        self.field(3)
    }

    /// Whether some page may be in another table too: then only a look at each entry says whose share it is.
    #[must_use]
    pub const fn may_share(self) -> bool {
        self.0 & SHARE != 0
    }
}
