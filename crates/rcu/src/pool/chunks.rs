//! Some chunks at once: as many as were asked for, or none.

use core::fmt;
use core::ptr::{self, NonNull};

use super::{Chunk, Header, Pooled};
use crate::error::AllocError;
use crate::memory;

/// Some chunks on their way into a pool: as many as were asked for.
///
/// # Invariants
/// Links chunks that no other code knows of.
pub struct Chunks<T: Pooled>(*mut Header<T>);

// SAFETY: it is memory that no other code knows of.
unsafe impl<T: Pooled> Send for Chunks<T> {}

impl<T: Pooled> Chunks<T> {
    /// Takes memory for `count` chunks.
    ///
    /// # Errors
    /// [`AllocError`] if there is not enough for all of them; what was taken is freed then. With
    /// `std` a large amount is first asked for at once. So a request that is too large does not
    /// take all memory of the machine in pieces before it fails.
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
            // SAFETY: the chunk's memory is large enough, and in no other use.
            unsafe { chunk.0.write(header) };
            // INVARIANT: no other code knows of it.
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
