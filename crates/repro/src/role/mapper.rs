//! The mapper: the talk's very important application, which maps and unmaps single pages of a
//! region.
//!
//! It does the work of mapper.c of proc-mmap_sem-test: an anonymous region, populated; per
//! operation a random page of it, by a coin flip `mmap(MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE |
//! MAP_POPULATE, PROT_WRITE)` or `munmap`; each call timed alone; 10 us of sleep between calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use vmaple_smaps::walk::Page;

use crate::check::PageStates;
use crate::error::{Error, Result};
use crate::machine::{now_ns, timespec};
use crate::sample::{Faults, Latencies, ModelStats, Recorder};

use super::fault_memory::FaultMemory;
use super::region::Region;
use super::thread_b::{ThreadB, mapped_pages};
use super::{Ledger, Phase, get_ready, take_place};

const SLEEP_NS: u64 = 10_000;

/// What a mapper is to do, in whichever address space.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MapperTask {
    pub(crate) cpu: usize,
    pub(crate) region_bytes: u64,
    /// Operations before the scanners start.
    pub(crate) fragment: u64,
    pub(crate) seed: u64,
    pub(crate) duration_ns: u64,
    /// Whether there is a thread B.
    pub(crate) faults: bool,
}

/// What a mapper prints when its last call has ended; its result follows when the run is over.
pub(crate) const DONE: &[u8] = b"\n";

/// The result of a mapper.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct MapperResult {
    /// How long it took, sleeps included.
    pub(crate) elapsed_ns: u64,
    pub(crate) maps: u64,
    pub(crate) unmaps: u64,
    pub(crate) calls: Latencies,
    pub(crate) faults: Option<Faults>,
    pub(crate) model: Option<ModelStats>,
}

/// The calls that a mapper makes on its region, in whichever address space that is.
pub(crate) trait Calls {
    type Error: fmt::Display;

    /// The region's first address.
    fn start(&self) -> u64;

    /// Maps a page, populated, whether or not it is mapped.
    fn mmap(&self, page: u64) -> Result<(), Self::Error>;

    /// Unmaps a page, whether or not it is mapped.
    fn munmap(&self, page: u64) -> Result<(), Self::Error>;
}

#[cfg(test)]
impl<C: Calls> Calls for &C {
    type Error = C::Error;

    fn start(&self) -> u64 {
        (**self).start()
    }

    fn mmap(&self, page: u64) -> Result<(), C::Error> {
        (**self).mmap(page)
    }

    fn munmap(&self, page: u64) -> Result<(), C::Error> {
        (**self).munmap(page)
    }
}

impl MapperTask {
    /// Maps and unmaps in a region of this process.
    pub(crate) fn run(&self, ledger: &Arc<Ledger>) -> Result<()> {
        let mut mapper = Mapper::new(Region::map(self.region_bytes)?, ledger, self.seed);
        take_place(c"vmaple-mapper", self.cpu, 0)?;
        // A new thread maps its stacks, for which it needs the lock that the scanners hold; and the
        // kernel could put them into the holes of a fragmented region. So it is up before the
        // scanners and the holes are there.
        let memory = self
            .faults
            .then(|| FaultMemory::map(mapped_pages(self.duration_ns)))
            .transpose()?;
        let thread_b = memory
            .map(|memory| ThreadB::start(memory, ledger, self.duration_ns))
            .transpose()?;
        mapper.fragment(self.fragment)?;
        get_ready(ledger, Phase::Map);
        mapper.work(self.duration_ns, || {})?;
        // From here on the process needs the lock for itself; that is not part of the run.
        send(DONE)?;
        ledger.wait_for(Phase::Over);
        mapper.report(thread_b.map(ThreadB::finish).transpose()?, None)
    }
}

/// Writes to the controller.
pub(crate) fn send(bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(rustix::stdio::stdout(), rest)
            .map_err(|e| Error::failed("writing to the controller", e))?;
        rest = &rest[written..];
    }
    Ok(())
}

/// A mapper, with what it has done so far.
pub(crate) struct Mapper<'a, C> {
    calls: C,
    ledger: &'a Ledger,
    states: PageStates<'a>,
    rng: fastrand::Rng,
    latencies: Recorder,
    elapsed_ns: u64,
    maps: u64,
    unmaps: u64,
}

impl<'a, C: Calls> Mapper<'a, C> {
    /// Prepares a mapper of a region with as many pages as the ledger has states, all of which are
    /// mapped.
    pub(crate) fn new(calls: C, ledger: &'a Ledger, seed: u64) -> Self {
        let states = ledger.page_states();
        (0..states.pages()).for_each(|page| states.settled(page, 0, Page::Mapped));
        Self {
            calls,
            ledger,
            states,
            rng: fastrand::Rng::with_seed(seed),
            latencies: Recorder::new(),
            elapsed_ns: 0,
            maps: 0,
            unmaps: 0,
        }
    }

    /// Makes `operations` operations that are not part of the run, then publishes the region's
    /// address.
    pub(crate) fn fragment(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            self.operate(0)?;
        }
        (self.maps, self.unmaps) = (0, 0);
        let words = &self.ledger.header().mapper;
        words.region.store(self.calls.start(), Relaxed);
        words.mapped_ns.store(now_ns(), Relaxed);
        Ok(())
    }

    /// Maps and unmaps for `duration_ns`, and does `between` between calls, without allocating.
    pub(crate) fn work(&mut self, duration_ns: u64, mut between: impl FnMut()) -> Result<()> {
        let words = &self.ledger.header().mapper;
        let begin = now_ns();
        words.begun_ns.store(begin, Relaxed);
        let mut index = 0;
        self.elapsed_ns = loop {
            let since = now_ns();
            if since >= begin + duration_ns {
                break since - begin;
            }
            words.call_since_ns.store(since, Relaxed);
            index += 1;
            let took = self.operate(index)?;
            words.call_since_ns.store(0, Relaxed);
            self.states.completed(index);
            self.latencies.record(took);
            between();
            // A signal that ends the sleep early does not matter.
            let _ = rustix::thread::nanosleep(&timespec(SLEEP_NS));
        };
        Ok(())
    }

    /// Maps or unmaps one random page as the `index`th operation; returns how long the call took,
    /// in nanoseconds.
    pub(crate) fn operate(&mut self, index: u64) -> Result<u64> {
        let page = self.rng.u64(..self.states.pages());
        let state = if self.rng.bool() { Page::Mapped } else { Page::Unmapped };
        self.states.changing(page);
        let begin = now_ns();
        let done = match state {
            Page::Mapped => self.calls.mmap(page),
            Page::Unmapped => self.calls.munmap(page),
        };
        let took = now_ns() - begin;
        let (call, count) = match state {
            Page::Mapped => ("mmap", &mut self.maps),
            Page::Unmapped => ("munmap", &mut self.unmaps),
        };
        done.map_err(|e| Error::failed(format!("{call} of page {page} of the region"), e))?;
        self.states.settled(page, index, state);
        *count += 1;
        Ok(took)
    }

    /// Writes the result to the controller.
    pub(crate) fn report(self, faults: Option<Faults>, model: Option<ModelStats>) -> Result<()> {
        let result = MapperResult {
            elapsed_ns: self.elapsed_ns,
            maps: self.maps,
            unmaps: self.unmaps,
            calls: self.latencies.finish(),
            faults,
            model,
        };
        let json = serde_json::to_vec(&result).map_err(|e| Error::failed("writing the mapper's result", e))?;
        send(&json)
    }
}
