//! An allocator of frames in this program's own memory.

use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use lock_api::Mutex;
use maple_tree::DefaultLock;
use vmaple_rcu::AllocError;

use super::frame::{FrameMeta, Frames, Pfn};
use super::frame_list::FrameChain;
use crate::addr::PAGE_SIZE;
use crate::kref::Kref;

/// Frames that are taken from the global allocator at a time. Few for Miri: it looks at a whole
/// [`Chunk`] wherever one is referred to.
const CHUNK: usize = if cfg!(miri) { 128 } else { 512 };

/// The memory of a chunk, aligned so that the kernel can back it with one huge page.
const MEMORY: Layout = match Layout::from_size_align(CHUNK * PAGE_SIZE as usize, CHUNK * PAGE_SIZE as usize) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// The metadata of a chunk's frames, which stays, and their memory, which may go when no frame is
/// used.
struct Chunk {
    memory: AtomicPtr<u8>,
    metas: [FrameMeta; CHUNK],
}

impl Chunk {
    fn new() -> Result<Box<Self>, AllocError> {
        let mut place = Vec::new();
        place.try_reserve_exact(1).map_err(|_| AllocError)?;
        place.push(Self {
            memory: AtomicPtr::new(ptr::null_mut()),
            metas: [const { FrameMeta::new() }; CHUNK],
        });
        let chunk: Box<[Self]> = place.into_boxed_slice();
        // SAFETY: a slice of one has the layout of that one.
        Ok(unsafe { Box::from_raw(Box::into_raw(chunk).cast::<Self>()) })
    }
}

/// The memory of a chunk's frames.
///
/// # Invariants
/// The pointer is from the global allocator, for [`MEMORY`], and belongs to this value.
struct ChunkMemory(NonNull<u8>);

impl ChunkMemory {
    fn new() -> Result<Self, AllocError> {
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(MEMORY) };
        NonNull::new(memory).map(Self).ok_or(AllocError)
    }

    /// Touches it, so that the kernel has nothing left to do for it.
    fn touched(self) -> Self {
        // SAFETY: by the type's invariant.
        unsafe { self.0.write_bytes(0, MEMORY.size()) };
        self
    }

    fn into_raw(self) -> *mut u8 {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// Takes back what a pointer owns; `None` for null.
    ///
    /// # Safety
    /// The pointer is null or from [`into_raw`](Self::into_raw), and nothing uses it any more.
    unsafe fn from_raw(memory: *mut u8) -> Option<Self> {
        // INVARIANT: by this function's contract.
        NonNull::new(memory).map(Self)
    }
}

impl Drop for ChunkMemory {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant.
        unsafe { dealloc(self.0.as_ptr(), MEMORY) };
    }
}

/// An allocator of frames in this program's own memory. Several address spaces may share one.
///
/// Memory is taken from the global allocator in chunks of 2 MiB as it is needed, and kept until the
/// allocator is dropped. Chunks that were not [reserved](Self::reserve) go when an address space
/// goes and no frame is used any more.
///
/// # Invariants
/// The first `grown` chunks have memory. A chunk that was there once stays. `free` has the free
/// frames of the first `grown` chunks.
pub struct Ram {
    chunks: Box<[AtomicPtr<Chunk>]>,
    /// Written under the lock of `free`.
    grown: AtomicUsize,
    /// Chunks whose memory is kept, at least the first. Written under the same lock.
    kept: AtomicUsize,
    free: Mutex<DefaultLock, FrameChain>,
}

// SAFETY: chunks are shared by reference; their memory belongs to the threads that took frames.
unsafe impl Send for Ram {}
// SAFETY: as above.
unsafe impl Sync for Ram {}

impl Ram {
    /// Creates an allocator of up to `bytes` bytes, and takes the first 2 MiB.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for that.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{Frames, Ram};
    /// let ram = Ram::new(64 << 20)?;
    /// assert_eq!(ram.take(3).len(), 3);
    /// # Ok::<(), vmaple_rcu::AllocError>(())
    /// ```
    pub fn new(bytes: u64) -> Result<Kref<Self>, AllocError> {
        let most = usize::try_from(bytes.div_ceil(MEMORY.size() as u64)).map_err(|_| AllocError)?;
        let ram = Self {
            chunks: null_pointers(most.max(1))?,
            grown: AtomicUsize::new(0),
            kept: AtomicUsize::new(1),
            free: Mutex::new(FrameChain::new()),
        };
        ram.grow(ChunkMemory::new()?)?;
        let zero = ram.page(ram.zero());
        // SAFETY: the frame is never taken, and no other thread knows of it yet.
        unsafe { zero.write_bytes(0, PAGE_SIZE as usize) };
        Kref::new(ram)
    }

    /// Takes memory now until `frames` frames are free, and touches it: the kernel then has nothing
    /// left to do for them.
    ///
    /// All memory that there is then is kept.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory, or not that much allowed.
    pub fn reserve(&self, frames: usize) -> Result<(), AllocError> {
        while self.free.lock().len() < frames {
            self.grow(ChunkMemory::new()?.touched())?;
        }
        let _free = self.free.lock();
        // Relaxed: under the lock.
        self.kept.store(self.grown.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(())
    }

    /// Gives the next chunk memory.
    #[cold]
    fn grow(&self, memory: ChunkMemory) -> Result<(), AllocError> {
        // For a chunk that is not there yet. Allocated without the lock.
        let fresh = Chunk::new()?;
        let mut free = self.free.lock();
        // Relaxed: under the lock.
        let index = self.grown.load(Ordering::Relaxed);
        let place = self.chunks.get(index).ok_or(AllocError)?;
        if place.load(Ordering::Relaxed).is_null() {
            // Release pairs with the Acquire in `find_chunk`.
            place.store(Box::into_raw(fresh), Ordering::Release);
        }
        let first = index * CHUNK;
        // Release pairs with the Acquire in `page`.
        self.chunk(Pfn(first as u64))
            .memory
            .store(memory.into_raw(), Ordering::Release);
        // INVARIANT: this chunk too has memory now.
        self.grown.store(index + 1, Ordering::Relaxed);
        for pfn in (first + usize::from(index == 0)..first + CHUNK).rev() {
            // SAFETY: frames of the chunk, which have no owner yet.
            unsafe { free.push(self, Pfn(pfn as u64)) };
        }
        Ok(())
    }

    fn chunk(&self, pfn: Pfn) -> &Chunk {
        self.find_chunk(pfn).expect("a frame that was never allocated")
    }

    /// Returns the chunk of a frame, if there is or was such a frame.
    fn find_chunk(&self, pfn: Pfn) -> Option<&Chunk> {
        // Acquire pairs with the Release in `grow`: a thread that knows the frame has it from one
        // that came after.
        let chunk = self.chunks.get(pfn.0 as usize / CHUNK)?.load(Ordering::Acquire);
        // SAFETY: by the type's invariant it stays.
        NonNull::new(chunk).map(|chunk| unsafe { chunk.as_ref() })
    }
}

// SAFETY: a frame is in the chain or allocated; chunks stay where they are, and have metas for each
// of their frames.
unsafe impl Frames for Ram {
    fn alloc(&self, count: usize) -> FrameChain {
        let mut free = self.free.lock();
        while free.is_empty() && count > 0 {
            drop(free);
            if ChunkMemory::new().and_then(|memory| self.grow(memory)).is_err() {
                // SAFETY: the chain is this allocator's.
                return unsafe { self.free.lock().split(self, count) };
            }
            free = self.free.lock();
        }
        // SAFETY: the chain is this allocator's.
        unsafe { free.split(self, count) }
    }

    unsafe fn free(&self, frames: FrameChain) {
        // SAFETY: by this function's contract.
        unsafe { self.free.lock().append(self, frames) };
    }

    fn page(&self, pfn: Pfn) -> NonNull<u8> {
        // Acquire pairs with the Release in `grow`.
        let memory = self.chunk(pfn).memory.load(Ordering::Acquire);
        let memory = NonNull::new(memory).expect("a frame that is used has memory");
        let offset = pfn.0 as usize % CHUNK * PAGE_SIZE as usize;
        // SAFETY: inside of the chunk's memory.
        unsafe { memory.add(offset) }
    }

    /// Returns the metadata of the zero page for a number of no frame.
    fn meta(&self, pfn: Pfn) -> &FrameMeta {
        match self.find_chunk(pfn) {
            Some(chunk) => &chunk.metas[pfn.0 as usize % CHUNK],
            None => self.meta(self.zero()),
        }
    }

    fn trim(&self) {
        let mut free = self.free.lock();
        // Relaxed: under the lock.
        let (grown, kept) = (self.grown.load(Ordering::Relaxed), self.kept.load(Ordering::Relaxed));
        // No frame is used, except the zero page in the first chunk.
        if grown == kept || free.len() < grown * CHUNK - 1 {
            return;
        }
        *free = FrameChain::new();
        for pfn in (1..(kept * CHUNK) as u64).rev() {
            // SAFETY: free, and in no chain now.
            unsafe { free.push(self, Pfn(pfn)) };
        }
        for index in kept..grown {
            let chunk = self.chunk(Pfn((index * CHUNK) as u64));
            // Relaxed: under the lock.
            let memory = chunk.memory.swap(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: from `grow`; no frame of it is used.
            drop(unsafe { ChunkMemory::from_raw(memory) });
        }
        // INVARIANT: the other chunks have no memory any more.
        self.grown.store(kept, Ordering::Relaxed);
    }

    fn zero(&self) -> Pfn {
        Pfn(0)
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        for chunk in &mut self.chunks {
            if let Some(chunk) = NonNull::new(*chunk.get_mut()) {
                // SAFETY: from `grow`, and nothing refers to it any more.
                let chunk = unsafe { Box::from_raw(chunk.as_ptr()) };
                // SAFETY: from `grow`, and nothing uses it any more.
                drop(unsafe { ChunkMemory::from_raw(chunk.memory.load(Ordering::Relaxed)) });
            }
        }
    }
}

/// Returns a slice of null pointers, which takes no memory of the machine until it is written.
fn null_pointers(count: usize) -> Result<Box<[AtomicPtr<Chunk>]>, AllocError> {
    let layout = Layout::array::<AtomicPtr<Chunk>>(count).map_err(|_| AllocError)?;
    // SAFETY: the count is not zero.
    let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(AllocError)?;
    let slice = ptr::slice_from_raw_parts_mut(memory.as_ptr().cast(), count);
    // SAFETY: of a slice's layout and allocator; zeros are null pointers.
    Ok(unsafe { Box::from_raw(slice) })
}

impl fmt::Debug for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ram")
            .field("frames", &(self.grown.load(Ordering::Relaxed) * CHUNK))
            .field("free", &self.free.try_lock().map(|free| free.len()))
            .finish_non_exhaustive()
    }
}

// SAFETY: as of what it refers to.
unsafe impl<F: Frames> Frames for Kref<F> {
    fn alloc(&self, count: usize) -> FrameChain {
        (**self).alloc(count)
    }

    unsafe fn free(&self, frames: FrameChain) {
        // SAFETY: the same contract.
        unsafe { (**self).free(frames) };
    }

    fn trim(&self) {
        (**self).trim();
    }

    fn page(&self, pfn: Pfn) -> NonNull<u8> {
        (**self).page(pfn)
    }

    fn meta(&self, pfn: Pfn) -> &FrameMeta {
        (**self).meta(pfn)
    }

    fn zero(&self) -> Pfn {
        (**self).zero()
    }
}
