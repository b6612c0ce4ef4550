//! Counts of pages: what smaps reports of a range.

use core::ops::AddAssign;

use super::arch::{PageFlags, Pte};
use super::counters::LeafCounters;
use super::table::{index, span};
use super::walk::{Leaf, Step, Walker};
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::machine::Machine;

/// Binary logarithm of the parts of a byte in which proportional sizes are counted.
pub const PSS_SHIFT: u32 = 12;

/// Leaf tables whose counters are read in one section, at most.
const MOST_LEAVES: u64 = 64;

/// A way to count pages. The result is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountBy {
    /// Reads every entry.
    Walk,
    /// Reads the counters of leaf tables that are wholly in the range: one step for 512 pages.
    ///
    /// The entries of other tables are read, and of those in which a page may be shared.
    Counters,
}

/// What smaps reports of pages, in bytes. Proportional sizes are in parts of a byte, shifted by
/// [`PSS_SHIFT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "mem_size_stats")]
#[non_exhaustive]
pub struct PageCounts {
    /// Resident.
    pub rss: u64,
    /// Resident, each page divided by its map count.
    pub pss: u64,
    /// The part of `pss` that has been written.
    pub pss_dirty: u64,
    /// The part of `pss` that is anonymous memory.
    pub pss_anon: u64,
    /// Mapped more than once, and not written.
    pub shared_clean: u64,
    /// Mapped more than once, and written.
    pub shared_dirty: u64,
    /// Mapped only here, and not written.
    pub private_clean: u64,
    /// Mapped only here, and written.
    pub private_dirty: u64,
    /// Accessed.
    pub referenced: u64,
    /// Anonymous memory.
    pub anonymous: u64,
    /// Leaf tables whose counters were read.
    pub leaves_by_counters: u64,
    /// Leaf tables whose entries were read.
    pub leaves_walked: u64,
}

impl PageCounts {
    /// Adds a page that `mapcount` entries refer to.
    #[doc(alias = "smaps_account")]
    fn add(&mut self, pte: Pte, mapcount: u32) {
        if pte.flags.contains(PageFlags::ZERO) {
            return;
        }
        let dirty = pte.flags.contains(PageFlags::DIRTY);
        let share = (PAGE_SIZE << PSS_SHIFT) / u64::from(mapcount.max(1));
        self.rss += PAGE_SIZE;
        self.anonymous += PAGE_SIZE;
        self.pss += share;
        self.pss_anon += share;
        if dirty {
            self.pss_dirty += share;
        }
        *match (mapcount > 1, dirty) {
            (false, false) => &mut self.private_clean,
            (false, true) => &mut self.private_dirty,
            (true, false) => &mut self.shared_clean,
            (true, true) => &mut self.shared_dirty,
        } += PAGE_SIZE;
        if pte.flags.contains(PageFlags::ACCESSED) {
            self.referenced += PAGE_SIZE;
        }
    }

    /// Adds a whole leaf table, no page of which is shared.
    fn add_leaf(&mut self, counters: LeafCounters) {
        let (anon, dirty) = (counters.anon() * PAGE_SIZE, counters.dirty() * PAGE_SIZE);
        self.rss += anon;
        self.anonymous += anon;
        self.pss += anon << PSS_SHIFT;
        self.pss_anon += anon << PSS_SHIFT;
        self.pss_dirty += dirty << PSS_SHIFT;
        self.private_clean += anon - dirty;
        self.private_dirty += dirty;
        self.referenced += counters.young() * PAGE_SIZE;
        self.leaves_by_counters += 1;
    }
}

impl AddAssign for PageCounts {
    fn add_assign(&mut self, other: Self) {
        self.rss += other.rss;
        self.pss += other.pss;
        self.pss_dirty += other.pss_dirty;
        self.pss_anon += other.pss_anon;
        self.shared_clean += other.shared_clean;
        self.shared_dirty += other.shared_dirty;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.referenced += other.referenced;
        self.anonymous += other.anonymous;
        self.leaves_by_counters += other.leaves_by_counters;
        self.leaves_walked += other.leaves_walked;
    }
}

impl<M: Machine> Leaf<'_, M> {
    /// Adds its pages in `range`.
    fn count(&self, range: VirtRange, counts: &mut PageCounts) {
        // Loaded before the entries: a page is shared with another table only after both have been
        // marked.
        let may_share = self.counters().may_share();
        for (_, pte) in self.ptes(range) {
            counts.add(pte, if may_share { self.mapcount(pte) } else { 1 });
        }
        counts.leaves_walked += 1;
    }
}

impl<M: Machine> Walker<'_, M> {
    /// Adds the pages in `range` to `counts`: each as it was at some moment of the call, and no
    /// address twice.
    ///
    /// Holds no more than a read-side section, for at most 512 entries at a time.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{CountBy, PageCounts, PageTables, Ram};
    /// use vmaple_mm::Soft;
    /// let machine: Soft = Soft::new(Ram::new(2 << 20)?);
    /// let tables = PageTables::new(machine)?;
    /// let mut counts = PageCounts::default();
    /// tables.walker()?.count(0..1 << 47, CountBy::Counters, &mut counts);
    /// assert_eq!(counts.rss, 0);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn count(&self, range: impl Into<VirtRange>, by: CountBy, counts: &mut PageCounts) {
        let range = range.into();
        let mut at = range.start;
        while at < range.end {
            if by == CountBy::Counters {
                let next = self.count_by_counters(VirtRange::new(at, range.end), counts);
                if next > at {
                    at = next;
                    continue;
                }
            }
            at = match self.leaf(at, |leaf| {
                leaf.count(VirtRange::new(at, range.end), counts);
                leaf.range().end
            }) {
                Step::Leaf(end) | Step::Hole { end } => end,
            };
        }
    }

    /// Adds leaf tables of one upper table by their counters, up to one that must be walked.
    /// Returns where to go on.
    fn count_by_counters(&self, range: VirtRange, counts: &mut PageCounts) -> VirtAddr {
        let guard = self.reader.read_lock();
        let table = match self.descend(&guard, range.start, 1) {
            Step::Hole { end } => return end,
            Step::Leaf(table) => table,
        };
        let mut at = range.start;
        // Few, of one table, so that a reader that is stopped again and again keeps little memory.
        let end = (at.align_down(span(2)) + span(2)).min(at + MOST_LEAVES * span(1));
        while at < end && at == at.align_down(span(1)) && at + span(1) <= range.end {
            if let Some(leaf) = self.child(&guard, table, index(at, 1)) {
                let counters = leaf.counters();
                if counters.may_share() {
                    break;
                }
                counts.add_leaf(counters);
            }
            at += span(1);
        }
        at
    }
}
