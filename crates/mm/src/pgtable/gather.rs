//! Zapping: pages and tables are taken out under the locks, gathered, and freed after the locks are
//! given up.

use lock_api::MutexGuard;

use super::arch::{Arch, ENTRIES, PAGE_ACCESS, PageFlags, Pte};
use super::frame::{Frames, UniqueFrame};
use super::frame_list::FrameList;
use super::memory::TableList;
use super::page_tables::PageTables;
use super::table::{Locked, Table, index, span};
use crate::addr::{VirtAddr, VirtRange};
use crate::machine::Machine;

/// The unlink lock, and what was taken out under it. Dropped, it frees the frames and retires the
/// tables.
///
/// No translation is kept elsewhere by then: the notifier has been [told](super::PageTables::tell)
/// before the lock was taken.
#[doc(alias = "mmu_gather")]
#[doc(alias = "tlb_finish_mmu")]
pub(crate) struct MmuGather<'t, M: Machine> {
    tables: &'t PageTables<M>,
    /// Taken by `drop`.
    lock: Option<MutexGuard<'t, M::Lock, ()>>,
    /// Leaf tables that were unlinked with their pages in them.
    leaves: TableList<M::Lock>,
    /// Tables that were unlinked empty.
    empty: TableList<M::Lock>,
    frames: FrameList<'t, M::Frames>,
}

/// Which tables are unlinked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unlink {
    IfEmpty,
    WithPages,
}

impl<'t, M: Machine> MmuGather<'t, M> {
    pub(super) fn new(tables: &'t PageTables<M>) -> Self {
        Self {
            tables,
            lock: Some(tables.unlinking.lock()),
            leaves: TableList::new(),
            empty: TableList::new(),
            frames: FrameList::new(tables.machine().frames()),
        }
    }

    /// Takes out the pages in `range`, and the tables that are then empty. A leaf table that is
    /// wholly in the range is one step.
    #[doc(alias = "unmap_page_range")]
    #[doc(alias = "free_pgtables")]
    pub(crate) fn zap(&mut self, range: VirtRange) {
        let range = range.intersection(VirtAddr(0)..M::Arch::TASK_SIZE);
        if !range.is_empty() {
            self.zap_below(self.tables.root(), M::Arch::LEVELS - 1, range);
        }
    }

    /// Takes out what is in `range`, which lies in an upper table of this level.
    fn zap_below(&mut self, table: Table<'t, M::Lock>, level: u32, range: VirtRange) {
        let mut at = range.start;
        while at < range.end {
            let Some((child, start)) = next_child::<M>(table, level, VirtRange::new(at, range.end)) else {
                return;
            };
            let whole = VirtRange::new(
                start.align_down(span(level)),
                start.align_down(span(level)) + span(level),
            );
            let part = VirtRange::new(start, whole.end.min(range.end));
            let index = index(start, level);
            match level {
                1 if part == whole => self.unlink(table, index, child, Unlink::WithPages),
                1 => {
                    if self.zap_leaf(child, part) {
                        self.unlink(table, index, child, Unlink::IfEmpty);
                    }
                }
                _ => {
                    self.zap_below(child, level - 1, part);
                    if child.counters().present() == 0 {
                        self.unlink(table, index, child, Unlink::IfEmpty);
                    }
                }
            }
            at = part.end;
        }
    }

    /// Takes pages out of a leaf table; returns whether it is then empty.
    fn zap_leaf(&mut self, leaf: Table<'t, M::Lock>, range: VirtRange) -> bool {
        let mut leaf = leaf.lock();
        clear::<M>(&mut leaf, range, self.tables.machine().frames(), &mut self.frames);
        leaf.counters().present() == 0
    }

    /// Takes a table out of its entry.
    ///
    /// The table is marked dead first, under its lock, so that nothing more is put into it. Its
    /// entries hold no tables by then: a leaf table's never do, and an upper table is empty,
    /// which is rule C.
    fn unlink(&mut self, parent: Table<'t, M::Lock>, index: usize, child: Table<'t, M::Lock>, which: Unlink) {
        let mut parent = parent.lock();
        let mut locked = child.lock();
        let is_empty = locked.counters().present() == 0;
        if !is_empty && which == Unlink::IfEmpty {
            return;
        }
        locked.set_dead();
        parent.unlink(index);
        // A thread that locks this table and sees it dead restarts its walk, which can no longer
        // reach it.
        drop(locked);
        drop(parent);
        if is_empty {
            self.empty.push(child);
        } else {
            self.leaves.push(child);
        }
    }

    /// Sets the access of pages in `range` to that of `flags`, without making a page writable that
    /// was not: a fault does that.
    #[doc(alias = "change_protection")]
    pub(crate) fn protect(&mut self, range: VirtRange, flags: PageFlags) {
        let range = range.intersection(VirtAddr(0)..M::Arch::TASK_SIZE);
        if !range.is_empty() {
            self.protect_below(self.tables.root(), M::Arch::LEVELS - 1, range, flags & PAGE_ACCESS);
        }
    }

    fn protect_below(&mut self, table: Table<'t, M::Lock>, level: u32, range: VirtRange, flags: PageFlags) {
        let mut at = range.start;
        while at < range.end {
            let Some((child, start)) = next_child::<M>(table, level, VirtRange::new(at, range.end)) else {
                return;
            };
            let end = (start.align_down(span(level)) + span(level)).min(range.end);
            if level > 1 {
                self.protect_below(child, level - 1, VirtRange::new(start, end), flags);
            } else {
                let mut leaf = child.lock();
                for index in index(start, 0)..=index(end - 1, 0) {
                    if let Some(pte) = leaf.pte::<M::Arch>(index) {
                        let writable = (flags - PageFlags::WRITE) | (flags & pte.flags & PageFlags::WRITE);
                        let flags = (pte.flags - PAGE_ACCESS) | writable;
                        leaf.set_pte::<M::Arch>(index, Some(pte), Some(Pte { flags, ..pte }));
                    }
                }
            }
            at = end;
        }
    }
}

impl<M: Machine> Drop for MmuGather<'_, M> {
    fn drop(&mut self) {
        self.lock = None;
        let frames = self.tables.machine().frames();
        for leaf in self.leaves.iter() {
            // Nothing is put into a dead table. Monitors may still look at it.
            for index in 0..ENTRIES {
                if let Some(pte) = leaf.pte::<M::Arch>(index) {
                    // SAFETY: an entry of a dead table, which only this loop uncounts.
                    let last = unsafe { unmap(frames, pte) };
                    last.into_iter().for_each(|frame| self.frames.push(frame));
                }
            }
        }
        for list in [&mut self.leaves, &mut self.empty] {
            if !list.is_empty() {
                self.tables.memory.retire(core::mem::replace(list, TableList::new()));
            }
        }
    }
}

/// Uncounts an entry that is gone; returns the frame if no entry refers to it any more. The zero
/// page is not counted.
///
/// # Safety
/// The entry was in a table over `frames`, and no other call uncounts it.
unsafe fn unmap<F: Frames>(frames: &F, pte: Pte) -> Option<UniqueFrame<'_, F>> {
    let is_last = pte.pfn != frames.zero() && frames.meta(pte.pfn).unmap();
    // SAFETY: the thread that mapped the frame gave it away to its entries, of which this was the
    // last.
    is_last.then(|| unsafe { UniqueFrame::from_pfn(frames, pte.pfn) })
}

/// Empties the entries of a leaf table in `range`. Frames that are not mapped any more go to
/// `freed`.
pub(super) fn clear<M: Machine>(
    leaf: &mut Locked<'_, M::Lock>,
    range: VirtRange,
    frames: &M::Frames,
    freed: &mut FrameList<'_, M::Frames>,
) {
    for index in index(range.start, 0)..=index(range.end - 1, 0) {
        if let Some(pte) = leaf.pte::<M::Arch>(index) {
            leaf.set_pte::<M::Arch>(index, Some(pte), None);
            // SAFETY: the entry was there, under the table's lock, and is not any more.
            let last = unsafe { unmap(frames, pte) };
            last.into_iter().for_each(|frame| freed.push(frame));
        }
    }
}

/// Returns the first table below an upper table of this level in `range`, and where in the range it
/// begins. That the entries before it are empty has been read under the lock (rule L).
fn next_child<'t, M: Machine>(
    table: Table<'t, M::Lock>,
    level: u32,
    range: VirtRange,
) -> Option<(Table<'t, M::Lock>, VirtAddr)> {
    let (first, last) = (index(range.start, level), index(range.end - 1, level));
    let at = |index: usize| {
        // SAFETY: tables are unlinked under the unlink lock alone, which the caller holds for `'t`.
        let child = unsafe { table.child::<M::Arch>(index) }?;
        let start = range.start.align_down(span(level)) + (index - first) as u64 * span(level);
        Some((child, start.max(range.start)))
    };
    at(first).or_else(|| {
        let _locked = table.lock();
        (first..=last).find_map(at)
    })
}
