//! Walking page tables without holding anything: monitors, and the way down of those who change pages.

use core::fmt;
use core::ops::Range;

use vmaple_rcu::{Guard, Reader};

use super::arch::{Arch, ENTRIES, Pte};
use super::counters::LeafCounters;
use super::frame::Frames;
use super::page_tables::PageTables;
use super::table::{Table, index, span};
use crate::addr::PAGE_SHIFT;
use crate::machine::Machine;

/// A handle to walk page tables, for one thread or open file.
pub struct Walker<'t, M: Machine> {
    pub(super) tables: &'t PageTables<M>,
    pub(super) reader: Reader,
}

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<R> {
    /// What the look at a leaf table gave.
    Leaf(R),
    /// There are no pages from the address up to this one.
    Hole {
        /// Where to go on.
        end: u64,
    },
}

/// A leaf table inside of a read-side section: entries change under the look, the table stays.
pub struct Leaf<'g, M: Machine> {
    table: Table<'g, M::Lock>,
    start: u64,
    frames: &'g M::Frames,
}

impl<'t, M: Machine> Walker<'t, M> {
    pub(super) fn new(tables: &'t PageTables<M>, reader: Reader) -> Self {
        Self { tables, reader }
    }

    /// Looks at the leaf table that holds `addr`, inside of one read-side section: `look` may take as long as it likes, and delays
    /// nobody. The table may be out of the tree meanwhile; then it shows what was in it.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{PageTables, Ram, Step};
    /// use vmaple_mm::Soft;
    /// let machine: Soft = Soft::new(Ram::new(2 << 20)?);
    /// let tables = PageTables::new(machine)?;
    /// let step = tables.walker()?.leaf(0x1000, |leaf| leaf.pte(0x1000));
    /// assert_eq!(step, Step::Hole { end: 1 << 39 }); // as far as an entry of the root goes
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn leaf<R>(&self, addr: u64, look: impl FnOnce(Leaf<'_, M>) -> R) -> Step<R> {
        let guard = self.reader.read_lock();
        match self.descend(&guard, addr, 0) {
            Step::Hole { end } => Step::Hole { end },
            Step::Leaf(table) => Step::Leaf(look(Leaf {
                table,
                start: addr & !(span(1) - 1),
                frames: self.tables.machine().frames(),
            })),
        }
    }

    /// The page at an address, as it was a moment ago.
    #[must_use]
    pub fn translate(&self, addr: u64) -> Option<Pte> {
        match self.leaf(addr, |leaf| leaf.pte(addr)) {
            Step::Leaf(pte) => pte,
            Step::Hole { .. } => None,
        }
    }

    /// The table of a level on the way to `addr`.
    pub(super) fn descend<'g>(&'g self, guard: &'g Guard<'_>, addr: u64, level: u32) -> Step<Table<'g, M::Lock>> {
        if addr >= M::Arch::TASK_SIZE {
            return Step::Hole { end: u64::MAX };
        }
        let mut table = self.tables.root();
        for above in (level + 1..M::Arch::LEVELS).rev() {
            match self.child(guard, table, index(addr, above)) {
                Some(child) => table = child,
                None => {
                    let end = (addr & !(span(above) - 1)) + span(above);
                    return Step::Hole { end };
                }
            }
        }
        Step::Leaf(table)
    }

    /// The table that an entry of an upper table refers to.
    pub(super) fn child<'g>(
        &self,
        guard: &'g Guard<'_>,
        table: Table<'g, M::Lock>,
        index: usize,
    ) -> Option<Table<'g, M::Lock>> {
        // SAFETY: `protect` makes sure that the table stays while the guard lives: it is retired only when no entry holds it any
        // more, entries of unlinked tables included.
        guard.protect(|| unsafe { table.child::<M::Arch>(index) })
    }
}

impl<M: Machine> Leaf<'_, M> {
    /// Its addresses.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + span(1)
    }

    /// The page at an address of it, at this moment. The address counts by its place in the table.
    #[inline]
    #[must_use]
    pub fn pte(&self, addr: u64) -> Option<Pte> {
        self.table.pte::<M::Arch>(index(addr, 0))
    }

    /// Its pages in `range`, each as it is when the iteration comes to it.
    pub fn ptes(&self, range: Range<u64>) -> impl Iterator<Item = (u64, Pte)> {
        let start = range.start.max(self.start) - self.start;
        let end = range.end.clamp(self.start, self.start + span(1)) - self.start;
        let first = start.div_ceil(1 << PAGE_SHIFT) as usize;
        let last = end.div_ceil(1 << PAGE_SHIFT) as usize;
        (first..last.min(ENTRIES)).filter_map(|index| {
            let pte = self.table.pte::<M::Arch>(index)?;
            Some((self.start + ((index as u64) << PAGE_SHIFT), pte))
        })
    }

    /// Its counters of this moment.
    #[must_use]
    pub fn counters(&self) -> LeafCounters {
        self.table.counters()
    }

    /// Entries of page tables that refer to the frame of a page, as far as is known at this moment; 0 of a number that is no frame's.
    #[must_use]
    pub fn mapcount(&self, pte: Pte) -> u32 {
        self.frames.meta(pte.pfn).mapcount()
    }
}

impl<M: Machine> fmt::Debug for Walker<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walker")
            .field("tables", self.tables)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> fmt::Debug for Leaf<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("range", &self.range())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
