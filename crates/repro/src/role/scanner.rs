//! The scanner: the talk's not-so-important monitoring, which reads the mapper's memory map again
//! and again.

use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::check::ScanCheck;
use crate::error::Result;
use crate::machine::now_ns;
use crate::plan::Reading;
use crate::sample::Misreads;

use super::proc_scan::ProcScan;
use super::{Cgroup, Ledger, Phase, Slot, get_ready, take_place};

/// As large as the buffer of cat(1).
pub(crate) const BUFFER_BYTES: usize = 128 << 10;

/// A way of reading a memory map.
pub(crate) trait Scan {
    /// Reads a whole memory map, from open to close; returns how many calls read something.
    ///
    /// `read` takes what each call has read.
    ///
    /// # Errors
    /// Fails if there is no memory map any more.
    fn once(&mut self, read: impl FnMut(&[u8])) -> Result<u64>;
}

/// What a scanner's process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScannerTask {
    pub(crate) slot: usize,
    pub(crate) cpu: usize,
    pub(crate) nice: i32,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) file: Reading,
    /// The process that is scanned.
    pub(crate) mapper: i32,
    pub(crate) region_bytes: u64,
}

impl ScannerTask {
    /// Scans until the process is killed.
    pub(crate) fn run(&self, ledger: &Ledger) -> Result<()> {
        let start = ledger.header().mapper.region.load(Relaxed);
        let mut scan = ProcScan::new(self.mapper, self.file, (start, self.region_bytes))?;
        let states = ledger.page_states();
        let check = self.file.content().and_then(|file| ScanCheck::new(states, start, file));
        // Join after the set-up, since a cgroup may leave next to no time for it; and before the
        // binding, since joining a cpuset undoes that.
        if let Some(cgroup) = &self.cgroup {
            cgroup.join()?;
        }
        take_place(c"vmaple-scanner", self.cpu, self.nice)?;
        get_ready_to_scan(ledger, self.slot);
        work(&mut scan, check, ledger, self.slot)
    }
}

/// Reports that a scanner is set up, then waits until it may scan.
pub(crate) fn get_ready_to_scan(ledger: &Ledger, slot: usize) {
    let slot = &ledger.slots()[slot];
    slot.tid.store(rustix::thread::gettid().as_raw_nonzero().get(), Relaxed);
    get_ready(ledger, Phase::Scan);
    slot.started_ns.store(now_ns(), Relaxed);
}

/// Scans until the run is over, without allocating.
pub(crate) fn work(scan: &mut impl Scan, mut check: Option<ScanCheck<'_>>, ledger: &Ledger, slot: usize) -> Result<()> {
    let slot = &ledger.slots()[slot];
    loop {
        if let Some(check) = &mut check {
            check.begin();
        }
        let begin = now_ns();
        slot.scan_since_ns.store(begin, Relaxed);
        let mut checked_ns = 0;
        scan.once(|text| {
            if let Some(check) = &mut check {
                let begin = now_ns();
                check.take(text);
                checked_ns += now_ns() - begin;
            }
        })?;
        let length = now_ns() - begin - checked_ns;
        slot.scan_since_ns.store(0, Relaxed);
        // A process is killed; a thread has to look. Its last scan may be incomplete.
        if ledger.is_at(Phase::Clear) {
            return Ok(());
        }
        slot.longest_ns.fetch_max(length, Relaxed);
        slot.scans.fetch_add(1, Relaxed);
        if let Some(check) = &mut check {
            publish(check.end(), slot);
        }
    }
}

/// Stores in the ledger what all scans so far have seen.
fn publish(misreads: Misreads, slot: &Slot) {
    slot.overlaps.store(misreads.overlaps, Relaxed);
    slot.misses.store(misreads.misses, Relaxed);
    slot.torn.store(misreads.torn, Relaxed);
    slot.resurrected.store(misreads.resurrected, Relaxed);
}
