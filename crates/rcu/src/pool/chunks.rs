//! Some chunks at once: all that were asked for, or none.

use core::fmt;
use core::ptr::{self, NonNull};

use super::{Chunk, Header, Pooled};
use crate::error::AllocError;
use crate::memory;

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
