//! The talk's thread B: a second thread of the mapper's process that takes page faults.
//!
//! Every millisecond it first writes to a page of a mapping that has been in use since before the run ("mapped"); sixteen
//! times in a run, evenly spread, to the only page of a mapping that nobody has touched ("fresh"), which needs more of the
//! kernel's locks. All mappings are made before the run and stay until it is over: thread B itself never calls mmap() or
//! munmap() in it. In a run of over a minute it discards the old mapping once a minute, which is not timed.

#![allow(unsafe_code)] // mapping memory and touching it

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use crate::clock::{now_ns, timespec};
use crate::error::{Error, Result};
use crate::latency::Recorder;
use crate::ledger::MapperWords;
use crate::sample::Faults;

const PERIOD_NS: u64 = 1_000_000;
const FRESH: u64 = 16;

/// Writes to `at`; returns how long that took, in nanoseconds.
///
/// # Safety
/// `at` is mapped, writable, and no reference to it exists.
unsafe fn touch(at: *mut u8, since: &AtomicU64) -> u64 {
    let begin = now_ns();
    since.store(begin, Relaxed);
    // SAFETY: by this function's contract.
    unsafe { at.write_volatile(1) };
    let took = now_ns() - begin;
    since.store(0, Relaxed);
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

    fn fault(&mut self, since: &AtomicU64) -> Result<u64> {
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
        Ok(unsafe { touch(at, since) })
    }
}

/// Mappings of one page each, kept from merging by pages without access between them.
///
/// # Invariants
/// The area is `2 * FRESH + 1` pages, of which the odd ones are readable and writable.
struct Fresh {
    area: Area,
}

impl Fresh {
    fn new() -> Result<Self> {
        let page = rustix::param::page_size();
        let area = Area::map((2 * FRESH as usize + 1) * page, ProtFlags::empty())?;
        for odd in (1..2 * FRESH as usize).step_by(2) {
            let at = area.base.wrapping_add(odd * page);
            // SAFETY: the page is the area's alone, and nothing refers to it.
            unsafe { rustix::mm::mprotect(at.cast(), page, MprotectFlags::READ | MprotectFlags::WRITE) }
                .map_err(|e| Error::failed("preparing memory for page faults", e))?;
        }
        // INVARIANT: the loop has made all odd pages accessible.
        Ok(Self { area })
    }

    /// The first write to the `i`th mapping.
    fn fault(&self, i: u64, since: &AtomicU64) -> u64 {
        let odd = 2 * (i % FRESH) as usize + 1;
        let at = self.area.base.wrapping_add(odd * rustix::param::page_size());
        // SAFETY: an odd page inside of the area, which is writable by the type's invariant.
        unsafe { touch(at, since) }
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

    /// Takes faults for `duration_ns`, without allocating or unmapping.
    pub(super) fn run(&mut self, duration_ns: u64, words: &MapperWords) -> Result<()> {
        let (mapped, mapped_faults) = &mut self.mapped;
        let (fresh, fresh_faults) = &mut self.fresh;
        let begin = now_ns();
        let mut used = 0;
        loop {
            let passed = now_ns() - begin;
            if passed >= duration_ns {
                return Ok(());
            }
            mapped_faults.record(mapped.fault(&words.mapped_fault_since_ns)?);
            // The first half a step after the begin, the last half a step before the end.
            if used < FRESH && passed >= (2 * used + 1) * duration_ns / (2 * FRESH) {
                fresh_faults.record(fresh.fault(used, &words.fresh_fault_since_ns));
                used += 1;
            }
            // A signal that ends the sleep early is of no matter.
            let _ = rustix::thread::nanosleep(&timespec(PERIOD_NS));
        }
    }

    /// What it saw.
    pub(super) fn finish(self) -> Faults {
        Faults {
            mapped: self.mapped.1.finish(),
            fresh: self.fresh.1.finish(),
            // The controller's to say.
            mapped_cut_short: false,
            fresh_cut_short: false,
        }
    }
}
