//! Taking pages away: what goes is gathered, and freed when the locks are given up.

use core::ops::Range;

use lock_api::MutexGuard;

use super::arch::{Arch, ENTRIES, PAGE_ACCESS, PageFlags, Pte};
use super::frame::{Frames, UniqueFrame};
use super::frame_list::FrameList;
use super::memory::TableList;
use super::page_tables::PageTables;
use super::table::{Locked, Table, index, span};
use crate::machine::Machine;

/// The right to unlink tables, and what has been taken out so far. Dropped, it frees the frames and retires the tables: nobody keeps
/// a translation of them then, as the start of what it is used for has been [told](super::PageTables::tell).
#[doc(alias = "mmu_gather")]
#[doc(alias = "tlb_finish_mmu")]
pub(crate) struct MmuGather<'t, M: Machine> {
    tables: &'t PageTables<M>,
    right: Option<MutexGuard<'t, M::Lock, ()>>,
    /// Leaf tables that were unlinked with their pages in them.
    leaves: TableList<M::Lock>,
    /// Tables that were unlinked with nothing in them.
    empty: TableList<M::Lock>,
    frames: FrameList<'t, M::Frames>,
}

impl<'t, M: Machine> MmuGather<'t, M> {
    pub(super) fn new(tables: &'t PageTables<M>) -> Self {
        Self {
            tables,
            right: Some(tables.unlinking.lock()),
            leaves: TableList::new(),
            empty: TableList::new(),
            frames: FrameList::new(tables.machine().frames()),
        }
    }

    /// Takes the pages out of `range`, and the tables that are empty then. A leaf table that lies in the range whole is one step.
    #[doc(alias = "unmap_page_range")]
    #[doc(alias = "free_pgtables")]
    pub(crate) fn zap(&mut self, range: Range<u64>) {
        let end = range.end.min(M::Arch::TASK_SIZE);
        if range.start < end {
            self.zap_below(self.tables.root(), M::Arch::LEVELS - 1, range.start..end);
        }
    }

    /// Takes out what is in `range`, which lies in an upper table of this level.
    fn zap_below(&mut self, table: Table<'t, M::Lock>, level: u32, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let Some((child, start)) = next_child::<M>(table, level, at..range.end) else {
                return;
            };
            let whole = start & !(span(level) - 1);
            let end = (whole + span(level)).min(range.end);
            let index = index(start, level);
            let is_whole = start == whole && end == whole + span(level);
            match level {
                1 if is_whole => self.unlink(table, index, child, true),
                1 => {
                    if self.zap_leaf(child, start..end) {
                        self.unlink(table, index, child, false);
                    }
                }
                _ => {
                    self.zap_below(child, level - 1, start..end);
                    if child.counters().present() == 0 {
                        self.unlink(table, index, child, false);
                    }
                }
            }
            at = end;
        }
    }

    /// Takes pages out of a leaf table; whether it is empty then.
    fn zap_leaf(&mut self, leaf: Table<'t, M::Lock>, range: Range<u64>) -> bool {
        let mut leaf = leaf.lock();
        clear::<M>(&mut leaf, range, self.tables.machine().frames(), &mut self.frames);
        leaf.counters().present() == 0
    }

    /// Takes a table out of its entry: with all that is in it, or only if it is empty.
    ///
    /// It is marked dead first, under its lock, so that nothing more is put into it. Its entries hold no tables then: a leaf
    /// table's never do, and an upper table is empty, which is rule C.
    fn unlink(&mut self, parent: Table<'t, M::Lock>, index: usize, child: Table<'t, M::Lock>, with_pages: bool) {
        let mut parent = parent.lock();
        let mut locked = child.lock();
        let is_empty = locked.counters().present() == 0;
        if !is_empty && !with_pages {
            return;
        }
        locked.set_dead();
        parent.unlink(index);
        // Who finds it dead, under its lock, does not find it again.
        drop(locked);
        drop(parent);
        if is_empty {
            self.empty.push(child);
        } else {
            self.leaves.push(child);
        }
    }

    /// Lets pages in `range` be accessed as `flags` say, but for writing only those that could be written before: the others
    /// may be written when a fault has looked at them.
    #[doc(alias = "change_protection")]
    pub(crate) fn protect(&mut self, range: Range<u64>, flags: PageFlags) {
        let end = range.end.min(M::Arch::TASK_SIZE);
        if range.start < end {
            let flags = flags & PAGE_ACCESS;
            self.protect_below(self.tables.root(), M::Arch::LEVELS - 1, range.start..end, flags);
        }
    }

    fn protect_below(&mut self, table: Table<'t, M::Lock>, level: u32, range: Range<u64>, flags: PageFlags) {
        let mut at = range.start;
        while at < range.end {
            let Some((child, start)) = next_child::<M>(table, level, at..range.end) else {
                return;
            };
            let end = ((start & !(span(level) - 1)) + span(level)).min(range.end);
            if level > 1 {
                self.protect_below(child, level - 1, start..end, flags);
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
        self.right = None;
        let frames = self.tables.machine().frames();
        for leaf in self.leaves.iter() {
            // Nobody puts anything into it any more; monitors may still look.
            for index in 0..ENTRIES {
                if let Some(pte) = leaf.pte::<M::Arch>(index) {
                    // SAFETY: a dead table's entry, which is looked at this once.
                    let last = unsafe { unmap(frames, pte) };
                    last.into_iter().for_each(|frame| self.frames.push(frame));
                }
            }
        }
        drop(core::mem::replace(&mut self.frames, FrameList::new(frames)));
        for list in [&mut self.leaves, &mut self.empty] {
            if !list.is_empty() {
                self.tables.memory.retire(core::mem::replace(list, TableList::new()));
            }
        }
    }
}

/// Uncounts an entry that is gone; returns its frame if no entry refers to it any more. The zero page is not counted.
///
/// # Safety
/// The entry was of a table over `frames`, and is uncounted by this call alone.
unsafe fn unmap<F: Frames>(frames: &F, pte: Pte) -> Option<UniqueFrame<'_, F>> {
    let is_last = pte.pfn != frames.zero() && frames.meta(pte.pfn).unmap();
    // SAFETY: whoever mapped it gave it away to the entries that referred to it, of which this was the last.
    is_last.then(|| unsafe { UniqueFrame::from_pfn(frames, pte.pfn) })
}

/// Empties a leaf table's entries in `range`. Frames that are mapped nowhere any more go to `freed`.
pub(super) fn clear<M: Machine>(
    leaf: &mut Locked<'_, M::Lock>,
    range: Range<u64>,
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

/// The first table below an upper table of this level in `range`, and where in the range it begins. That entries before it are
/// empty has been read under the lock (rule L).
fn next_child<'t, M: Machine>(
    table: Table<'t, M::Lock>,
    level: u32,
    range: Range<u64>,
) -> Option<(Table<'t, M::Lock>, u64)> {
    let (first, last) = (index(range.start, level), index(range.end - 1, level));
    let at = |index: usize| {
        // SAFETY: tables are unlinked by the holder of the right, for as long as which `'t` lasts.
        let child = unsafe { table.child::<M::Arch>(index) }?;
        let start = (range.start & !(span(level) - 1)) + (index - first) as u64 * span(level);
        Some((child, start.max(range.start)))
    };
    at(first).or_else(|| {
        let _locked = table.lock();
        (first..=last).find_map(at)
    })
}
