//! The talk's thread B: a second thread of the mapper's process that takes page faults.
//!
//! Every millisecond it first writes to a page of a mapping that has existed since before the run ("mapped"); every tenth
//! time also to a page of a mapping made for the purpose ("fresh"), whose first fault needs more of the kernel's locks.
//! Only the writes are timed, not the calls that prepare them.

#![allow(unsafe_code)] // mapping memory and touching it

use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::clock::{now_ns, timespec};
use crate::error::{Error, Result};
use crate::latency::Recorder;
use crate::ledger::Header;
use crate::sample::Faults;

const PERIOD_NS: u64 = 1_000_000;
const FRESH_EVERY: u64 = 10;

/// Writes to `at`; returns how long that took, in nanoseconds.
///
/// # Safety
/// `at` is mapped, writable, and no reference to it exists.
unsafe fn touch(at: *mut u8, header: &Header) -> u64 {
    let begin = now_ns();
    header.fault_since_ns.store(begin, Relaxed);
    // SAFETY: by this function's contract.
    unsafe { at.write_volatile(1) };
    let took = now_ns() - begin;
    header.fault_since_ns.store(0, Relaxed);
    took
}

/// Anonymous memory that nothing but this file touches.
///
/// # Invariants
/// `base..base + bytes` is mapped for this value alone; no reference into it exists.
struct Area {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: the mapping belongs to the value, whichever thread has it.
unsafe impl Send for Area {}

impl Area {
    fn map(bytes: usize, prot: ProtFlags) -> Result<Self> {
        let flags = MapFlags::PRIVATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, prot, flags) }
            .map_err(|e| Error::failed("mapping memory for page faults", e))?;
        // INVARIANT: freshly mapped, and the pointer goes nowhere else.
        Ok(Self {
            base: base.cast(),
            bytes,
        })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant the mapping is this value's alone, and the value is gone after this.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.bytes) };
    }
}

/// A long-lived mapping, each page of which faults once a lap.
///
/// # Invariants
/// The area is readable and writable.
struct Mapped {
    area: Area,
    next: usize,
}

impl Mapped {
    fn new(pages: usize) -> Result<Self> {
        let area = Area::map(pages * rustix::param::page_size(), ProtFlags::READ | ProtFlags::WRITE)?;
        // Huge pages would make one fault of 512; kernels without them refuse the advice, which is as well.
        // SAFETY: advice on memory that is `area`'s alone, and that changes no content.
        let _ = unsafe { rustix::mm::madvise(area.base.cast(), area.bytes, Advice::LinuxNoHugepage) };
        Ok(Self { area, next: 0 })
    }

    fn fault(&mut self, header: &Header) -> Result<u64> {
        if self.next == self.area.bytes {
            self.next = 0;
            // SAFETY: the area is this value's alone, and what was written into it is of no matter.
            unsafe { rustix::mm::madvise(self.area.base.cast(), self.area.bytes, Advice::LinuxDontNeed) }
                .map_err(|e| Error::failed("discarding memory for page faults", e))?;
        }
        // SAFETY: `next` is below `bytes`: it starts at 0, steps by a page and wraps above.
        let at = unsafe { self.area.base.add(self.next) };
        self.next += rustix::param::page_size();
        // SAFETY: inside of the area, which is writable by the type's invariant.
        Ok(unsafe { touch(at, header) })
    }
}

/// A page that is mapped anew for each fault, between two pages without access, with which it can not merge.
///
/// # Invariants
/// The area is three pages, of which the outer two are never accessible.
struct Fresh {
    area: Area,
}

impl Fresh {
    fn new() -> Result<Self> {
        let area = Area::map(3 * rustix::param::page_size(), ProtFlags::empty())?;
        Ok(Self { area })
    }

    fn fault(&self, header: &Header) -> Result<u64> {
        let page = rustix::param::page_size();
        let middle = self.area.base.wrapping_add(page);
        // SAFETY: the page is the area's alone, and what was written into it is of no matter.
        unsafe {
            rustix::mm::mmap_anonymous(
                middle.cast(),
                page,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::FIXED | MapFlags::PRIVATE,
            )
        }
        .map_err(|e| Error::failed("mapping a page for a fault", e))?;
        // SAFETY: just mapped for writing, and the area's alone.
        Ok(unsafe { touch(middle, header) })
    }
}

/// Thread B before it runs, with all its memory.
pub(super) struct Faulter {
    mapped: (Mapped, Recorder),
    fresh: (Fresh, Recorder),
}

impl Faulter {
    /// Prepares for a run of `duration_ns`: the long-lived mapping has a page for each fault of up to a minute.
    pub(super) fn new(duration_ns: u64) -> Result<Self> {
        let pages = (duration_ns / PERIOD_NS).clamp(1, 60_000) as usize;
        Ok(Self {
            mapped: (Mapped::new(pages)?, Recorder::new()),
            fresh: (Fresh::new()?, Recorder::new()),
        })
    }

    /// Takes faults until the time `stop`.
    pub(super) fn run(self, stop: u64, header: &Header) -> Result<Faults> {
        let (mut mapped, mut mapped_faults) = self.mapped;
        let (fresh, mut fresh_faults) = self.fresh;
        let mut round = 0_u64;
        while now_ns() < stop {
            mapped_faults.record(mapped.fault(header)?);
            if round.is_multiple_of(FRESH_EVERY) {
                fresh_faults.record(fresh.fault(header)?);
            }
            round += 1;
            // A signal that ends the sleep early is of no matter.
            let _ = rustix::thread::nanosleep(&timespec(PERIOD_NS));
        }
        Ok(Faults {
            mapped: mapped_faults.finish(),
            fresh: fresh_faults.finish(),
            cut_short: false, // the controller's to say
        })
    }
}
