//! The kernel target's region: real mmap() and munmap() of single pages.

#![allow(unsafe_code)] // mmap and munmap of a region that nothing else uses

use std::ffi::c_void;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::error::{Error, Result};

use super::mapper::Calls;

/// A region of this process's address space, where single pages come and go.
///
/// # Invariants
/// `base..base + pages * page` was mapped for this value alone; no reference into it exists.
pub(super) struct Region {
    base: *mut c_void,
    pages: u64,
    page: usize,
}

impl Region {
    /// Maps it, populated as in the talk.
    pub(super) fn map(bytes: u64) -> Result<Self> {
        let page = rustix::param::page_size();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes as usize,
                ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }
        .map_err(|e| Error::failed(format!("mapping a region of {bytes} bytes"), e))?;
        // INVARIANT: freshly mapped, and the pointer goes nowhere else.
        Ok(Self {
            base,
            pages: bytes / page as u64,
            page,
        })
    }

    /// Returns the address of a page of the region.
    fn at(&self, page: u64) -> *mut c_void {
        assert!(page < self.pages, "a page beyond the region");
        self.base.wrapping_byte_add(page as usize * self.page)
    }
}

impl Calls for Region {
    type Error = Errno;

    fn start(&self) -> u64 {
        self.base.addr() as u64
    }

    fn mmap(&self, page: u64) -> Result<(), Errno> {
        let addr = self.at(page);
        let flags = MapFlags::FIXED | MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: by the type's invariant the page is this value's and nothing refers into it.
        unsafe { rustix::mm::mmap_anonymous(addr, self.page, ProtFlags::WRITE, flags) }.map(|_| ())
    }

    fn munmap(&self, page: u64) -> Result<(), Errno> {
        let addr = self.at(page);
        // SAFETY: as above; unmapping a page that is not mapped is no error.
        unsafe { rustix::mm::munmap(addr, self.page) }
    }
}
