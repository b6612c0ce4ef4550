//! An object pool: recycles memory between the writer that allocates and the reaper that frees.
//!
//! Memory comes in chunks from the global allocator. It goes back when the pool and all objects
//! that were taken are gone, or when a caller asks ([`Pool::trim`]). In between the writer takes
//! the object that came back last, which is most likely in the cache, and the thread that reaps
//! gives it back. So neither writer nor reaper calls the allocator, whose locks a preempted reader
//! of low priority might hold.
//!
//! The writer's list is its own. Returned objects form a stack: any thread pushes, and the writer
//! takes it whole and goes through it as it needs objects. Dropping the pool turns the word of
//! that stack into a count of the objects that are still out. The thread that gives back the last
//! one frees the chunks.
//!
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | `returned` | a returning thread | Release | Acquire in `collect`: its last readers are done |
//! | as a count | a returning thread | AcqRel | each other: all use of the pool precedes its end |
//! | when the pool is dropped | the writer | Release | AcqRel of a returning thread |

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use core::fmt;
use core::mem::size_of;
use core::ptr::{self, NonNull};

use crate::error::AllocError;
use crate::primitive::{AtomicPtr, Ordering};

mod chunks;

pub use chunks::Chunks;

/// An object that a [`Pool`] recycles.
///
/// # Safety
/// - Memory of zeros is a value of the type, and so is what an object holds when it is given back.
/// - [`link`](Self::link) returns the argument of the last [`set_link`](Self::set_link), of the
///   same thread or of one that came before it, whatever else was done with the object since, if
///   that did not touch the link. Neither panics.
pub unsafe trait Pooled: Sized {
    /// Size and alignment of a chunk in bytes, a power of two: an object's address tells its
    /// chunk's.
    const CHUNK: usize = 16 << 10;

    /// Bytes for each object in the chunk's head, for what cannot be inside of it
    /// ([`Pool::beside`]). A multiple of 8.
    const BESIDE: usize = 0;

    /// Returns the next object of the list that this one is in.
    fn link(&self) -> *mut Self;

    /// Sets the next object.
    fn set_link(&self, next: *mut Self);
}

/// The begin of a chunk; objects fill the rest up to the end.
struct Header<T> {
    pool: NonNull<Shared<T>>,
    next: *mut Header<T>,
    /// Free objects, while they are counted.
    free: usize,
}

/// Bytes before those that belong to the objects: whole cache lines, as holders of objects write
/// there.
const fn head<T: Pooled>() -> usize {
    let header = size_of::<Header<T>>();
    if T::BESIDE > 0 {
        header.next_multiple_of(64)
    } else {
        header
    }
}

/// Objects in a chunk.
const fn objects<T: Pooled>() -> usize {
    (T::CHUNK - head::<T>()) / (size_of::<T>() + T::BESIDE)
}

/// A fresh chunk on its way into a pool: made without the writers' lock, added under it.
pub struct Chunk<T: Pooled>(NonNull<Header<T>>);

// SAFETY: it is memory that no other code knows of.
unsafe impl<T: Pooled> Send for Chunk<T> {}

impl<T: Pooled> Chunk<T> {
    const LAYOUT: Layout = match Layout::from_size_align(T::CHUNK, T::CHUNK) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    /// Takes memory for a chunk.
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

/// The part of a pool that outlives its structure while objects are out.
struct Shared<T> {
    /// The top of the stack of returned objects. Or, with the lowest bit set, twice the number of
    /// objects that must come back before the pool is freed.
    returned: AtomicPtr<T>,
    /// All chunks. For the writer, and for the thread that frees the pool.
    chunks: *mut Header<T>,
}

/// The writer's side of a pool: one structure's objects, for the holder of its writers' lock.
///
/// Objects are memory: what one holds is not dropped.
///
/// ```
/// use core::ptr;
/// use core::sync::atomic::{AtomicPtr, Ordering};
/// use vmaple_rcu::pool::{Chunk, Pool, Pooled};
///
/// #[derive(Default)]
/// struct Object {
///     link: AtomicPtr<Object>,
///     number: u64,
/// }
///
/// // SAFETY: zeros are a null pointer and a number; nothing else uses the link.
/// unsafe impl Pooled for Object {
///     fn link(&self) -> *mut Self {
///         self.link.load(Ordering::Relaxed)
///     }
///     fn set_link(&self, next: *mut Self) {
///         self.link.store(next, Ordering::Relaxed);
///     }
/// }
///
/// let mut pool = Pool::<Object>::new()?;
/// assert!(pool.take().is_none());
/// pool.add(Chunk::new()?);
/// let object = pool.take().unwrap();
/// // SAFETY: the pool gave it away; it is given back once.
/// unsafe { Pool::give_back(object.as_ptr()) };
/// # Ok::<(), vmaple_rcu::AllocError>(())
/// ```
///
/// # Invariants
/// `shared` lives while this does. `free` links `len` objects, `adopted` others. They are in no
/// other list and in no use. All objects are from chunks in `shared`.
pub struct Pool<T: Pooled> {
    shared: NonNull<Shared<T>>,
    free: *mut T,
    /// Returned objects that are not in `free` yet.
    adopted: *mut T,
    len: usize,
    /// Objects in all chunks.
    total: usize,
}

// SAFETY: the pool owns its objects.
unsafe impl<T: Pooled + Send> Send for Pool<T> {}
// SAFETY: by a shared reference only the number of its objects can be read.
unsafe impl<T: Pooled + Send> Sync for Pool<T> {}

impl<T: Pooled> Pool<T> {
    /// Returns an empty pool.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new() -> Result<Self, AllocError> {
        // The lowest bit of the word distinguishes a count from an address; objects from the
        // chunk's end on are aligned as it is.
        const { assert!(align_of::<T>() > 1 && align_of::<T>() <= T::CHUNK && size_of::<T>() > 0 && objects::<T>() > 0) };
        const { assert!(T::BESIDE % 8 == 0) };
        let layout = Layout::new::<Shared<T>>();
        // SAFETY: the size is not zero.
        let shared = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<Shared<T>>()).ok_or(AllocError)?;
        let value = Shared {
            returned: AtomicPtr::new(ptr::null_mut()),
            chunks: ptr::null_mut(),
        };
        // SAFETY: fresh memory of this layout.
        unsafe { shared.write(value) };
        // INVARIANT: no objects yet.
        Ok(Self {
            shared,
            free: ptr::null_mut(),
            adopted: ptr::null_mut(),
            len: 0,
            total: 0,
        })
    }

    /// Returns whether fewer than `count` objects can be taken at once, returned ones included.
    pub fn is_below(&mut self, count: usize) -> bool {
        self.collect(count);
        self.len < count
    }

    /// The number of objects that one [`Chunk`] brings.
    pub const OF_A_CHUNK: usize = objects::<T>();

    /// Returns the bytes of all chunks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.total / objects::<T>() * T::CHUNK
    }

    /// Adds a chunk's objects.
    pub fn add(&mut self, chunk: Chunk<T>) {
        let memory = chunk.0;
        core::mem::forget(chunk);
        // SAFETY: by the type's invariant; the chunks are the writer's.
        let chunks = unsafe { &mut (*self.shared.as_ptr()).chunks };
        let header = Header {
            pool: self.shared,
            next: *chunks,
            free: 0,
        };
        // SAFETY: the chunk's memory is fresh, zeroed and large enough.
        unsafe { memory.write(header) };
        *chunks = memory.as_ptr();
        for i in (0..objects::<T>()).rev() {
            let offset = T::CHUNK - (i + 1) * size_of::<T>();
            // SAFETY: inside of the chunk, after its header.
            let object = unsafe { memory.as_ptr().byte_add(offset) }.cast::<T>();
            // SAFETY: zeros are a value of the type, and no other code knows of it.
            unsafe { self.put(object) };
        }
        self.total += objects::<T>();
    }

    /// Makes sure that `count` objects can be taken; asks the global allocator for chunks if need
    /// be.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for all of them; the pool is unchanged then.
    pub fn reserve(&mut self, count: usize) -> Result<(), AllocError> {
        if self.is_below(count) {
            self.chunks_for(count)?.for_each(|chunk| self.add(chunk));
        }
        Ok(())
    }

    /// Returns the chunks that must be added before `count` objects can be taken.
    ///
    /// # Errors
    /// As for [`reserve`](Self::reserve).
    pub fn chunks_for(&mut self, count: usize) -> Result<Chunks<T>, AllocError> {
        self.collect(count);
        Chunks::new(count.saturating_sub(self.len).div_ceil(objects::<T>()))
    }

    /// Moves returned objects to the writer's list until that has `count`. One by one, as a
    /// million may have come back while the writers' lock is held.
    fn collect(&mut self, count: usize) {
        while self.len < count {
            if self.adopted.is_null() {
                // SAFETY: by the type's invariant.
                let returned = unsafe { &(*self.shared.as_ptr()).returned };
                // Acquire pairs with the Release in `give_back`: the objects' last readers are
                // done, and their links are set.
                self.adopted = returned.swap(ptr::null_mut(), Ordering::Acquire);
                if self.adopted.is_null() {
                    return;
                }
            }
            let object = self.adopted;
            // SAFETY: objects in the list are this pool's, and in no use any more.
            self.adopted = unsafe { &*object }.link();
            // SAFETY: as above.
            unsafe { self.put(object) };
        }
    }

    /// Takes an object, with whatever was in it; returns `None` if there is none left.
    #[inline]
    pub fn take(&mut self) -> Option<NonNull<T>> {
        if self.free.is_null() {
            self.collect(1);
        }
        let object = NonNull::new(self.free)?;
        // SAFETY: by the type's invariant an object in the list is this pool's own.
        self.free = unsafe { object.as_ref() }.link();
        self.len -= 1;
        Some(object)
    }

    /// Puts back an object that no reader can hold.
    ///
    /// # Safety
    /// It is this pool's, was taken, and is put or given back once.
    #[inline]
    pub unsafe fn put(&mut self, object: *mut T) {
        // SAFETY: by this function's contract.
        unsafe { &*object }.set_link(self.free);
        // INVARIANT: one more in the list.
        self.free = object;
        self.len += 1;
    }

    /// Puts back a list of objects that no thread holds any more, from `first` to `last`.
    ///
    /// # Safety
    /// They are this pool's, linked, `len` of them, and in no other list.
    pub unsafe fn put_list(&mut self, first: *mut T, last: *mut T, len: usize) {
        // SAFETY: by this function's contract.
        unsafe { &*last }.set_link(self.free);
        // INVARIANT: `len` more in the list.
        self.free = first;
        self.len += len;
    }

    /// Frees the chunks all of whose objects are free; returns their bytes.
    pub fn trim(&mut self) -> usize {
        self.collect(usize::MAX);
        let mut kept = core::mem::replace(&mut self.free, ptr::null_mut());
        self.len = 0;
        let mut object = kept;
        while !object.is_null() {
            // SAFETY: free objects are this pool's, as their chunks' headers are.
            unsafe { (*Self::chunk_of(object)).free += 1 };
            // SAFETY: as above.
            object = unsafe { &*object }.link();
        }
        while !kept.is_null() {
            // SAFETY: as above.
            let next = unsafe { &*kept }.link();
            // SAFETY: as above.
            if unsafe { (*Self::chunk_of(kept)).free } < objects::<T>() {
                // SAFETY: it was in this pool's list.
                unsafe { self.put(kept) };
            }
            kept = next;
        }
        // SAFETY: by the type's invariant; the chunks are the writer's.
        let mut link = unsafe { &raw mut (*self.shared.as_ptr()).chunks };
        let mut freed = 0;
        // SAFETY: links are in the pool or in chunks that stay.
        while let Some(chunk) = NonNull::new(unsafe { *link }) {
            let this = chunk.as_ptr();
            // Field by field: a thread that gives back reads another one.
            // SAFETY: chunks in the list are whole, and this field of their headers the writer's.
            let free = unsafe { core::mem::take(&mut (*this).free) };
            // SAFETY: as above.
            let next = unsafe { &raw mut (*this).next };
            if free == objects::<T>() {
                // SAFETY: as above; the chunk's objects are in no list any more.
                let after = unsafe { *next };
                // SAFETY: as for the loop's load.
                unsafe { *link = after };
                drop(Chunk(chunk));
                freed += 1;
            } else {
                link = next;
            }
        }
        self.total -= freed * objects::<T>();
        freed * T::CHUNK
    }

    /// Returns the chunk that an object is in.
    fn chunk_of(object: *mut T) -> *mut Header<T> {
        let chunk = object.cast::<()>().map_addr(|address| address & !(T::CHUNK - 1));
        chunk.cast()
    }

    /// Returns the bytes that belong to an object in its chunk's head: zeros at first, then
    /// whatever was left there.
    ///
    /// They are for the object's holder alone, as the object is.
    ///
    /// # Safety
    /// `object` is from a pool, and has not been given back.
    #[inline]
    #[must_use]
    pub unsafe fn beside(object: NonNull<T>) -> NonNull<u8> {
        let from_end = T::CHUNK - object.addr().get() % T::CHUNK;
        let offset = head::<T>() + (from_end / size_of::<T>() - 1) * T::BESIDE;
        // SAFETY: the object's pointer was made from the chunk's, which begins there.
        let chunk = unsafe { object.cast::<u8>().sub(T::CHUNK - from_end) };
        // SAFETY: inside of the chunk's head.
        unsafe { chunk.add(offset) }
    }

    /// Returns the pool of an object that is out.
    ///
    /// # Safety
    /// `object` is from a pool, and has not been given back.
    unsafe fn of(object: *mut T) -> NonNull<Shared<T>> {
        // SAFETY: a chunk is aligned to its size and begins with its header, of which this field
        // is not written after `add`. It stays as long as one of its objects is out. The object's
        // pointer was made from the chunk's.
        unsafe { (*Self::chunk_of(object)).pool }
    }

    /// Gives back an object that no thread holds any more, from any thread.
    ///
    /// # Safety
    /// `object` is from a pool, is in no structure or list, and is given back once. It is given
    /// back in another thread than took it only if `T` may go there.
    pub unsafe fn give_back(object: *mut T) {
        // SAFETY: by this function's contract.
        let shared = unsafe { Self::of(object) };
        // SAFETY: the pool lives while an object is out.
        let returned = unsafe { &(*shared.as_ptr()).returned };
        let mut top = returned.load(Ordering::Relaxed);
        loop {
            let closed = top.addr() & 1 == 1;
            let new = if closed {
                top.map_addr(|count| count - 2)
            } else {
                // SAFETY: the caller has given the object away.
                unsafe { &*object }.set_link(top);
                object
            };
            // Release pairs with the Acquire in `collect`. Closed, AcqRel makes all that was done
            // with the pool's memory come before its end.
            match returned.compare_exchange_weak(top, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if closed && new.addr() == 1 => break,
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
        // SAFETY: closed, and this was the last object.
        unsafe { Self::free(shared) };
    }

    /// Frees the pool and its chunks.
    ///
    /// # Safety
    /// No other code uses the pool or one of its objects any more.
    unsafe fn free(shared: NonNull<Shared<T>>) {
        // SAFETY: it is from `new`, and by this function's contract in no other use.
        let shared = unsafe { Box::from_raw(shared.as_ptr()) };
        let mut chunk = shared.chunks;
        while let Some(this) = NonNull::new(chunk) {
            // SAFETY: chunks in the list are whole.
            chunk = unsafe { this.as_ref() }.next;
            drop(Chunk(this));
        }
    }
}

impl<T: Pooled> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("Pool");
        this.field("objects", &self.total).field("free", &self.len);
        this.finish_non_exhaustive()
    }
}

impl<T: Pooled> Drop for Pool<T> {
    /// Leaves the objects that are still out to be given back later.
    fn drop(&mut self) {
        loop {
            self.collect(usize::MAX);
            let out = self.total - self.len;
            if out == 0 {
                // SAFETY: all objects are here.
                return unsafe { Self::free(self.shared) };
            }
            // SAFETY: by the type's invariant.
            let returned = unsafe { &(*self.shared.as_ptr()).returned };
            let closed = ptr::without_provenance_mut(out << 1 | 1);
            // Release pairs with the AcqRel in `give_back`: the writer is done with the pool
            // before a thread frees it.
            if returned
                .compare_exchange(ptr::null_mut(), closed, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }
}
