//! Walks of page tables that hold no lock: of monitors, and of threads on their way to a table.

use core::fmt;

use vmaple_rcu::{Guard, Reader};

use super::arch::{Arch, ENTRIES, Pte};
use super::counters::LeafCounters;
use super::frame::Frames;
use super::page_tables::PageTables;
use super::table::{Table, index, span};
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::machine::Machine;

/// A handle to walk page tables, for one thread or open file.
pub struct Walker<'t, M: Machine> {
    pub(super) tables: &'t PageTables<M>,
    pub(super) reader: Reader,
}

/// The result of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<R> {
    /// A leaf table was found; this is the result of the look at it.
    Leaf(R),
    /// There are no pages from the address up to `end`.
    Hole {
        /// Where to go on.
        end: VirtAddr,
    },
}

/// A leaf table in a read-side section. Its entries change under the look; the table stays.
pub struct Leaf<'g, M: Machine> {
    table: Table<'g, M::Lock>,
    start: VirtAddr,
    frames: &'g M::Frames,
}

impl<'t, M: Machine> Walker<'t, M> {
    pub(super) fn new(tables: &'t PageTables<M>, reader: Reader) -> Self {
        Self { tables, reader }
    }

    /// Returns where the pages' memory is from.
    pub(super) fn frames(&self) -> &'t M::Frames {
        self.tables.machine().frames()
    }

    /// Looks at the leaf table that holds `addr`, in one read-side section.
    ///
    /// `look` may take any time, and delays no thread. If the table is unlinked meanwhile, it shows
    /// what was in it.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{PageTables, Ram, Step};
    /// use vmaple_mm::{Soft, VirtAddr};
    /// let machine: Soft = Soft::new(Ram::new(2 << 20)?);
    /// let tables = PageTables::new(machine)?;
    /// let addr = VirtAddr(0x1000);
    /// let step = tables.walker()?.leaf(addr, |leaf| leaf.pte(addr));
    /// assert_eq!(step, Step::Hole { end: VirtAddr(1 << 39) }); // where the root's entry ends
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn leaf<R>(&self, addr: VirtAddr, look: impl FnOnce(Leaf<'_, M>) -> R) -> Step<R> {
        let guard = self.reader.read_lock();
        match self.descend(&guard, addr, 0) {
            Step::Hole { end } => Step::Hole { end },
            Step::Leaf(table) => Step::Leaf(look(Leaf {
                table,
                start: addr.align_down(span(1)),
                frames: self.frames(),
            })),
        }
    }

    /// Returns the page at an address, as it was a moment ago.
    #[must_use]
    pub fn translate(&self, addr: VirtAddr) -> Option<Pte> {
        match self.leaf(addr, |leaf| leaf.pte(addr)) {
            Step::Leaf(pte) => pte,
            Step::Hole { .. } => None,
        }
    }

    /// Returns the table of a level on the way to `addr`.
    pub(super) fn descend<'g>(&'g self, guard: &'g Guard<'_>, addr: VirtAddr, level: u32) -> Step<Table<'g, M::Lock>> {
        if addr >= M::Arch::TASK_SIZE {
            let end = VirtAddr(u64::MAX);
            return Step::Hole { end };
        }
        let mut table = self.tables.root();
        for above in (level + 1..M::Arch::LEVELS).rev() {
            match self.child(guard, table, index(addr, above)) {
                Some(child) => table = child,
                None => {
                    let end = addr.align_down(span(above)) + span(above);
                    return Step::Hole { end };
                }
            }
        }
        Step::Leaf(table)
    }

    /// Returns the table that an entry of an upper table refers to.
    pub(super) fn child<'g>(
        &self,
        guard: &'g Guard<'_>,
        table: Table<'g, M::Lock>,
        index: usize,
    ) -> Option<Table<'g, M::Lock>> {
        // SAFETY: `protect` makes sure that the table stays while the guard lives: it is retired
        // only when no entry holds it any more, entries of unlinked tables included.
        guard.protect(|| unsafe { table.child::<M::Arch>(index) })
    }
}

impl<M: Machine> Leaf<'_, M> {
    /// Returns the addresses of the table.
    #[must_use]
    pub fn range(&self) -> VirtRange {
        VirtRange::new(self.start, self.start + span(1))
    }

    /// Returns the page at an address of the table, at this moment. Only the address's place in the
    /// table counts.
    #[inline]
    #[must_use]
    pub fn pte(&self, addr: VirtAddr) -> Option<Pte> {
        self.table.pte::<M::Arch>(index(addr, 0))
    }

    /// Iterates over the table's pages in `range`, each as it is when the iteration comes to it.
    pub fn ptes(&self, range: impl Into<VirtRange>) -> impl Iterator<Item = (VirtAddr, Pte)> {
        let range = range.into();
        let start = range.start.max(self.start) - self.start;
        let end = range.end.clamp(self.start, self.start + span(1)) - self.start;
        let first = start.div_ceil(1 << PAGE_SHIFT) as usize;
        let last = end.div_ceil(1 << PAGE_SHIFT) as usize;
        (first..last.min(ENTRIES)).filter_map(|index| {
            let pte = self.table.pte::<M::Arch>(index)?;
            Some((self.start + ((index as u64) << PAGE_SHIFT), pte))
        })
    }

    /// Returns the table's counters of this moment.
    #[must_use]
    pub fn counters(&self) -> LeafCounters {
        self.table.counters()
    }

    /// Returns how many entries of page tables refer to the frame of a page, at this moment; 0 for
    /// a number of no frame.
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
