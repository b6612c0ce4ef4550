//! The handles of a monitor or a thread, with the reference that keeps what they borrow from.

use super::mm_struct::MmStruct;
use super::reference::MmRef;
use crate::error::Error;
use crate::machine::Machine;
use crate::pgtable::{FrameCache, FrameList, Walker};
use crate::store::VmaStore;

/// A reference to an address space, with handles of its store, its page tables and its frames.
///
/// # Invariants
/// The handles borrow from the structure that `mm` refers to. It does not move, and lives until
/// `mm` is dropped. That is after the handles, as fields are dropped in the order of their
/// declaration. No method lends a handle for longer than `self`.
pub(crate) struct Attached<S: VmaStore, M: Machine> {
    reader: S::Reader<'static>,
    walker: Walker<'static, M>,
    frames: FrameCache<'static, M::Frames>,
    mm: MmRef<S, M>,
}

impl<S: VmaStore, M: Machine> Attached<S, M> {
    /// Registers a reader of the VMAs and one of the page tables.
    pub(crate) fn new(mm: MmRef<S, M>) -> Result<Self, Error> {
        // SAFETY: by the type's invariant the structure outlives all that borrows from it.
        let structure: &'static MmStruct<S, M> = unsafe { &*core::ptr::from_ref(mm.structure()) };
        // INVARIANT: `mm` is the last field. Where a handle cannot be made, those before it are
        // dropped before `mm` is.
        let reader = structure.store.reader()?;
        let walker = structure.tables.walker()?;
        let frames = FrameCache::new(structure.tables.machine().frames());
        Ok(Self {
            reader,
            walker,
            frames,
            mm,
        })
    }

    #[inline]
    pub(crate) fn mm(&self) -> &MmRef<S, M> {
        &self.mm
    }

    #[inline]
    pub(crate) fn walker(&self) -> &Walker<'_, M> {
        &self.walker
    }

    #[inline]
    pub(crate) fn read_lock(&self) -> S::Section<'_> {
        S::read_lock(&self.reader)
    }

    #[inline]
    pub(crate) fn mmap_read_lock(&self) -> S::Section<'_> {
        S::mmap_read_lock(&self.reader)
    }

    #[inline]
    pub(crate) fn renew<'r>(&'r self, section: S::Section<'r>) -> S::Section<'r> {
        S::renew(&self.reader, section)
    }

    /// Takes up to `count` frames: at least one, unless there is none.
    #[inline]
    pub(crate) fn take_frames(&self, count: usize) -> FrameList<'_, M::Frames> {
        self.frames.take(count)
    }

    /// Takes back frames that are not used, or not any more.
    #[inline]
    pub(crate) fn put_frames(&self, frames: FrameList<'_, M::Frames>) {
        self.frames.put(frames);
    }
}
