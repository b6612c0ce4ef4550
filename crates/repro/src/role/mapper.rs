//! The mapper: the talk's very important application, which maps and unmaps single pages of a region.
//!
//! Same work as mapper.c of proc-mmap_sem-test: an anonymous, populated region; per operation a random page of it, by a
//! coin flip `mmap(MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, PROT_WRITE)` or `munmap`; each call timed
//! alone; 10 us of sleep between calls.

#![allow(unsafe_code)] // mmap and munmap of a region that nothing else uses

use std::ffi::c_void;
use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::{MapFlags, ProtFlags};
use serde::{Deserialize, Serialize};

use crate::clock::{now_ns, timespec};
use crate::error::{Error, Result};
use crate::latency::{Latencies, Recorder};
use crate::ledger::{Ledger, Phase};
use crate::sample::Faults;

use super::thread_b::Faulter;
use super::{Task, get_ready, take_place};

const SLEEP_NS: u64 = 10_000;

/// What a mapper prints when it is done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MapperResult {
    /// How long it took, sleeps included.
    pub(crate) elapsed_ns: u64,
    pub(crate) maps: u64,
    pub(crate) unmaps: u64,
    pub(crate) calls: Latencies,
    pub(crate) faults: Option<Faults>,
}

pub(super) fn run(task: &Task, ledger: &Ledger) -> Result<()> {
    let &Task::Mapper {
        cpu,
        region_bytes,
        fragment,
        seed,
        duration_ns,
        faults,
    } = task
    else {
        unreachable!("dispatched by task");
    };
    let mut region = Region::map(region_bytes, seed)?;
    for _ in 0..fragment {
        region.operate()?;
    }
    let header = ledger.header();
    header.region.store(region.base.addr() as u64, Relaxed);
    header.mapped_ns.store(now_ns(), Relaxed);
    (region.maps, region.unmaps) = (0, 0);
    let mut calls = Recorder::new();
    take_place(c"vmaple-mapper", cpu, 0)?;
    let thread_b = faults.then(|| Faulter::new(duration_ns)).transpose()?;

    let (elapsed_ns, faults) = std::thread::scope(|scope| {
        // A new thread needs the lock that the scanners hold (its stack is an mmap), so it starts before them.
        let thread_b = thread_b.map(|faulter| {
            scope.spawn(move || {
                ledger.wait_for(Phase::Map);
                faulter.run(duration_ns, header)
            })
        });
        get_ready(ledger, Phase::Map);
        let begin = now_ns();
        header.begun_ns.store(begin, Relaxed);
        let elapsed_ns = loop {
            let since = now_ns();
            if since >= begin + duration_ns {
                break Ok(since - begin);
            }
            header.call_since_ns.store(since, Relaxed);
            match region.operate() {
                Ok(took) => calls.record(took),
                Err(error) => break Err(error),
            }
            header.call_since_ns.store(0, Relaxed);
            header.operations.fetch_add(1, Relaxed);
            // A signal that ends the sleep early is of no matter.
            let _ = rustix::thread::nanosleep(&timespec(SLEEP_NS));
        };
        let faults = thread_b.map(|t| {
            t.join()
                .unwrap_or_else(|_| Err(Error::failed("taking page faults", "the thread panicked")))
        });
        (elapsed_ns, faults)
    });
    let result = MapperResult {
        elapsed_ns: elapsed_ns?,
        maps: region.maps,
        unmaps: region.unmaps,
        calls: calls.finish(),
        faults: faults.transpose()?,
    };
    let line = serde_json::to_string(&result).map_err(|e| Error::failed("writing the mapper's result", e))?;
    println!("{line}");
    Ok(())
}

/// The region, where single pages come and go.
///
/// # Invariants
/// `base..base + pages * page` was mapped for this value alone; no reference into it exists.
struct Region {
    base: *mut c_void,
    pages: u64,
    page: usize,
    rng: fastrand::Rng,
    maps: u64,
    unmaps: u64,
}

impl Region {
    fn map(bytes: u64, seed: u64) -> Result<Self> {
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
            rng: fastrand::Rng::with_seed(seed),
            maps: 0,
            unmaps: 0,
        })
    }

    /// Maps or unmaps one random page; returns how long the call took, in nanoseconds.
    fn operate(&mut self) -> Result<u64> {
        let page = self.rng.u64(..self.pages) as usize;
        let addr = self.base.wrapping_byte_add(page * self.page);
        let map = self.rng.bool();
        let begin = now_ns();
        let done = if map {
            // SAFETY: by the type's invariant the page is this value's and nothing refers into it.
            unsafe {
                rustix::mm::mmap_anonymous(
                    addr,
                    self.page,
                    ProtFlags::WRITE,
                    MapFlags::FIXED | MapFlags::PRIVATE | MapFlags::POPULATE,
                )
            }
            .map(|_| ())
        } else {
            // SAFETY: as above; unmapping a page that is not mapped is no error.
            unsafe { rustix::mm::munmap(addr, self.page) }
        };
        let took = now_ns() - begin;
        let call = if map { "mmap" } else { "munmap" };
        done.map_err(|e| Error::failed(format!("{call} of page {page} of the region"), e))?;
        *(if map { &mut self.maps } else { &mut self.unmaps }) += 1;
        Ok(took)
    }
}
