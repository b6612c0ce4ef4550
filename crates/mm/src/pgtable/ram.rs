//! Frames of this program's own memory.

use alloc::alloc::{Layout, alloc, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use lock_api::Mutex;
use maple_tree::DefaultLock;
use vmaple_rcu::AllocError;

use super::frame::{FrameList, FrameMeta, Frames, Pfn};
use crate::addr::PAGE_SIZE;
use crate::kref::Kref;

/// Frames that are taken from the global allocator at a time.
const CHUNK: usize = 512;

/// Memory of so many frames, aligned so that the kernel below can back it with one huge page.
const MEMORY: Layout = match Layout::from_size_align(CHUNK * PAGE_SIZE as usize, CHUNK * PAGE_SIZE as usize) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

struct Chunk {
    memory: NonNull<u8>,
    metas: [FrameMeta; CHUNK],
}

impl Chunk {
    fn new() -> Result<Box<Self>, AllocError> {
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc(MEMORY) }).ok_or(AllocError)?;
        let mut place = Vec::new();
        if place.try_reserve_exact(1).is_err() {
            // SAFETY: just taken.
            unsafe { dealloc(memory.as_ptr(), MEMORY) };
            return Err(AllocError);
        }
        place.push(Self {
            memory,
            metas: [const { FrameMeta::new() }; CHUNK],
        });
        let chunk: Box<[Self]> = place.into_boxed_slice();
        // SAFETY: a slice of one has the layout of that one.
        Ok(unsafe { Box::from_raw(Box::into_raw(chunk).cast::<Self>()) })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: from `new`.
        unsafe { dealloc(self.memory.as_ptr(), MEMORY) };
    }
}

/// Frames of this program's own memory: taken from the global allocator in pieces of 2 MiB as they are needed, and kept until it is
/// dropped. Several address spaces may share one.
///
/// # Invariants
/// The first `grown` chunks are there, and stay. `free` has frames of these that are nobody's.
pub struct Ram {
    chunks: Box<[AtomicPtr<Chunk>]>,
    /// Under the lock of `free`.
    grown: AtomicUsize,
    free: Mutex<DefaultLock, FrameList>,
}

// SAFETY: chunks are given out by shared reference and as memory of who took a frame.
unsafe impl Send for Ram {}
// SAFETY: as above.
unsafe impl Sync for Ram {}

impl Ram {
    /// Memory of up to so many bytes; takes the first 2 MiB.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for that.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{Frames, Ram};
    /// let ram = Ram::new(64 << 20)?;
    /// let frames = ram.alloc(3);
    /// assert_eq!(frames.len(), 3);
    /// ram.free(frames);
    /// # Ok::<(), vmaple_rcu::AllocError>(())
    /// ```
    pub fn new(bytes: u64) -> Result<Kref<Self>, AllocError> {
        let most = usize::try_from(bytes.div_ceil(MEMORY.size() as u64)).map_err(|_| AllocError)?;
        let mut chunks = Vec::new();
        chunks.try_reserve_exact(most.max(1)).map_err(|_| AllocError)?;
        chunks.resize_with(most.max(1), || AtomicPtr::new(ptr::null_mut()));
        let ram = Self {
            chunks: chunks.into_boxed_slice(),
            grown: AtomicUsize::new(0),
            free: Mutex::new(FrameList::new()),
        };
        ram.grow()?;
        let zero = ram.page(ram.zero());
        // SAFETY: the frame is never taken, and nobody knows of it yet.
        unsafe { zero.write_bytes(0, PAGE_SIZE as usize) };
        Kref::new(ram)
    }

    /// Takes memory now for so many frames to be free, and touches it, so that the kernel below has nothing left to do for them.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory, or not that much allowed.
    pub fn reserve(&self, frames: usize) -> Result<(), AllocError> {
        while self.free.lock().len() < frames {
            self.grow()?;
        }
        let mut all = self.alloc(usize::MAX);
        let mut touched = FrameList::new();
        // SAFETY: taken from this just now.
        while let Some(pfn) = unsafe { all.pop(self) } {
            // SAFETY: taken just now.
            unsafe { self.page(pfn).write_bytes(0, PAGE_SIZE as usize) };
            // SAFETY: as above.
            unsafe { touched.push(self, pfn) };
        }
        self.free(touched);
        Ok(())
    }

    /// Takes memory for some more frames.
    #[cold]
    fn grow(&self) -> Result<(), AllocError> {
        let chunk = Box::into_raw(Chunk::new()?);
        let mut free = self.free.lock();
        // Relaxed: under the lock.
        let index = self.grown.load(Ordering::Relaxed);
        let Some(place) = self.chunks.get(index) else {
            drop(free);
            // SAFETY: made above, and nobody knows of it.
            drop(unsafe { Box::from_raw(chunk) });
            return Err(AllocError);
        };
        // Release pairs with the Acquire in `chunk`.
        place.store(chunk, Ordering::Release);
        // INVARIANT: this chunk too is there now.
        self.grown.store(index + 1, Ordering::Relaxed);
        let first = (index * CHUNK) as u64;
        let zeros = u64::from(index == 0);
        for pfn in (first + zeros..first + CHUNK as u64).rev() {
            // SAFETY: frames of the chunk, which nobody has yet.
            unsafe { free.push(self, Pfn(pfn)) };
        }
        Ok(())
    }

    fn chunk(&self, pfn: Pfn) -> &Chunk {
        let index = pfn.0 as usize / CHUNK;
        // Acquire pairs with the Release in `grow`: who knows the frame knows it from somebody who came after.
        let chunk = self.chunks[index].load(Ordering::Acquire);
        assert!(!chunk.is_null(), "a frame that was never given away");
        // SAFETY: by the type's invariant it stays.
        unsafe { &*chunk }
    }
}

// SAFETY: a frame is in the list or given away; chunks stay where they are, and have metas for each of their frames.
unsafe impl Frames for Ram {
    fn alloc(&self, count: usize) -> FrameList {
        let mut free = self.free.lock();
        while free.is_empty() && count > 0 {
            drop(free);
            if self.grow().is_err() {
                // SAFETY: the list is this one's.
                return unsafe { self.free.lock().split(self, count) };
            }
            free = self.free.lock();
        }
        // SAFETY: the list is this one's.
        unsafe { free.split(self, count) }
    }

    fn free(&self, frames: FrameList) {
        // SAFETY: the frames are from here.
        unsafe { self.free.lock().append(self, frames) };
    }

    fn page(&self, pfn: Pfn) -> NonNull<u8> {
        let offset = pfn.0 as usize % CHUNK * PAGE_SIZE as usize;
        // SAFETY: inside of the chunk's memory.
        unsafe { self.chunk(pfn).memory.add(offset) }
    }

    fn meta(&self, pfn: Pfn) -> &FrameMeta {
        &self.chunk(pfn).metas[pfn.0 as usize % CHUNK]
    }

    fn zero(&self) -> Pfn {
        Pfn(0)
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        for chunk in &mut self.chunks {
            if let Some(chunk) = NonNull::new(*chunk.get_mut()) {
                // SAFETY: from `grow`, and nobody refers to it any more.
                drop(unsafe { Box::from_raw(chunk.as_ptr()) });
            }
        }
    }
}

impl fmt::Debug for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ram")
            .field("frames", &(self.grown.load(Ordering::Relaxed) * CHUNK))
            .field("free", &self.free.lock().len())
            .finish_non_exhaustive()
    }
}

// SAFETY: as of what it refers to.
unsafe impl<F: Frames> Frames for Kref<F> {
    fn alloc(&self, count: usize) -> FrameList {
        (**self).alloc(count)
    }

    fn free(&self, frames: FrameList) {
        (**self).free(frames);
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
