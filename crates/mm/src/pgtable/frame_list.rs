//! Lists of frames, linked through the frames' metadata: joined in constant time, without memory of
//! their own.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr;

use super::frame::{Frames, Pfn, UniqueFrame};

/// Frames as a bare chain of numbers: what an allocator keeps and hands over. All others use a
/// [`FrameList`].
///
/// It owns its frames, but does not know where they are from. Dropped, they are lost to that
/// allocator.
///
/// # Invariants
/// If `len` is not 0, `first` leads to `last` by `len - 1` links. All frames are from one
/// [`Frames`], and belong to the chain.
#[derive(Debug)]
pub struct FrameChain {
    first: Pfn,
    last: Pfn,
    len: usize,
}

impl FrameChain {
    /// Creates an empty chain.
    #[must_use]
    pub const fn new() -> Self {
        let (first, last) = (Pfn(0), Pfn(0));
        Self { first, last, len: 0 }
    }

    /// Returns the number of frames.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no frame.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a frame in front.
    ///
    /// # Safety
    /// The frame belongs to the caller and is from `frames`, as all of the chain's are.
    #[inline]
    pub unsafe fn push<F: Frames>(&mut self, frames: &F, pfn: Pfn) {
        if self.len == 0 {
            self.last = pfn;
        } else {
            frames.meta(pfn).set_next(self.first);
        }
        // INVARIANT: one link more, but for the first frame.
        self.first = pfn;
        self.len += 1;
    }

    /// Takes out the frame that was added last.
    ///
    /// # Safety
    /// `frames` is where the chain's frames are from.
    #[inline]
    pub unsafe fn pop<F: Frames>(&mut self, frames: &F) -> Option<Pfn> {
        self.len = self.len.checked_sub(1)?;
        let pfn = self.first;
        if self.len > 0 {
            self.first = frames.meta(pfn).next();
        }
        Some(pfn)
    }

    /// Adds all frames of another chain in front.
    ///
    /// # Safety
    /// `frames` is where the frames of both chains are from.
    #[expect(clippy::needless_pass_by_value, reason = "its frames are in this chain now")]
    #[inline]
    pub unsafe fn append<F: Frames>(&mut self, frames: &F, other: Self) {
        let Self { first, last, len } = other;
        if len == 0 {
            return;
        }
        if self.len == 0 {
            self.last = last;
        } else {
            frames.meta(last).set_next(self.first);
        }
        // INVARIANT: the other chain's links, one between, and this one's.
        self.first = first;
        self.len += len;
    }

    /// Takes out up to `count` frames from the front.
    ///
    /// # Safety
    /// `frames` is where the chain's frames are from.
    #[must_use]
    #[inline]
    pub unsafe fn split<F: Frames>(&mut self, frames: &F, count: usize) -> Self {
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

impl Default for FrameChain {
    fn default() -> Self {
        Self::new()
    }
}

/// A list of frames that knows where they are from. Dropped, it frees them.
///
/// # Invariants
/// All frames of `chain` are from `frames`, and mapped nowhere.
pub struct FrameList<'f, F: Frames> {
    frames: &'f F,
    chain: FrameChain,
}

impl<'f, F: Frames> FrameList<'f, F> {
    /// Creates an empty list.
    #[must_use]
    pub const fn new(frames: &'f F) -> Self {
        // INVARIANT: no frames.
        let chain = FrameChain::new();
        Self { frames, chain }
    }

    /// Takes a chain over.
    ///
    /// # Safety
    /// Its frames are from `frames`, and mapped nowhere.
    #[must_use]
    pub unsafe fn from_chain(frames: &'f F, chain: FrameChain) -> Self {
        // INVARIANT: by this function's contract.
        Self { frames, chain }
    }

    /// Returns the number of frames.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.chain.len()
    }

    /// Returns whether there is no frame.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Adds a frame in front.
    ///
    /// # Panics
    /// If the frame is from another allocator.
    #[inline]
    pub fn push(&mut self, frame: UniqueFrame<'_, F>) {
        self.check(frame.frames());
        // SAFETY: from the same allocator, as was checked; the frame belonged to the value that
        // ends here.
        unsafe { self.chain.push(self.frames, frame.into_pfn()) };
    }

    /// Takes out the frame that was added last.
    #[inline]
    pub fn pop(&mut self) -> Option<UniqueFrame<'f, F>> {
        // SAFETY: by the type's invariant.
        let pfn = unsafe { self.chain.pop(self.frames) }?;
        // SAFETY: by the type's invariant; it is in the chain no more.
        Some(unsafe { UniqueFrame::from_pfn(self.frames, pfn) })
    }

    /// Adds all frames of another list in front.
    ///
    /// # Panics
    /// If those are from another allocator.
    #[inline]
    pub fn append(&mut self, other: FrameList<'_, F>) {
        self.check(other.frames);
        // SAFETY: from the same allocator, as was checked.
        unsafe { self.chain.append(self.frames, other.into_chain()) };
    }

    /// Takes out up to `count` frames from the front.
    #[must_use]
    #[inline]
    pub fn split(&mut self, count: usize) -> Self {
        // SAFETY: by the type's invariant.
        let chain = unsafe { self.chain.split(self.frames, count) };
        // INVARIANT: from the same frames.
        let frames = self.frames;
        Self { frames, chain }
    }

    /// Returns the frames as a bare chain.
    #[must_use = "frames that nothing frees are lost"]
    #[inline]
    pub fn into_chain(self) -> FrameChain {
        core::mem::take(&mut ManuallyDrop::new(self).chain)
    }

    /// One address is one allocator: both references are alive, and types without size have one
    /// allocator by the contract of [`Frames`].
    #[inline]
    fn check(&self, other: &F) {
        assert!(ptr::eq(self.frames, other), "frames of another allocator");
    }
}

impl<F: Frames> Drop for FrameList<'_, F> {
    #[inline]
    fn drop(&mut self) {
        if !self.chain.is_empty() {
            // SAFETY: by the type's invariant they are from there, and no thread has them after
            // this.
            unsafe { self.frames.free(core::mem::take(&mut self.chain)) };
        }
    }
}

impl<F: Frames> fmt::Debug for FrameList<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameList")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
