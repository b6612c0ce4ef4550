//! The handles of a monitor or a thread, with the reference that keeps what they borrow from.

use core::mem::MaybeUninit;

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
/// `mm` is dropped. That is after the handles. No method lends a handle for longer than `self`. The
/// handles are initialised.
pub(crate) struct Attached<S: VmaStore, M: Machine> {
    /// `MaybeUninit`, as references in an argument must stay valid until the function returns. A
    /// function that takes this may drop it, and with it what the handles borrow from.
    handles: MaybeUninit<Handles<S, M>>,
    mm: MmRef<S, M>,
}

struct Handles<S: VmaStore, M: Machine> {
    reader: S::Reader<'static>,
    walker: Walker<'static, M>,
    frames: FrameCache<'static, M::Frames>,
}

impl<S: VmaStore, M: Machine> Attached<S, M> {
    /// Registers a reader of the VMAs and one of the page tables.
    pub(crate) fn new(mm: MmRef<S, M>) -> Result<Self, Error> {
        // SAFETY: by the type's invariant the structure outlives all that borrows from it.
        let structure: &'static MmStruct<S, M> = unsafe { &*core::ptr::from_ref(mm.structure()) };
        // INVARIANT: initialised. Where a handle cannot be made, those before it are dropped before
        // `mm` is.
        let handles = MaybeUninit::new(Handles {
            reader: structure.store.reader()?,
            walker: structure.tables.walker()?,
            frames: FrameCache::new(structure.tables.machine().frames()),
        });
        Ok(Self { handles, mm })
    }

    #[inline]
    fn handles(&self) -> &Handles<S, M> {
        // SAFETY: by the type's invariant.
        unsafe { self.handles.assume_init_ref() }
    }

    #[inline]
    pub(crate) fn mm(&self) -> &MmRef<S, M> {
        &self.mm
    }

    #[inline]
    pub(crate) fn walker(&self) -> &Walker<'_, M> {
        &self.handles().walker
    }

    #[inline]
    pub(crate) fn read_lock(&self) -> S::Section<'_> {
        S::read_lock(&self.handles().reader)
    }

    #[inline]
    pub(crate) fn mmap_read_lock(&self) -> S::Section<'_> {
        S::mmap_read_lock(&self.handles().reader)
    }

    #[inline]
    pub(crate) fn renew<'r>(&'r self, section: S::Section<'r>) -> S::Section<'r> {
        S::renew(&self.handles().reader, section)
    }

    /// Takes up to `count` frames: at least one, unless there is none.
    #[inline]
    pub(crate) fn take_frames(&self, count: usize) -> FrameList<'_, M::Frames> {
        self.handles().frames.take(count)
    }

    /// Takes back frames that are not used, or not any more.
    #[inline]
    pub(crate) fn put_frames(&self, frames: FrameList<'_, M::Frames>) {
        self.handles().frames.put(frames);
    }
}

impl<S: VmaStore, M: Machine> Drop for Attached<S, M> {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant; nothing uses them any more. `mm` is dropped after this.
        unsafe { self.handles.assume_init_drop() };
    }
}
