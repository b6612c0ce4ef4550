//! The kernel target's memory for thread B, where each first write to a page is a page fault.

#![allow(unsafe_code)] // mapping memory and touching it

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use crate::error::{Error, Result};

use super::thread_b::{FRESH, Touch};

/// Anonymous memory that nothing but this file touches.
///
/// # Invariants
/// `base..base + pages * page` is mapped for this value alone; no reference into it exists.
struct Area {
    base: *mut u8,
    pages: usize,
    page: usize,
}

// SAFETY: the mapping belongs to the value, whichever thread has it.
unsafe impl Send for Area {}

impl Area {
    fn map(pages: usize, prot: ProtFlags) -> Result<Self> {
        let page = rustix::param::page_size();
        let flags = MapFlags::PRIVATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), pages * page, prot, flags) }
            .map_err(|e| Error::failed("mapping memory for page faults", e))?;
        // INVARIANT: freshly mapped, and the pointer goes nowhere else.
        Ok(Self {
            base: base.cast(),
            pages,
            page,
        })
    }

    fn bytes(&self) -> usize {
        self.pages * self.page
    }

    /// Returns the address of a page of the area.
    fn at(&self, page: usize) -> *mut u8 {
        assert!(page < self.pages, "a page beyond the area");
        self.base.wrapping_byte_add(page * self.page)
    }

    /// Writes to a page.
    ///
    /// # Safety
    /// It is writable.
    unsafe fn touch(&self, page: usize) {
        // SAFETY: a byte of the area, which is writable by this function's contract, and to which
        // no reference exists.
        unsafe { self.at(page).write_volatile(1) };
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant the mapping is this value's alone, and the value is gone
        // after this.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.bytes()) };
    }
}

/// Memory of this process for thread B.
///
/// # Invariants
/// `mapped` is readable and writable. `fresh` is `2 * FRESH + 1` pages, of which the odd ones are
/// readable and writable.
pub(super) struct FaultMemory {
    mapped: Area,
    fresh: Area,
}

impl FaultMemory {
    /// Maps it, with `mapped_pages` pages in the mapping in use.
    pub(super) fn map(mapped_pages: u64) -> Result<Self> {
        let mapped = Area::map(mapped_pages as usize, ProtFlags::READ | ProtFlags::WRITE)?;
        // Huge pages would make one fault of 512. Kernels without them refuse the advice, which
        // does not matter. SAFETY: advice on memory that is `mapped`'s alone, and that changes no
        // content.
        let _ = unsafe { rustix::mm::madvise(mapped.base.cast(), mapped.bytes(), Advice::LinuxNoHugepage) };
        let fresh = Area::map(2 * FRESH as usize + 1, ProtFlags::empty())?;
        for odd in (1..fresh.pages).step_by(2) {
            // SAFETY: the page is the area's alone, and nothing refers to it.
            unsafe {
                rustix::mm::mprotect(
                    fresh.at(odd).cast(),
                    fresh.page,
                    MprotectFlags::READ | MprotectFlags::WRITE,
                )
            }
            .map_err(|e| Error::failed("preparing memory for page faults", e))?;
        }
        // INVARIANT: the loop has made all odd pages accessible.
        Ok(Self { mapped, fresh })
    }
}

impl Touch for FaultMemory {
    fn mapped_pages(&self) -> u64 {
        self.mapped.pages as u64
    }

    fn touch_mapped(&self, page: u64) -> Result<()> {
        // SAFETY: by the type's invariant all of it is writable.
        unsafe { self.mapped.touch(page as usize) };
        Ok(())
    }

    fn discard_mapped(&self) -> Result<()> {
        let (base, bytes) = (self.mapped.base.cast(), self.mapped.bytes());
        // SAFETY: the area is this value's alone, and what was written into it does not matter.
        unsafe { rustix::mm::madvise(base, bytes, Advice::LinuxDontNeed) }
            .map_err(|e| Error::failed("discarding memory for page faults", e))
    }

    fn touch_fresh(&self, i: u64) -> Result<()> {
        // SAFETY: an odd page, which is writable by the type's invariant.
        unsafe { self.fresh.touch(2 * i as usize + 1) };
        Ok(())
    }
}
