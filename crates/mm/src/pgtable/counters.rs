//! The counters of a leaf table, in one word.

use super::arch::{PageFlags, Pte};

const BITS: u32 = 10;
const FIELD: u64 = (1 << BITS) - 1;
const SHARE: u64 = 1 << 63;

/// Counts of a leaf table's pages, packed: one load reads all of one moment.
///
/// An upper table counts the tables below it as present.
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

    /// Returns what one entry counts for.
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

    /// Returns the counters after a counted entry was replaced.
    #[must_use]
    pub(super) fn replaced(self, old: Self, new: Self) -> Self {
        // INVARIANT: no field goes below zero or above the number of entries, so none carries into
        // another.
        Self(self.0 - old.0 + new.0)
    }

    /// Returns the counters with the mark that pages may be shared.
    #[must_use]
    pub(super) const fn shared(self) -> Self {
        Self(self.0 | SHARE)
    }

    const fn field(self, field: u32) -> u64 {
        self.0 >> (field * BITS) & FIELD
    }

    /// Returns the number of entries that are not empty.
    #[must_use]
    pub const fn present(self) -> u64 {
        self.field(0)
    }

    /// Returns the number of pages of anonymous memory, without the zero page.
    #[must_use]
    pub const fn anon(self) -> u64 {
        self.field(1)
    }

    /// Returns the number of anonymous pages that have been written.
    #[must_use]
    pub const fn dirty(self) -> u64 {
        self.field(2)
    }

    /// Returns the number of anonymous pages that have been accessed.
    #[must_use]
    pub const fn young(self) -> u64 {
        self.field(3)
    }

    /// Returns whether a page may be in another table too. Then the entries must be read to count
    /// shares.
    #[must_use]
    pub const fn may_share(self) -> bool {
        self.0 & SHARE != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::pgtable::{ENTRIES, Pfn};

    fn pte(bits: u32) -> Pte {
        Pte {
            pfn: Pfn(u64::from(bits)),
            flags: PageFlags::from_bits_truncate(bits),
        }
    }

    /// What counters are to say of these entries: present, anonymous, dirty, young.
    fn counted(entries: &[Option<Pte>]) -> [u64; 4] {
        let count = |is: &dyn Fn(PageFlags) -> bool| {
            let entries = entries.iter().flatten();
            entries.filter(|pte| is(pte.flags)).count() as u64
        };
        let anon = |flags: PageFlags| !flags.contains(PageFlags::ZERO);
        [
            count(&|_| true),
            count(&anon),
            count(&|flags| anon(flags) && flags.contains(PageFlags::DIRTY)),
            count(&|flags| anon(flags) && flags.contains(PageFlags::ACCESSED)),
        ]
    }

    fn fields(counters: LeafCounters) -> [u64; 4] {
        [counters.present(), counters.anon(), counters.dirty(), counters.young()]
    }

    #[test]
    fn counts_stay_apart_whatever_entries_become() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut entries = [None; ENTRIES];
        let mut counters = LeafCounters::default();
        let mut may_share = false;
        for round in 0..20_000 {
            // At times nearly all entries are pages, at times nearly none.
            let keep = if round / 2_000 % 2 == 0 { 15 } else { 1 };
            let index = random.usize(0..ENTRIES);
            let new = (random.u32(0..16) < keep).then(|| pte(random.u32(0..=PageFlags::all().bits())));
            let old = core::mem::replace(&mut entries[index], new);
            counters = counters.replaced(LeafCounters::of(old), LeafCounters::of(new));
            if round == 7_000 {
                counters = counters.shared();
                may_share = true;
            }
            assert_eq!(fields(counters), counted(&entries));
            assert_eq!(counters.may_share(), may_share);
            assert_eq!(LeafCounters::from_bits(counters.bits()), counters);
        }
    }

    #[test]
    fn a_full_table_is_counted_and_an_empty_one() {
        let full = LeafCounters::of(Some(pte((PageFlags::all() - PageFlags::ZERO).bits())));
        let mut counters = LeafCounters::default().shared();
        for _ in 0..ENTRIES {
            counters = counters.replaced(LeafCounters::default(), full);
        }
        assert_eq!(fields(counters), [ENTRIES as u64; 4]);
        for _ in 0..ENTRIES {
            counters = counters.replaced(full, LeafCounters::default());
        }
        assert_eq!((fields(counters), counters.may_share()), ([0; 4], true));
    }

    #[test]
    fn a_page_of_zeros_is_present_and_nothing_else() {
        let zero = LeafCounters::of(Some(pte(PageFlags::all().bits())));
        assert_eq!(fields(zero), [1, 0, 0, 0]);
        assert_eq!(LeafCounters::of(None), LeafCounters::default());
    }
}
