//! Memory that this process shares with the BPF program.

#![allow(unsafe_code)] // memory that the kernel writes

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::bpf::abi::{Control, Record};
use crate::bpf::load::linked::Array;
use crate::error::{Error, Result};

/// The array of a BPF map, in memory.
///
/// # Invariants
/// `memory` is `length` values of `T`, mapped until this is dropped, in the process `owner` alone.
/// `T` is plain old data.
pub(crate) struct Shared<T> {
    memory: NonNull<T>,
    length: usize,
    owner: u32,
}

// SAFETY: the value owns the memory, which is written by `&mut` alone.
unsafe impl<T: Send> Send for Shared<T> {}

/// A type of which any bytes are a value.
pub(crate) trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for Control {}
impl Plain for Record {}

impl<T: Plain> Shared<T> {
    /// Maps the `length` values of a map.
    ///
    /// # Errors
    /// [`Error::Failed`] if the map is of another size.
    pub(crate) fn map((array, fd): (&Array, BorrowedFd<'_>), length: usize) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::failed(format!("mapping the BPF map {}", array.name), e);
        let value_bytes = array.value_bytes as usize;
        let array_bytes = length * size_of::<T>();
        if value_bytes != array_bytes && value_bytes != size_of::<T>() || !value_bytes.is_multiple_of(8) {
            return Err(failed(&"of another size"));
        }
        // SAFETY: the kernel chooses the address, so no other mapping is replaced.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                array_bytes.next_multiple_of(rustix::param::page_size()),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        };
        let memory = memory.map_err(|e| failed(&e))?;
        let memory = NonNull::new(memory.cast()).ok_or_else(|| failed(&"at address 0"))?;
        // INVARIANT: the map was checked to be as long, and mmap(2) has mapped all of it.
        let shared = Self {
            memory,
            length,
            owner: std::process::id(),
        };
        // SAFETY: copies of this process do not get the memory, which changes nothing in this one.
        let kept = unsafe { madvise(memory.as_ptr().cast(), shared.bytes(), Advice::LinuxDontFork) };
        kept.map_err(|e| failed(&e))?;
        Ok(shared)
    }

    /// Returns the first `count` values, or as many as there are.
    pub(crate) fn first(&self, count: usize) -> &[T] {
        // SAFETY: mapped and aligned by the invariant, and any bytes are a `T`. The kernel writes
        // there only during `Program::run`, which takes the program mutably; a copy of this process
        // does not run it.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), count.min(self.length)) }
    }

    /// Returns the first value.
    pub(crate) fn load(&self) -> T {
        // SAFETY: mapped and aligned by the invariant, and any bytes are a `T`. Volatile: the
        // kernel has written there since the last access.
        unsafe { self.memory.read_volatile() }
    }

    /// Replaces the first value.
    pub(crate) fn store(&mut self, value: T) {
        // SAFETY: as in `load`.
        unsafe { self.memory.write_volatile(value) };
    }
}

impl<T> Shared<T> {
    /// Returns whether this is the process that has it mapped.
    pub(crate) fn is_here(&self) -> bool {
        self.owner == std::process::id()
    }

    fn bytes(&self) -> usize {
        (self.length * size_of::<T>()).next_multiple_of(rustix::param::page_size())
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: mapped with that length by `map`, and not used after this. Should it fail, it
            // stays mapped.
            let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.bytes()) };
        }
    }
}
