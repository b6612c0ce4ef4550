//! Counted references whose allocation can fail.

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
// Not of `primitive`: a count as every other.
use core::sync::atomic::{AtomicU64, Ordering};

use vmaple_rcu::AllocError;

struct Counted<T> {
    count: AtomicU64,
    value: T,
}

/// A counted, shared reference like [`Arc`](alloc::sync::Arc), whose creation can fail instead of
/// ending the program.
///
/// ```
/// let one = vmaple_mm::Kref::new(7)?;
/// let other = one.clone();
/// assert!(vmaple_mm::Kref::ptr_eq(&one, &other));
/// assert_eq!(*other, 7);
/// # Ok::<(), vmaple_rcu::AllocError>(())
/// ```
///
/// # Invariants
/// `0` was made by `new` and is freed by the last reference.
pub struct Kref<T>(NonNull<Counted<T>>);

// SAFETY: as for Arc: it lends shared references, and the last one, in any thread, drops the value.
unsafe impl<T: Send + Sync> Send for Kref<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Kref<T> {}

impl<T> Kref<T> {
    /// Creates the first reference to `value`, which is dropped if there is no memory.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new(value: T) -> Result<Self, AllocError> {
        // SAFETY: the size is not zero: there is a count.
        let memory = unsafe { alloc(Layout::new::<Counted<T>>()) }.cast::<Counted<T>>();
        let memory = NonNull::new(memory).ok_or(AllocError)?;
        let count = AtomicU64::new(1);
        // SAFETY: fresh memory of this layout.
        unsafe { memory.write(Counted { count, value }) };
        Ok(Self(memory))
    }

    /// Returns whether both refer to the same value.
    #[must_use]
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.0 == other.0
    }

    /// Returns the number of references. Others may come and go meanwhile.
    #[doc(alias = "kref_read")]
    #[must_use]
    pub fn count(this: &Self) -> u64 {
        // Relaxed: a number.
        this.counted().count.load(Ordering::Relaxed)
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: by the type's invariant it stays while there is a reference.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Clone for Kref<T> {
    fn clone(&self) -> Self {
        // Relaxed: the new reference is made from one that is there. To overflow 64 bits by
        // forgetting takes centuries.
        self.counted().count.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: counted.
        Self(self.0)
    }
}

impl<T> Deref for Kref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Kref<T> {
    fn drop(&mut self) {
        // AcqRel pairs with itself: all use of the value comes before its drop.
        if self.counted().count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: from `new`, of a Box's layout and allocator, and this was the last reference.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Kref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
