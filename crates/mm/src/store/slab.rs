//! Memory of VMAs: a pool, and boxes that go back to it.

use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;
// Not of `primitive`: it orders nothing, and is valid if zeroed.
use core::sync::atomic::{AtomicPtr, Ordering};

use vmaple_rcu::AllocError;
use vmaple_rcu::pool::{Chunk, Pool, Pooled};

/// A place for one object, which it begins with: a pointer to one is a pointer to the other.
#[repr(C)]
pub(crate) struct Slot<T> {
    object: MaybeUninit<T>,
    link: AtomicPtr<Slot<T>>,
}

// SAFETY: zeros are a null pointer and no object; the link is touched by these functions only.
unsafe impl<T> Pooled for Slot<T> {
    fn link(&self) -> *mut Self {
        // Relaxed: whoever has the slot is alone with it.
        self.link.load(Ordering::Relaxed)
    }

    fn set_link(&self, next: *mut Self) {
        // Relaxed as in `link`.
        self.link.store(next, Ordering::Relaxed);
    }
}

/// Fewer free slots than this, and the next writer brings a chunk.
const LOW: usize = 64;

/// Objects of one type whose memory goes round, for the holder of the writers' lock.
#[doc(alias = "kmem_cache")]
pub(crate) struct Slab<T>(Pool<Slot<T>>);

impl<T> Slab<T> {
    pub(crate) fn new() -> Result<Self, AllocError> {
        Pool::new().map(Self)
    }

    /// Objects that one chunk has room for.
    pub(crate) const OF_A_CHUNK: usize = Pool::<Slot<T>>::OF_A_CHUNK;

    /// Gives chunks back that no object is in.
    pub(crate) fn trim(&mut self) {
        self.0.trim();
    }

    /// Whether the next writer is to bring a chunk.
    pub(crate) fn is_low(&mut self) -> bool {
        self.0.is_below(LOW)
    }

    /// Whether fewer than `count` objects can be made.
    pub(crate) fn is_below(&mut self, count: usize) -> bool {
        self.0.is_below(count)
    }

    /// Adds memory.
    pub(crate) fn add(&mut self, chunk: Chunk<Slot<T>>) {
        self.0.add(chunk);
    }

    /// Puts an object in a box, or gives it back if there is no slot.
    pub(crate) fn put(&mut self, object: T) -> Result<SlabBox<T>, T> {
        let Some(slot) = self.0.take() else {
            return Err(object);
        };
        // SAFETY: the pool gave the slot away.
        let place = unsafe { &raw mut (*slot.as_ptr()).object };
        // SAFETY: as above; the place is for an object.
        unsafe { place.cast::<T>().write(object) };
        // INVARIANT: just written.
        Ok(SlabBox(slot))
    }
}

/// Memory for more objects, made without the lock.
pub(crate) type NewSlab<T> = Chunk<Slot<T>>;

/// An object of a [`Slab`], owned. It may be dropped in any thread, and after the slab.
///
/// # Invariants
/// The slot is taken from a pool, this value's alone, and holds an object.
pub(crate) struct SlabBox<T>(NonNull<Slot<T>>);

// SAFETY: it owns the object.
unsafe impl<T: Send> Send for SlabBox<T> {}
// SAFETY: it gives shared references only.
unsafe impl<T: Sync> Sync for SlabBox<T> {}

impl<T> SlabBox<T> {
    pub(crate) fn into_raw(self) -> NonNull<()> {
        let slot = self.0.cast();
        core::mem::forget(self);
        slot
    }

    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and is taken back once.
    pub(crate) unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // INVARIANT: by this function's contract.
        Self(raw.cast())
    }

    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and is not taken back while `'a` lasts.
    pub(crate) unsafe fn borrow<'a>(raw: NonNull<()>) -> &'a T {
        // SAFETY: by this function's contract.
        let slot = unsafe { raw.cast::<Slot<T>>().as_ref() };
        // SAFETY: by the type's invariant it holds an object.
        unsafe { slot.object.assume_init_ref() }
    }
}

impl<T> Deref for SlabBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the slot is this value's, and not taken back before it is dropped.
        unsafe { Self::borrow(self.0.cast()) }
    }
}

impl<T> Drop for SlabBox<T> {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant.
        let place = unsafe { &raw mut (*self.0.as_ptr()).object };
        // SAFETY: it holds an object, which nobody uses any more.
        unsafe { place.cast::<T>().drop_in_place() };
        // SAFETY: the slot is from a pool, and given back once.
        unsafe { Pool::give_back(self.0.as_ptr()) };
    }
}
