//! Frames: pages of memory, by number.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::frame_list::{FrameChain, FrameList};
use crate::addr::PAGE_SIZE;

/// The number of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Pfn(pub u64);

/// An allocator of frames: where the memory of pages comes from.
///
/// # Safety
/// - A frame that [`alloc`](Self::alloc) returned belongs to the caller alone until it comes back
///   by [`free`](Self::free). It is never the zero page.
/// - [`page`](Self::page) of such a frame is valid for 4096 bytes and aligned to them. It stays the
///   same for as long as this value lives, also when the value moves.
/// - [`meta`](Self::meta) of a frame that was ever allocated stays the same, and distinct from
///   those of other frames, for as long.
/// - All values of a type without size allocate from the same frames.
pub unsafe trait Frames: Send + Sync + 'static {
    /// Allocates at least one frame and at most `count`; no frame if there is none. Their contents
    /// are arbitrary.
    fn alloc(&self, count: usize) -> FrameChain;

    /// Takes frames back.
    ///
    /// # Safety
    /// They are from here.
    unsafe fn free(&self, frames: FrameChain);

    /// Returns the 4096 bytes of a frame. For a number of no frame it panics, or returns the page
    /// of any other.
    fn page(&self, pfn: Pfn) -> NonNull<u8>;

    /// Returns the metadata of a frame, whether it is allocated or not: a monitor may look at one
    /// that was freed meanwhile.
    ///
    /// For a number of no frame it does not panic, and returns the metadata of a frame that is
    /// mapped nowhere, such as the zero page.
    fn meta(&self, pfn: Pfn) -> &FrameMeta;

    /// Gives unused memory back where possible. Called when an address space has gone.
    fn trim(&self) {}

    /// Returns the shared zero page, always the same one.
    ///
    /// It has [`page`](Self::page) and [`meta`](Self::meta) like any frame, but is never allocated,
    /// freed or written. Its metadata is never used.
    fn zero(&self) -> Pfn;

    /// Allocates as [`alloc`](Self::alloc) does, as a list that frees what is left in it.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{Frames, Ram};
    /// let ram = Ram::new(2 << 20)?;
    /// let mut frames = ram.take(3);
    /// let frame = frames.pop().unwrap();
    /// drop(frames); // two are free again
    /// assert_ne!(frame.pfn(), ram.zero());
    /// # Ok::<(), vmaple_rcu::AllocError>(())
    /// ```
    fn take(&self, count: usize) -> FrameList<'_, Self>
    where
        Self: Sized,
    {
        // SAFETY: just allocated here.
        unsafe { FrameList::from_chain(self, self.alloc(count)) }
    }
}

/// A frame that belongs to its holder alone. Dropped, it is freed.
///
/// # Invariants
/// `pfn` is allocated from `frames`, mapped nowhere, and in no list.
pub struct UniqueFrame<'f, F: Frames> {
    frames: &'f F,
    pfn: Pfn,
}

impl<'f, F: Frames> UniqueFrame<'f, F> {
    /// Takes a frame over.
    ///
    /// # Safety
    /// The frame is allocated from `frames`, belongs to the caller, and is mapped nowhere.
    #[must_use]
    pub unsafe fn from_pfn(frames: &'f F, pfn: Pfn) -> Self {
        // INVARIANT: by this function's contract.
        Self { frames, pfn }
    }

    /// Returns its number.
    #[must_use]
    pub fn pfn(&self) -> Pfn {
        self.pfn
    }

    /// Gives the frame away: to a page table, or to code that frees it by its number.
    #[must_use = "a frame that nothing frees is lost"]
    pub fn into_pfn(self) -> Pfn {
        ManuallyDrop::new(self).pfn
    }

    /// Returns the allocator that the frame is from.
    pub(super) fn frames(&self) -> &'f F {
        self.frames
    }

    /// Fills the page with zeros.
    #[doc(alias = "clear_highpage")]
    pub fn clear(&mut self) {
        // SAFETY: by the type's invariant no other thread has the frame, and a page has this many
        // bytes.
        unsafe { self.frames.page(self.pfn).write_bytes(0, PAGE_SIZE as usize) };
    }
}

impl<F: Frames> Drop for UniqueFrame<'_, F> {
    fn drop(&mut self) {
        let mut chain = FrameChain::new();
        // SAFETY: by the type's invariant it is from there, and belongs to this value.
        unsafe { chain.push(self.frames, self.pfn) };
        // SAFETY: as above; this is its last use.
        unsafe { self.frames.free(chain) };
    }
}

impl<F: Frames> fmt::Debug for UniqueFrame<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UniqueFrame").field(&self.pfn.0).finish()
    }
}

/// The metadata of a frame, wherever it is used.
#[doc(alias = "struct page")]
#[derive(Debug, Default)]
pub struct FrameMeta {
    /// Entries of page tables that refer to it.
    mapcount: AtomicU32,
    /// The next frame of the list that it is in. Belongs to the frame's owner.
    next: AtomicU64,
}

impl FrameMeta {
    /// Returns the metadata of a frame that is mapped nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            mapcount: AtomicU32::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// Returns the number of entries of page tables that refer to the frame.
    #[doc(alias = "page_mapcount")]
    #[must_use]
    pub fn mapcount(&self) -> u32 {
        // Relaxed: a number, of a frame that may have another owner by now.
        self.mapcount.load(Ordering::Relaxed)
    }

    /// Counts one more entry.
    pub(super) fn map(&self) {
        // Relaxed: the caller owns the frame, or an entry of it under its table's lock.
        self.mapcount.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one entry less; returns whether that was the last.
    pub(super) fn unmap(&self) -> bool {
        // AcqRel pairs with itself: what was done through other entries comes before the frame is
        // used again.
        self.mapcount.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Returns the next frame of its list.
    #[must_use]
    pub(super) fn next(&self) -> Pfn {
        // Relaxed: the frame's owner is alone with it.
        Pfn(self.next.load(Ordering::Relaxed))
    }

    /// Sets the next frame of its list. Only for the frame's owner.
    pub(super) fn set_next(&self, next: Pfn) {
        // Relaxed as in `next`.
        self.next.store(next.0, Ordering::Relaxed);
    }
}
