//! The mapper: the talk's very important application, which maps and unmaps single pages of a region.
//!
//! Same work as mapper.c of proc-mmap_sem-test: an anonymous, populated region; per operation a random page of it, by a
//! coin flip `mmap(MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, PROT_WRITE)` or `munmap`; each call timed
//! alone; 10 us of sleep between calls.

#![allow(unsafe_code)] // mmap and munmap of a region that nothing else uses

use std::ffi::c_void;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

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

/// What a mapper prints when its last call has ended; its result follows when the run is over.
pub(crate) const DONE: &[u8] = b"\n";

/// What a mapper has to tell.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MapperResult {
    /// How long it took, sleeps included.
    pub(crate) elapsed_ns: u64,
    pub(crate) maps: u64,
    pub(crate) unmaps: u64,
    pub(crate) calls: Latencies,
    pub(crate) faults: Option<Faults>,
}

pub(super) fn run(task: &Task, ledger: &Arc<Ledger>) -> Result<()> {
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
    let header = ledger.header();
    let mut region = Region::map(region_bytes, seed)?;
    let mut calls = Recorder::new();
    take_place(c"vmaple-mapper", cpu, 0)?;
    // A new thread maps its stacks, for which it needs the lock that the scanners hold, and which the kernel could put into
    // the holes of a fragmented region: so it is up before either is there.
    let thread_b = faults.then(|| start_thread_b(ledger, duration_ns)).transpose()?;
    for _ in 0..fragment {
        region.operate()?;
    }
    (region.maps, region.unmaps) = (0, 0);
    header.region.store(region.base.addr() as u64, Relaxed);
    header.mapped_ns.store(now_ns(), Relaxed);
    get_ready(ledger, Phase::Map);

    let begin = now_ns();
    header.begun_ns.store(begin, Relaxed);
    let elapsed_ns = loop {
        let since = now_ns();
        if since >= begin + duration_ns {
            break since - begin;
        }
        header.call_since_ns.store(since, Relaxed);
        calls.record(region.operate()?);
        header.call_since_ns.store(0, Relaxed);
        header.operations.fetch_add(1, Relaxed);
        // A signal that ends the sleep early is of no matter.
        let _ = rustix::thread::nanosleep(&timespec(SLEEP_NS));
    };
    // From here on the process needs the lock for reasons of its own; that is no part of the run.
    tell(DONE)?;
    ledger.wait_for(Phase::Over);
    let faults = thread_b.map(|thread| {
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::failed("taking page faults", "the thread panicked")))
    });
    let result = MapperResult {
        elapsed_ns,
        maps: region.maps,
        unmaps: region.unmaps,
        calls: calls.finish(),
        faults: faults.transpose()?.map(Faulter::finish),
    };
    let json = serde_json::to_vec(&result).map_err(|e| Error::failed("writing the mapper's result", e))?;
    tell(&json)
}

/// Starts thread B and waits until it is up; it ends when the run is over.
fn start_thread_b(ledger: &Arc<Ledger>, duration_ns: u64) -> Result<JoinHandle<Result<Faulter>>> {
    let mut faulter = Faulter::new(duration_ns)?;
    let up = Arc::new(Barrier::new(2));
    let thread = std::thread::Builder::new().name("vmaple-faults".into()).spawn({
        let (ledger, up) = (Arc::clone(ledger), Arc::clone(&up));
        move || {
            up.wait();
            ledger.wait_for(Phase::Map);
            let done = faulter.run(duration_ns, ledger.header());
            ledger.wait_for(Phase::Over); // the end of a thread unmaps its stacks
            done.map(|()| faulter)
        }
    });
    let thread = thread.map_err(|e| Error::failed("starting the thread that takes page faults", e))?;
    up.wait();
    Ok(thread)
}

/// Writes to the controller.
fn tell(bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written =
            rustix::io::write(rustix::stdio::stdout(), rest).map_err(|e| Error::failed("telling the controller", e))?;
        rest = &rest[written..];
    }
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
