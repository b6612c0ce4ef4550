//! Frames: pages of memory, by number.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The number of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Pfn(pub u64);

/// Where the memory of data comes from.
///
/// # Safety
/// - A frame that [`alloc`](Self::alloc) gave is nobody else's until it is given to [`free`](Self::free), and is not the page of zeros.
/// - [`page`](Self::page) of it is valid for 4096 bytes, aligned to them, and the same for as long as this value lives, wherever it is moved.
/// - [`meta`](Self::meta) of any frame that was ever given away is the same, and distinct from other frames', for as long.
pub unsafe trait Frames: Send + Sync + 'static {
    /// Takes frames, at least one and at most `count`; an empty list if there is none. What is in them is anything.
    fn alloc(&self, count: usize) -> FrameList;

    /// Takes frames back.
    ///
    /// # Safety
    /// They are from here.
    unsafe fn free(&self, frames: FrameList);

    /// The 4096 bytes of a frame. Panics, or gives any other's, for a number that is no frame's.
    fn page(&self, pfn: Pfn) -> NonNull<u8>;

    /// What is known of a frame. May be read of any frame at any time: a monitor may look at one that has been freed meanwhile. Of a
    /// number that is no frame's, that of a frame that is mapped nowhere, such as the page of zeros; it does not panic.
    fn meta(&self, pfn: Pfn) -> &FrameMeta;

    /// Gives memory back that nothing uses, where that is possible: an address space has gone.
    fn trim(&self) {}

    /// The page of zeros, always the same; it has a page and is known of as others are, and is never taken or freed. Nobody writes it.
    ///
    /// What is known of it is never used.
    fn zero(&self) -> Pfn;
}

/// What is known of a frame, wherever it is used.
#[doc(alias = "struct page")]
#[derive(Debug, Default)]
pub struct FrameMeta {
    /// Entries of page tables that refer to it.
    mapcount: AtomicU32,
    /// The next one in the list that it is in. Of its owner.
    next: AtomicU64,
}

impl FrameMeta {
    /// Of a frame that is mapped nowhere.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            mapcount: AtomicU32::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// Entries of page tables that refer to it.
    #[doc(alias = "page_mapcount")]
    #[must_use]
    pub fn mapcount(&self) -> u32 {
        // Relaxed: a number, of a frame that may be another's by now.
        self.mapcount.load(Ordering::Relaxed)
    }

    /// One entry more.
    pub(super) fn map(&self) {
        // Relaxed: made by who has the frame, or an entry of it under its table's lock.
        self.mapcount.fetch_add(1, Ordering::Relaxed);
    }

    /// One entry less; whether that was the last.
    pub(super) fn unmap(&self) -> bool {
        // AcqRel: what was done through other entries comes before the frame is used anew.
        self.mapcount.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// The next one in its list.
    #[must_use]
    pub fn next(&self) -> Pfn {
        // Relaxed: whoever has the frame is alone with it.
        Pfn(self.next.load(Ordering::Relaxed))
    }

    /// Sets the next one in its list.
    ///
    /// # Safety
    /// The frame is the caller's, and in no [`FrameList`].
    pub unsafe fn set_next(&self, next: Pfn) {
        // Relaxed as in `next`.
        self.next.store(next.0, Ordering::Relaxed);
    }
}

/// Frames, linked through what is known of them: lists are joined in constant time, and need no memory.
///
/// It owns its frames, and is to be used with the [`Frames`] that they are from. Dropped, they are lost to that.
///
/// # Invariants
/// If `len` is not 0, `first` leads to `last` by `len - 1` links; all of one [`Frames`], from which the list has them.
#[derive(Debug)]
pub struct FrameList {
    first: Pfn,
    last: Pfn,
    len: usize,
}

impl FrameList {
    /// No frames.
    #[must_use]
    pub const fn new() -> Self {
        let (first, last) = (Pfn(0), Pfn(0));
        Self { first, last, len: 0 }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a frame.
    ///
    /// # Safety
    /// The frame is the caller's, and from `frames`, as all of the list's are.
    pub unsafe fn push<F: Frames + ?Sized>(&mut self, frames: &F, pfn: Pfn) {
        if self.len == 0 {
            self.last = pfn;
        } else {
            // SAFETY: by this function's contract.
            unsafe { frames.meta(pfn).set_next(self.first) };
        }
        // INVARIANT: one more link, but for the first.
        self.first = pfn;
        self.len += 1;
    }

    /// Takes out the frame that was added last.
    ///
    /// # Safety
    /// `frames` is where the list's frames are from.
    pub unsafe fn pop<F: Frames + ?Sized>(&mut self, frames: &F) -> Option<Pfn> {
        self.len = self.len.checked_sub(1)?;
        let pfn = self.first;
        if self.len > 0 {
            self.first = frames.meta(pfn).next();
        }
        Some(pfn)
    }

    /// Adds all frames of another list.
    ///
    /// # Safety
    /// `frames` is where the frames of both lists are from.
    #[expect(clippy::needless_pass_by_value, reason = "its frames are in this list now")]
    pub unsafe fn append<F: Frames + ?Sized>(&mut self, frames: &F, other: Self) {
        let Self { first, last, len } = other;
        if len == 0 {
            return;
        }
        if self.len == 0 {
            self.last = last;
        } else {
            // SAFETY: the other list's, which is this one's now.
            unsafe { frames.meta(last).set_next(self.first) };
        }
        // INVARIANT: the other's links, one between, and this one's.
        self.first = first;
        self.len += len;
    }

    /// Takes out up to `count` frames.
    ///
    /// # Safety
    /// `frames` is where the list's frames are from.
    #[must_use]
    pub unsafe fn split<F: Frames + ?Sized>(&mut self, frames: &F, count: usize) -> Self {
        if count >= self.len {
            return core::mem::take(self);
        }
        if count == 0 {
            return Self::new();
        }
        let mut last = self.first;
        for _ in 1..count {
            last = frames.meta(last).next();
        }
        // INVARIANT: both have their part of the links.
        let taken = Self {
            first: self.first,
            last,
            len: count,
        };
        self.first = frames.meta(last).next();
        self.len -= count;
        taken
    }
}

impl Default for FrameList {
    fn default() -> Self {
        Self::new()
    }
}
