//! Memory of VMAs: a pool, and boxes that return to it.

use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;
// Not of `primitive`: it orders nothing, and is valid if zeroed.
use core::sync::atomic::{AtomicPtr, Ordering};

use vmaple_rcu::AllocError;
use vmaple_rcu::pool::{Chunk, Pool, Pooled};

/// A slot for one object. The object comes first: a pointer to the slot is a pointer to the object.
#[repr(C)]
pub(crate) struct Slot<T> {
    object: MaybeUninit<T>,
    link: AtomicPtr<Slot<T>>,
}

// SAFETY: zeros are a null pointer and no object; only these functions touch the link.
unsafe impl<T> Pooled for Slot<T> {
    fn link(&self) -> *mut Self {
        // Relaxed: the owner of the slot is the only one to use it.
        self.link.load(Ordering::Relaxed)
    }

    fn set_link(&self, next: *mut Self) {
        // Relaxed as in `link`.
        self.link.store(next, Ordering::Relaxed);
    }
}

/// With fewer free slots than this the next writer adds a chunk.
const LOW: usize = 64;

/// A cache of memory for objects of one type, for the holder of the writers' lock.
#[doc(alias = "kmem_cache")]
pub(crate) struct Slab<T>(Pool<Slot<T>>);

impl<T> Slab<T> {
    pub(crate) fn new() -> Result<Self, AllocError> {
        Pool::new().map(Self)
    }

    /// Objects that fit in one chunk.
    pub(crate) const OF_A_CHUNK: usize = Pool::<Slot<T>>::OF_A_CHUNK;

    /// Frees the chunks without objects.
    pub(crate) fn trim(&mut self) {
        self.0.trim();
    }

    /// Whether the next writer is to add a chunk.
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

    /// Moves an object into a box, or returns it if there is no slot.
    pub(crate) fn put(&mut self, object: T) -> Result<SlabBox<T>, T> {
        let Some(slot) = self.0.take() else {
            return Err(object);
        };
        // SAFETY: the pool handed the slot out.
        let place = unsafe { &raw mut (*slot.as_ptr()).object };
        // SAFETY: as above; the place is for an object.
        unsafe { place.cast::<T>().write(object) };
        // INVARIANT: just written.
        Ok(SlabBox(slot))
    }
}

/// Memory for more objects, allocated without the lock.
pub(crate) type NewSlab<T> = Chunk<Slot<T>>;

/// An owned object of a [`Slab`]. It may be dropped in any thread, and after the slab.
///
/// # Invariants
/// The slot is from a pool, belongs to this value alone, and holds an object.
pub(crate) struct SlabBox<T>(NonNull<Slot<T>>);

// SAFETY: it owns the object.
unsafe impl<T: Send> Send for SlabBox<T> {}
// SAFETY: it lends shared references only.
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
        // SAFETY: the slot belongs to this value, and is not returned before it is dropped.
        unsafe { Self::borrow(self.0.cast()) }
    }
}

impl<T> Drop for SlabBox<T> {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant.
        let place = unsafe { &raw mut (*self.0.as_ptr()).object };
        // SAFETY: it holds an object, and this is its last use.
        unsafe { place.cast::<T>().drop_in_place() };
        // SAFETY: the slot is from a pool, and is returned once.
        unsafe { Pool::give_back(self.0.as_ptr()) };
    }
}
