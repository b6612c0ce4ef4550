//! Putting pages into page tables, and the tables that they need.
//!
//! **Rule L.** Whoever fills an entry, of whatever level, holds the lock of its table, and has found there that the table is not
//! dead and the mapping still the one that it was. Whoever takes pages away passes over an empty entry only after having read it
//! under that lock. So either the one who takes away finds what was filled, or the one who fills finds the mapping superseded.

use core::ops::Range;

use vmaple_rcu::{AllocError, Guard};

use super::arch::{Arch, PageFlags, Pte};
use super::frame::{Frames, UniqueFrame};
use super::frame_list::FrameList;
use super::gather::clear;
use super::table::{Locked, Table, index};
use super::walk::{Step, Walker};
use crate::error::{Errno, Error};
use crate::machine::Machine;

/// Why a table could not be linked.
pub(crate) enum LinkError {
    /// What was to be mapped is not any more, or a table on the way is dead: look again.
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

    /// The leaf table for `addr`, with the tables above it, which are linked if they are missing. `is_live` says, under the lock of
    /// the table that is to hold a new one, whether there is still reason to.
    #[doc(alias = "pte_alloc")]
    pub(crate) fn link<'g>(
        &'g self,
        guard: &'g Guard<'_>,
        addr: u64,
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
                // Found again, by a load that the section protects.
            };
        }
        Ok(LeafTable { table })
    }

    /// The leaf table for `addr`, if there is one; else where the next could be.
    pub(crate) fn find<'g>(&'g self, guard: &'g Guard<'_>, addr: u64) -> Step<LeafTable<'g, M>> {
        match self.descend(guard, addr, 0) {
            Step::Leaf(table) => Step::Leaf(LeafTable { table }),
            Step::Hole { end } => Step::Hole { end },
        }
    }

    /// Maps a page at an address that has none, for as long as nobody takes it out.
    ///
    /// # Errors
    /// The page's flags do not count: `Err` with `ENOMEM` if there is no memory for tables, `EEXIST` if there is a page, `EINVAL`
    /// beyond the addresses of the architecture.
    ///
    /// # Safety
    /// The frame is of the machine's frames and the caller's, who gives it away, or mapped by such a call elsewhere: it is freed when
    /// it is mapped nowhere any more. If these are the tables of an address space, none of its threads accesses the page.
    pub unsafe fn map(&self, addr: u64, pte: Pte) -> Result<(), Error> {
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
                    locked.set_page(self.tables.machine().frames(), addr, None, pte);
                    return Ok(());
                }
            }
        }
    }
}

/// A leaf table on its way to be locked.
pub(crate) struct LeafTable<'g, M: Machine> {
    table: Table<'g, M::Lock>,
}

impl<'g, M: Machine> LeafTable<'g, M> {
    /// The page at an address, as it is just now.
    pub(crate) fn peek(&self, addr: u64) -> Option<Pte> {
        self.table.pte::<M::Arch>(index(addr, 0))
    }

    /// Takes its lock; `None` if it is dead: then nothing is to be put into it, and what is in it is nobody's. The next walk
    /// does not find it.
    pub(crate) fn lock(&self) -> Option<LockedLeaf<'g, M>> {
        let locked = self.table.lock();
        (!locked.is_dead()).then_some(LockedLeaf(locked))
    }
}

/// A leaf table of the tree, locked: its pages stay what they are.
pub(crate) struct LockedLeaf<'g, M: Machine>(Locked<'g, M::Lock>);

impl<M: Machine> LockedLeaf<'_, M> {
    pub(crate) fn pte(&self, addr: u64) -> Option<Pte> {
        self.0.pte::<M::Arch>(index(addr, 0))
    }

    /// Maps a page where there is none, or the zero page.
    pub(crate) fn set_page(&mut self, frames: &M::Frames, addr: u64, old: Option<Pte>, new: Pte) {
        if new.pfn != frames.zero() {
            frames.meta(new.pfn).map();
        }
        self.0.set_pte::<M::Arch>(index(addr, 0), old, Some(new));
    }

    /// Maps a frame that was its holder's alone where there is no page, or the zero page.
    pub(crate) fn map_fresh(
        &mut self,
        addr: u64,
        old: Option<Pte>,
        frame: UniqueFrame<'_, M::Frames>,
        flags: PageFlags,
    ) {
        let frames = frame.frames();
        let pfn = frame.into_pfn();
        self.set_page(frames, addr, old, Pte { pfn, flags });
    }

    /// Maps the zero page where there is none.
    pub(crate) fn map_zero(&mut self, addr: u64, frames: &M::Frames, flags: PageFlags) {
        let flags = flags | PageFlags::ZERO;
        let pfn = frames.zero();
        self.set_page(frames, addr, None, Pte { pfn, flags });
    }

    /// Changes the flags of a page.
    pub(crate) fn set_flags(&mut self, addr: u64, old: Pte, flags: PageFlags) {
        if flags != old.flags {
            let new = Pte { flags, ..old };
            self.0.set_pte::<M::Arch>(index(addr, 0), Some(old), Some(new));
        }
    }

    /// Takes the pages in `range` out, and gives the frames that are mapped nowhere any more.
    pub(crate) fn clear(&mut self, frames: &M::Frames, range: Range<u64>, freed: &mut FrameList<'_, M::Frames>) {
        clear::<M>(&mut self.0, range, frames, freed);
    }
}
