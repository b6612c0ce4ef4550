//! The memory that controller and roles share: the start signal, and what each role has done so far.
//!
//! A role can be killed at any moment, or be stuck in a system call for seconds. What it has written here by then stays
//! readable, so a figure that was cut short is known as such.
//!
//! # Ordering
//! `phase` is stored with Release by [`Ledger::enter`] and loaded with Acquire by [`Ledger::wait_for`]; `ready` and
//! `started` are incremented with Release by the roles and loaded with Acquire by [`Ledger::wait_until`]. Everything
//! else is a counter that the controller samples while its writer runs, with no relation to other words, so Relaxed is
//! enough. Each has one writer, but `longest_ns`, which the controller also resets at the go: a maximum that meets the
//! reset belongs to either side of it. What the controller reads after a role has been reaped is ordered by the kernel.

#![allow(unsafe_code)] // one shared mapping

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

use crate::clock::timespec;
use crate::error::{Error, Result};

/// How far a run has come; roles wait for their phase. Before the first, they set themselves up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Scanners scan.
    Scan = 1,
    /// Busy tasks spin.
    Busy = 2,
    /// The mapper maps.
    Map = 3,
    /// The interferers are gone: the mapper may report.
    Over = 4,
}

/// What the mapper has done so far, and the words that all roles share.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Header {
    phase: AtomicU32,
    /// Roles that are set up and wait for their phase.
    pub(crate) ready: AtomicU32,
    /// Busy tasks that have run.
    pub(crate) started: AtomicU32,
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
    /// When thread B's fault in flight in a mapping in use began; 0 between these.
    pub(crate) mapped_fault_since_ns: AtomicU64,
    /// The same of a first fault in a mapping.
    pub(crate) fresh_fault_since_ns: AtomicU64,
}

/// What one scanner or busy task has done so far.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Slot {
    /// When its load began.
    pub(crate) started_ns: AtomicU64,
    /// Scans completed.
    pub(crate) scans: AtomicU64,
    /// Length of the longest completed scan.
    pub(crate) longest_ns: AtomicU64,
    /// When the scan in flight began; 0 between scans.
    pub(crate) scan_since_ns: AtomicU64,
}

/// A [`Header`] and its [`Slot`]s in a sealed memfd.
///
/// # Invariants
/// `base` is the start of a shared, writable mapping of a file that holds one `Header` and `slots` `Slot`s, cannot
/// shrink, and is unmapped in `drop` only. Both types consist of atomics, for which any bit pattern is valid.
pub(crate) struct Ledger {
    base: NonNull<Header>,
    slots: usize,
    fd: OwnedFd,
}

fn bytes(slots: usize) -> usize {
    size_of::<Header>() + slots * size_of::<Slot>()
}

impl Ledger {
    /// Makes an empty ledger for so many scanners and busy tasks.
    pub(crate) fn new(slots: usize) -> Result<Self> {
        let failed = |e| Error::failed("making the shared memory of a run", e);
        let fd = rustix::fs::memfd_create("vmaple-ledger", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(failed)?;
        rustix::fs::ftruncate(&fd, bytes(slots) as u64).map_err(failed)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::SEAL).map_err(failed)?;
        Self::map(fd)
    }

    /// Maps the ledger behind a file descriptor that [`Ledger::new`] made.
    pub(crate) fn map(fd: OwnedFd) -> Result<Self> {
        let failed = |e| Error::failed("mapping the shared memory of a run", e);
        let foreign = || Error::failed("mapping the shared memory of a run", "not a ledger");
        // A file that could shrink under the mapping would turn every access into a SIGBUS.
        if !rustix::fs::fcntl_get_seals(&fd).is_ok_and(|s| s.contains(SealFlags::SHRINK)) {
            return Err(foreign());
        }
        let len = rustix::fs::fstat(&fd).map_err(failed)?.st_size as usize;
        let slots = len.checked_sub(size_of::<Header>()).ok_or_else(foreign)? / size_of::<Slot>();
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
        // INVARIANT: the file is sealed and holds `slots` slots; mappings are page-aligned, hence aligned for Header.
        Ok(Self {
            base: NonNull::new(base.cast()).ok_or_else(foreign)?,
            slots,
            fd,
        })
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: by the type's invariant a Header lives at `base` as long as `self`.
        unsafe { self.base.as_ref() }
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        // SAFETY: by the type's invariant `slots` Slots follow the Header, whose size is a multiple of their alignment.
        let first = unsafe { self.base.add(1) };
        // SAFETY: as above; they live as long as `self` and are atomics, so sharing them is sound.
        unsafe { std::slice::from_raw_parts(first.cast().as_ptr(), self.slots) }
    }

    /// Lets every role that waits for `phase` go on.
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

    /// Counts this role in `counter` and wakes the controller.
    pub(crate) fn count(&self, counter: &AtomicU32) {
        // Pairs with the Acquire in `wait_until`: what the role set up is visible to whoever sees the count.
        counter.fetch_add(1, Ordering::Release);
        let _ = futex::wake(counter, futex::Flags::empty(), 1);
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
        // SAFETY: by the type's invariant this is the whole mapping, and no reference outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), bytes(self.slots)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_another_reads() {
        let ledger = Ledger::new(3).unwrap();
        let other = Ledger::map(ledger.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.slots().len(), 3);
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
}
