//! Mapping pages, and linking the tables that they need.
//!
//! **Rule L.** A thread that fills an entry, of whatever level, holds the lock of its table, and
//! has seen under it that the table is not dead and that the mapping is still the one it was. A
//! thread that takes pages away passes over an empty entry only after it has read it under that
//! lock. So either the zap finds what was filled, or the fault finds the mapping superseded.

use vmaple_rcu::{AllocError, Guard};

use super::arch::{Arch, PageFlags, Pte};
use super::frame::{Frames, UniqueFrame};
use super::frame_list::FrameList;
use super::gather::clear;
use super::table::{Locked, Table, index};
use super::walk::{Step, Walker};
use crate::addr::{VirtAddr, VirtRange};
use crate::error::{Errno, Error};
use crate::machine::Machine;

/// Why a table could not be linked.
pub(crate) enum LinkError {
    /// The mapping is superseded, or a table on the way is dead: look again.
    Stale,
    /// There is no memory for a table.
    NoMemory,
}

impl From<AllocError> for LinkError {
    fn from(_: AllocError) -> Self {
        Self::NoMemory
    }
}

impl<M: Machine> Walker<'_, M> {
    /// Begins a section for [`link`](Self::link) and [`find`](Self::find).
    pub(crate) fn read_lock(&self) -> Guard<'_> {
        self.reader.read_lock()
    }

    /// Returns the leaf table for `addr`, and links it and the tables above it where they are
    /// missing.
    ///
    /// `is_live` is called under the lock of a table that is to hold a new one. It returns whether
    /// there is still reason to link it.
    #[doc(alias = "pte_alloc")]
    pub(crate) fn link<'g>(
        &'g self,
        guard: &'g Guard<'_>,
        addr: VirtAddr,
        is_live: impl Fn() -> bool,
    ) -> Result<LeafTable<'g, M>, LinkError> {
        let mut table = self.tables.root();
        for level in (1..M::Arch::LEVELS).rev() {
            let index = index(addr, level);
            table = loop {
                if let Some(child) = self.child(guard, table, index) {
                    break child;
                }
                let fresh = self.tables.memory.take()?;
                let mut locked = table.lock();
                let is_stale = locked.is_dead() || !is_live();
                // Relaxed would do under the lock.
                // SAFETY: it is compared with nothing, and not used.
                let is_taken = unsafe { locked.child::<M::Arch>(index) }.is_some();
                if is_stale || is_taken {
                    drop(locked);
                    self.tables.memory.put(fresh);
                    if is_stale {
                        return Err(LinkError::Stale);
                    }
                } else {
                    locked.link::<M::Arch>(index, fresh);
                }
                // The next turn loads it in a way that the section protects.
            };
        }
        Ok(LeafTable { table })
    }

    /// Returns the leaf table for `addr`, or where the next one may be.
    pub(crate) fn find<'g>(&'g self, guard: &'g Guard<'_>, addr: VirtAddr) -> Step<LeafTable<'g, M>> {
        match self.descend(guard, addr, 0) {
            Step::Leaf(table) => Step::Leaf(LeafTable { table }),
            Step::Hole { end } => Step::Hole { end },
        }
    }

    /// Maps a page at an address that has none, until it is unmapped.
    ///
    /// # Errors
    /// `ENOMEM` if there is no memory for tables, `EEXIST` if there is a page, whatever its flags,
    /// `EINVAL` beyond the addresses of the architecture.
    ///
    /// # Safety
    /// The frame is from the machine's frames. It belongs to the caller, who gives it away, or is
    /// mapped elsewhere by such a call: it is freed when its last entry goes. If these are the
    /// tables of an address space, none of its threads accesses the page.
    pub unsafe fn map(&self, addr: VirtAddr, pte: Pte) -> Result<(), Error> {
        if addr >= M::Arch::TASK_SIZE {
            return Err(Error::new(Errno::EINVAL, "beyond the addresses of the architecture"));
        }
        loop {
            let guard = self.read_lock();
            match self.link(&guard, addr, || true) {
                Err(LinkError::NoMemory) => return Err(AllocError.into()),
                Err(LinkError::Stale) => {}
                Ok(leaf) => {
                    let Some(mut locked) = leaf.lock() else {
                        continue;
                    };
                    if locked.pte(addr).is_some() {
                        return Err(Error::new(Errno::EEXIST, "a page is mapped there"));
                    }
                    locked.0.set_may_share();
                    locked.set_page(self.frames(), addr, None, pte);
                    return Ok(());
                }
            }
        }
    }
}

/// A leaf table, not locked yet.
pub(crate) struct LeafTable<'g, M: Machine> {
    table: Table<'g, M::Lock>,
}

impl<'g, M: Machine> LeafTable<'g, M> {
    /// Returns the page at an address, as it is at this moment.
    pub(crate) fn peek(&self, addr: VirtAddr) -> Option<Pte> {
        self.table.pte::<M::Arch>(index(addr, 0))
    }

    /// Takes its lock. Returns `None` if the table is dead: nothing may be put into it, and the
    /// next walk does not find it.
    pub(crate) fn lock(&self) -> Option<LockedLeaf<'g, M>> {
        let locked = self.table.lock();
        (!locked.is_dead()).then_some(LockedLeaf(locked))
    }
}

/// A leaf table of the tree, locked: its pages stay what they are.
pub(crate) struct LockedLeaf<'g, M: Machine>(Locked<'g, M::Lock>);

impl<M: Machine> LockedLeaf<'_, M> {
    pub(crate) fn pte(&self, addr: VirtAddr) -> Option<Pte> {
        self.0.pte::<M::Arch>(index(addr, 0))
    }

    /// Maps a page where there is none, or the zero page.
    pub(crate) fn set_page(&mut self, frames: &M::Frames, addr: VirtAddr, old: Option<Pte>, new: Pte) {
        if new.pfn != frames.zero() {
            frames.meta(new.pfn).map();
        }
        self.0.set_pte::<M::Arch>(index(addr, 0), old, Some(new));
    }

    /// Maps a fresh page where there is none, or the zero page.
    pub(crate) fn map_fresh(
        &mut self,
        addr: VirtAddr,
        old: Option<Pte>,
        frame: UniqueFrame<'_, M::Frames>,
        flags: PageFlags,
    ) {
        let (frames, pfn) = (frame.frames(), frame.into_pfn());
        self.set_page(frames, addr, old, Pte { pfn, flags });
    }

    /// Maps the zero page where there is none.
    pub(crate) fn map_zero(&mut self, frames: &M::Frames, addr: VirtAddr, flags: PageFlags) {
        let (pfn, flags) = (frames.zero(), flags | PageFlags::ZERO);
        self.set_page(frames, addr, None, Pte { pfn, flags });
    }

    /// Changes the flags of a page.
    pub(crate) fn set_flags(&mut self, addr: VirtAddr, old: Pte, flags: PageFlags) {
        if flags != old.flags {
            let new = Pte { flags, ..old };
            self.0.set_pte::<M::Arch>(index(addr, 0), Some(old), Some(new));
        }
    }

    /// Takes the pages in `range` out. Frames that are not mapped any more go to `freed`.
    pub(crate) fn clear(&mut self, frames: &M::Frames, range: VirtRange, freed: &mut FrameList<'_, M::Frames>) {
        clear::<M>(&mut self.0, range, frames, freed);
    }
}
