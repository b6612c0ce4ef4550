//! Chunks: the memory of a pool, as it comes from the global allocator and goes back there.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::fmt;
use core::ptr::{self, NonNull};

use super::{Pooled, Shared};
use crate::error::AllocError;
use crate::memory;

/// What a chunk begins with; objects fill the rest up to the end.
pub(super) struct Header<T> {
    pub(super) pool: NonNull<Shared<T>>,
    pub(super) next: *mut Header<T>,
    /// Free objects, while they are counted.
    pub(super) free: usize,
}

/// Bytes before what is beside the objects: whole cache lines, as that is written by whoever has an object.
pub(super) const fn head<T: Pooled>() -> usize {
    let header = size_of::<Header<T>>();
    if T::BESIDE > 0 {
        header.next_multiple_of(64)
    } else {
        header
    }
}

/// Objects in a chunk.
pub(super) const fn objects<T: Pooled>() -> usize {
    (T::CHUNK - head::<T>()) / (size_of::<T>() + T::BESIDE)
}

/// A fresh chunk on its way into a pool: made without the writers' lock, added under it.
pub struct Chunk<T: Pooled>(pub(super) NonNull<Header<T>>);

// SAFETY: it is memory that nobody else knows of.
unsafe impl<T: Pooled> Send for Chunk<T> {}

impl<T: Pooled> Chunk<T> {
    const LAYOUT: Layout = match Layout::from_size_align(T::CHUNK, T::CHUNK) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    /// Takes memory for one.
    ///
    /// # Errors
    /// [`AllocError`] if there is none.
    pub fn new() -> Result<Self, AllocError> {
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(Self::LAYOUT) };
        NonNull::new(memory.cast()).map(Self).ok_or(AllocError)
    }
}

impl<T: Pooled> fmt::Debug for Chunk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("Chunk");
        this.field("objects", &objects::<T>())
            .field("bytes", &T::CHUNK)
            .finish()
    }
}

impl<T: Pooled> Drop for Chunk<T> {
    fn drop(&mut self) {
        // SAFETY: from `new`, and in no pool.
        unsafe { dealloc(self.0.as_ptr().cast(), Self::LAYOUT) };
    }
}

/// Some chunks on their way into a pool: all that were asked for, or given back.
///
/// # Invariants
/// Links chunks that nobody else knows of.
pub struct Chunks<T: Pooled>(*mut Header<T>);

// SAFETY: it is memory that nobody else knows of.
unsafe impl<T: Pooled> Send for Chunks<T> {}

impl<T: Pooled> Chunks<T> {
    /// Takes memory for so many.
    ///
    /// # Errors
    /// [`AllocError`] if it is not there for all of them. What was taken is given back then. With `std` a large amount is asked for at
    /// once before, so that what cannot be had is not taken in pieces until the machine has none.
    pub fn new(count: usize) -> Result<Self, AllocError> {
        if count > 1 {
            memory::ask_for(count, T::CHUNK)?;
        }
        let mut all = Self(ptr::null_mut());
        for _ in 0..count {
            let chunk = Chunk::new()?;
            let header = Header {
                pool: NonNull::dangling(),
                next: all.0,
                free: 0,
            };
            // SAFETY: the chunk's memory is large enough, and nobody else's.
            unsafe { chunk.0.write(header) };
            // INVARIANT: nobody else knows of it.
            all.0 = chunk.0.as_ptr();
            core::mem::forget(chunk);
        }
        Ok(all)
    }
}

impl<T: Pooled> Iterator for Chunks<T> {
    type Item = Chunk<T>;

    fn next(&mut self) -> Option<Chunk<T>> {
        let chunk = NonNull::new(self.0)?;
        // SAFETY: by the type's invariant.
        self.0 = unsafe { chunk.as_ref() }.next;
        Some(Chunk(chunk))
    }
}

impl<T: Pooled> fmt::Debug for Chunks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").finish_non_exhaustive()
    }
}

impl<T: Pooled> Drop for Chunks<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
