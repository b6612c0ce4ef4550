//! The memory that controller and roles share: the start signal, and what each role has done so
//! far.
//!
//! A role can be killed at any moment, or be stuck in a system call for seconds. What it wrote here
//! before stays readable, so a figure that was cut short is known as such.
//!
//! # Ordering
//! `phase` is stored with Release by [`Ledger::enter`] and loaded with Acquire by
//! [`Ledger::wait_for`]; `ready`, `started` and `frozen` are incremented with Release by the roles
//! and loaded with Acquire by [`Ledger::wait_until`]. `operations` and the states of the pages have
//! their protocol in `page_state.rs`. Everything else is a counter that the controller
//! samples while its writer runs, with no relation to other words, so Relaxed is enough. Each has
//! one writer, except `longest_ns`, which the controller also resets when the mapper begins: a
//! maximum that races with the reset belongs to either side of it.
//! What the controller reads after a role has been reaped is ordered by the kernel.

#![allow(unsafe_code)] // one shared mapping

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

use crate::check::PageStates;
use crate::error::{Error, Result};
use crate::machine::timespec;

/// How far a run has come. Roles set themselves up before the first phase, then wait for theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Scanners scan.
    Scan = 1,
    /// Busy tasks spin.
    Busy = 2,
    /// The mapper maps.
    Map = 3,
    /// Scanners and busy tasks end: by themselves in a model, where they cannot be killed one by
    /// one.
    Clear = 4,
    /// They are gone: the mapper may report.
    Over = 5,
}

/// The words that all roles share.
///
/// Those of the mapper have a cache line of their own: busy tasks load the phase all the time, and
/// must not delay the mapper's stores.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Header {
    phase: AtomicU32,
    /// Roles that are set up and wait for their phase.
    pub(crate) ready: AtomicU32,
    /// Busy tasks that have run.
    pub(crate) started: AtomicU32,
    /// Scanners that have stopped in the middle of a read.
    pub(crate) frozen: AtomicU32,
    /// How many slots follow; the rest are pages.
    slots: AtomicU64,
    pub(crate) mapper: MapperWords,
}

/// The mapper's part: what it has done so far.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct MapperWords {
    /// First address of the mapper's region.
    pub(crate) region: AtomicU64,
    /// When the region was mapped (and fragmented).
    pub(crate) mapped_ns: AtomicU64,
    /// When the first operation began.
    pub(crate) begun_ns: AtomicU64,
    /// Operations completed.
    pub(crate) operations: AtomicU64,
    /// When the operation in flight began; 0 between operations.
    pub(crate) call_since_ns: AtomicU64,
    /// When thread B's fault in flight in the mapping in use began; 0 between these.
    pub(crate) mapped_fault_since_ns: AtomicU64,
    /// The same of a first fault in a mapping.
    pub(crate) fresh_fault_since_ns: AtomicU64,
}

/// The part of one scanner or busy task: what it has done so far.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Slot {
    /// Its thread ID, by which `/proc` knows it.
    pub(crate) tid: AtomicI32,
    /// When its load began.
    pub(crate) started_ns: AtomicU64,
    /// Scans completed.
    pub(crate) scans: AtomicU64,
    /// Length of the longest completed scan.
    pub(crate) longest_ns: AtomicU64,
    /// When the scan in flight began; 0 between scans.
    pub(crate) scan_since_ns: AtomicU64,
    /// What a scanner read that was not so, as in [`Misreads`](crate::sample::Misreads).
    pub(crate) overlaps: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) torn: AtomicU64,
    pub(crate) resurrected: AtomicU64,
}

/// A [`Header`], its [`Slot`]s and a word for each page of the mapper's region in a sealed memfd.
///
/// # Invariants
/// `base` is the start of a shared, writable mapping of a file that holds one `Header`, `slots`
/// `Slot`s and `pages` words, cannot shrink, and is unmapped in `drop` only. All types consist of
/// atomics, for which any bit pattern is valid.
pub(crate) struct Ledger {
    base: NonNull<Header>,
    slots: usize,
    pages: usize,
    fd: OwnedFd,
}

/// Returns the size of a ledger; `None` if no memory could hold it.
fn bytes(slots: usize, pages: usize) -> Option<usize> {
    let slots = slots.checked_mul(size_of::<Slot>())?;
    let pages = pages.checked_mul(size_of::<AtomicU64>())?;
    size_of::<Header>().checked_add(slots)?.checked_add(pages)
}

impl Ledger {
    /// Makes an empty ledger for `slots` scanners and busy tasks, and `pages` pages of the region.
    pub(crate) fn new(slots: usize, pages: usize) -> Result<Self> {
        let too_large = || Error::failed("making the shared memory of a run", "too many roles or pages");
        let bytes = bytes(slots, pages).ok_or_else(too_large)?;
        let failed = |e| Error::failed("making the shared memory of a run", e);
        let fd = rustix::fs::memfd_create("vmaple-ledger", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(failed)?;
        rustix::fs::ftruncate(&fd, bytes as u64).map_err(failed)?;
        let at = std::mem::offset_of!(Header, slots) as u64;
        rustix::io::pwrite(&fd, &(slots as u64).to_ne_bytes(), at).map_err(failed)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::SEAL).map_err(failed)?;
        Self::map(fd)
    }

    /// Maps the ledger of a file descriptor that [`Ledger::new`] made.
    pub(crate) fn map(fd: OwnedFd) -> Result<Self> {
        let failed = |e| Error::failed("mapping the shared memory of a run", e);
        let foreign = || Error::failed("mapping the shared memory of a run", "not a ledger");
        // A file that could shrink under the mapping would turn every access into a SIGBUS.
        if !rustix::fs::fcntl_get_seals(&fd).is_ok_and(|s| s.contains(SealFlags::SHRINK)) {
            return Err(foreign());
        }
        let len = rustix::fs::fstat(&fd).map_err(failed)?.st_size as usize;
        let mut slots = [0; 8];
        let at = std::mem::offset_of!(Header, slots) as u64;
        rustix::io::pread(&fd, &mut slots, at).map_err(failed)?;
        let slots = u64::from_ne_bytes(slots) as usize;
        let without_pages = bytes(slots, 0).ok_or_else(foreign)?;
        let pages = len.checked_sub(without_pages).ok_or_else(foreign)? / size_of::<AtomicU64>();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                &fd,
                0,
            )
        }
        .map_err(failed)?;
        // INVARIANT: the file is sealed and holds `slots` slots and `pages` words, as computed from
        // its length; mappings are page-aligned, hence aligned for Header.
        Ok(Self {
            base: NonNull::new(base.cast()).ok_or_else(foreign)?,
            slots,
            pages,
            fd,
        })
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: by the type's invariant a Header lives at `base` as long as `self`.
        unsafe { self.base.as_ref() }
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        // SAFETY: by the type's invariant `slots` Slots follow the Header, whose size is a multiple
        // of their alignment.
        let first = unsafe { self.base.add(1) };
        // SAFETY: as above; they live as long as `self` and are atomics, so sharing them is sound.
        unsafe { std::slice::from_raw_parts(first.cast().as_ptr(), self.slots) }
    }

    /// Returns the states of the region's pages.
    pub(crate) fn page_states(&self) -> PageStates<'_> {
        let words = self.slots().as_ptr_range().end.cast();
        // SAFETY: by the type's invariant `pages` words follow the slots, whose size is a multiple
        // of their alignment; they live as long as `self` and are atomics, so sharing them is
        // sound.
        let words = unsafe { std::slice::from_raw_parts(words, self.pages) };
        PageStates::new(words, &self.header().mapper.operations)
    }

    /// Releases every role that waits for `phase`.
    pub(crate) fn enter(&self, phase: Phase) {
        // Pairs with the Acquire in `wait_for`.
        self.header().phase.store(phase as u32, Ordering::Release);
        // Waking fails only for a bad address, which the type's invariant excludes.
        let _ = futex::wake(&self.header().phase, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Sleeps until the run has come to `phase`.
    pub(crate) fn wait_for(&self, phase: Phase) {
        loop {
            // Pairs with the Release in `enter`.
            let seen = self.header().phase.load(Ordering::Acquire);
            if seen >= phase as u32 {
                return;
            }
            // An interrupted or late wait is caught by the loop.
            let _ = futex::wait(&self.header().phase, futex::Flags::empty(), seen, None);
        }
    }

    /// Says whether the run has come to `phase`.
    pub(crate) fn is_at(&self, phase: Phase) -> bool {
        // The caller ends or goes on, and reads nothing that was written before: Relaxed.
        self.header().phase.load(Ordering::Relaxed) >= phase as u32
    }

    /// Counts this role in `counter` and wakes the thread that waits for it: the controller, or a
    /// model's mapper.
    pub(crate) fn count(&self, counter: &AtomicU32) {
        // Pairs with the Acquire in `wait_until`: a thread that sees the count sees what the role
        // set up.
        counter.fetch_add(1, Ordering::Release);
        let _ = futex::wake(counter, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Sleeps until `counter` reaches `target`, at most `ns`; says whether it did.
    pub(crate) fn wait_until(&self, counter: &AtomicU32, target: u32, ns: u64) -> bool {
        // Pairs with the Release in `count`.
        let seen = counter.load(Ordering::Acquire);
        if seen < target {
            let _ = futex::wait(counter, futex::Flags::empty(), seen, Some(&timespec(ns)));
        }
        counter.load(Ordering::Acquire) >= target
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

// SAFETY: the mapping is reached through shared references to atomics only, and stays until `drop`.
unsafe impl Send for Ledger {}
// SAFETY: as for Send.
unsafe impl Sync for Ledger {}

impl Drop for Ledger {
    fn drop(&mut self) {
        let bytes = bytes(self.slots, self.pages).unwrap_or_default();
        // SAFETY: by the type's invariant this is the whole mapping, and no reference outlives
        // `self`.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), bytes) };
    }
}

#[cfg(test)]
mod tests {
    use vmaple_smaps::walk::Page;

    use super::*;

    #[test]
    fn what_one_mapping_writes_another_reads() {
        let ledger = Ledger::new(3, 5).unwrap();
        let other = Ledger::map(ledger.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((other.slots().len(), other.pages), (3, 5));
        ledger.page_states().settled(4, 7, Page::Mapped);
        assert_eq!(other.page_states().since(4, 7), Some(Page::Mapped));
        ledger.slots()[2].scans.store(7, Ordering::Relaxed);
        assert_eq!(other.slots()[2].scans.load(Ordering::Relaxed), 7);
        ledger.enter(Phase::Map);
        other.wait_for(Phase::Scan);
    }

    #[test]
    fn a_file_that_could_shrink_is_refused() {
        let fd = rustix::fs::memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        assert!(Ledger::map(fd).is_err());
    }

    #[test]
    fn a_file_that_is_shorter_than_it_says_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("other", flags).unwrap();
        let at = std::mem::offset_of!(Header, slots) as u64;
        rustix::io::pwrite(&fd, &u64::MAX.to_ne_bytes(), at).unwrap();
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
        assert!(Ledger::map(fd).is_err());
    }
}
