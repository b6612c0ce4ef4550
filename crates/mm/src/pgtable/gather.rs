//! Taking pages away: what goes is gathered, and freed when the locks are given up.

use core::ops::Range;

use lock_api::MutexGuard;

use super::arch::{Arch, ENTRIES, PAGE_ACCESS, PageFlags, Pte};
use super::frame::{FrameList, Frames};
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
    frames: FrameList,
}

impl<'t, M: Machine> MmuGather<'t, M> {
    pub(super) fn new(tables: &'t PageTables<M>) -> Self {
        Self {
            tables,
            right: Some(tables.unlinking.lock()),
            leaves: TableList::new(),
            empty: TableList::new(),
            frames: FrameList::new(),
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
        let frames = self.tables.machine().frames();
        let mut leaf = leaf.lock();
        clear::<M>(&mut leaf, range, |pte| {
            if is_last(frames, pte) {
                // SAFETY: mapped nowhere any more, so this list's.
                unsafe { self.frames.push(frames, pte.pfn) };
            }
        });
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
                if let Some(pte) = leaf.pte::<M::Arch>(index)
                    && is_last(frames, pte)
                {
                    // SAFETY: mapped nowhere any more, so this list's.
                    unsafe { self.frames.push(frames, pte.pfn) };
                }
            }
        }
        if !self.frames.is_empty() {
            // SAFETY: from page tables of this machine.
            unsafe { frames.free(core::mem::take(&mut self.frames)) };
        }
        for list in [&mut self.leaves, &mut self.empty] {
            if !list.is_empty() {
                self.tables.memory.retire(core::mem::replace(list, TableList::new()));
            }
        }
    }
}

/// Whether an entry that is gone was the last one that referred to its frame.
pub(super) fn is_last<F: Frames>(frames: &F, pte: Pte) -> bool {
    pte.pfn != frames.zero() && frames.meta(pte.pfn).unmap()
}

/// Empties a leaf table's entries in `range`.
pub(super) fn clear<M: Machine>(leaf: &mut Locked<'_, M::Lock>, range: Range<u64>, mut gone: impl FnMut(Pte)) {
    for index in index(range.start, 0)..=index(range.end - 1, 0) {
        if let Some(pte) = leaf.pte::<M::Arch>(index) {
            leaf.set_pte::<M::Arch>(index, Some(pte), None);
            gone(pte);
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
