//! A page of this process whose content and file are known, by which to find and to check things.

#![allow(unsafe_code)] // one mapped page

use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, fstat, ftruncate, major, memfd_create, minor};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

use crate::error::{Error, Result};

/// The words with which the page begins.
pub(crate) const MAGIC: [u64; 2] = [0x2e65_6c70_616d_7620, 0x6d61_726b_6564_2e20];

/// A page of a file in shared memory, which begins with [`MAGIC`].
///
/// # Invariants
/// `memory` is one page, mapped until this is dropped.
pub(crate) struct MarkedPage {
    memory: NonNull<[u64; 2]>,
    file: (u32, u32, u64),
}

impl MarkedPage {
    /// Maps it.
    ///
    /// # Errors
    /// [`Error::Failed`] if there is no memory for it.
    pub(crate) fn new() -> Result<Self> {
        let failed = |e: rustix::io::Errno| Error::failed("mapping a page", e);
        let file = memfd_create(c"vmaple-scan", MemfdFlags::CLOEXEC).map_err(failed)?;
        ftruncate(&file, page_size() as u64).map_err(failed)?;
        let status = fstat(&file).map_err(failed)?;
        // SAFETY: the kernel chooses the address, so no other mapping is replaced.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                page_size(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        let memory = NonNull::new(memory.map_err(failed)?.cast::<[u64; 2]>())
            .ok_or_else(|| Error::failed("mapping a page", "at address 0"))?;
        // INVARIANT: mapped above, one page.
        let page = Self {
            memory,
            file: (major(status.st_dev), minor(status.st_dev), status.st_ino),
        };
        // With shmem_enabled at "always" some kernels would take a huge page, which is found in the
        // file in another way. A kernel without huge pages refuses this advice.
        // SAFETY: advice on the page that was mapped above.
        let _ = unsafe { libc::madvise(page.memory.as_ptr().cast(), page_size(), libc::MADV_NOHUGEPAGE) };
        Ok(page)
    }

    /// Writes the mark, so that the page is there.
    pub(crate) fn mark(&self) {
        // SAFETY: mapped by the invariant, aligned and long enough. Volatile: the page must be
        // there afterwards.
        unsafe { self.memory.write_volatile(MAGIC) };
    }

    /// Returns the file's device, as two numbers, and its inode number.
    pub(crate) fn file(&self) -> (u32, u32, u64) {
        self.file
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.addr().get() as u64
    }
}

impl Drop for MarkedPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and not used after this. Should it fail, it stays mapped.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), page_size()) };
    }
}
