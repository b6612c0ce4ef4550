//! The process of a model. Mapper, thread B, scanners and busy tasks are its threads, around an
//! address space that the kernel does not know.
//!
//! Each thread is placed as the process of its role is with the kernel target, and runs the same
//! loops. The kernel cannot make the mapper wait: all memory is touched and, where that is allowed,
//! locked before the run, and neither mapper nor thread B nor scanners allocate in it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::mm::MlockAllFlags;
use serde::{Deserialize, Serialize};
use vmaple_mm::MmRef;

use crate::check::ScanCheck;
use crate::error::{Error, Result};
use crate::machine::now_ns;
use crate::plan::{Reading, Target};
use crate::role::mapper::{Calls, DONE, Mapper, send};
use crate::role::thread_b::{FRESH, ThreadB, mapped_pages};
use crate::role::{BusyTask, Ledger, MapperTask, Phase, get_ready, scanner, take_place, wait_once};
use crate::sample::ModelStats;

use super::address_space::{ModelMemory, ModelRegion, new_mm, retired};
use super::counted_lock::COUNTS;
use super::design::{Design, Maple, V54, V617};
use super::scan::{ModelScan, freeze};

/// Stack of a scanner or busy task.
const STACK_BYTES: usize = 64 << 10;

/// Operations of the mapper between two looks at what the model keeps for readers: some 60 ms.
const LOOK_OPERATIONS: u64 = 1024;

/// How long the mapper waits at a time for its threads to be up.
const LOOK_NS: u64 = 100_000_000;

/// What the process of a model is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ModelTask {
    pub(crate) target: Target,
    /// The file that is scanned, if one is.
    pub(crate) file: Option<Reading>,
    pub(crate) mapper: MapperTask,
    /// The CPUs of the scanners, one each, and of as many busy tasks.
    pub(crate) busy: Vec<usize>,
    /// The nice value of the scanners.
    pub(crate) nice: i32,
    pub(crate) spin_ns: Option<u64>,
    /// Whether the scanners stop in their first read.
    pub(crate) freeze: bool,
}

impl ModelTask {
    /// Makes the address space and does the work of all roles around it.
    pub(crate) fn run(&self, ledger: &Arc<Ledger>) -> Result<()> {
        match self.target {
            Target::V54 => run_design::<V54>(self, ledger),
            Target::V617 => run_design::<V617>(self, ledger),
            Target::Maple => run_design::<Maple>(self, ledger),
            Target::Kernel => Err(Error::failed("starting a model", "the kernel is none")),
        }
    }
}

fn run_design<S: Design>(model: &ModelTask, ledger: &Arc<Ledger>) -> Result<()> {
    end_with_a_panic();
    let pages = ledger.page_states().pages();
    let mapped_pages = mapped_pages(model.mapper.duration_ns);
    let mm = new_mm::<S>(pages + mapped_pages + FRESH)?;
    let region = ModelRegion::map(&mm, pages)?;
    let memory = model
        .mapper
        .faults
        .then(|| ModelMemory::map(&mm, mapped_pages))
        .transpose()?;
    region.warm_up(pages)?;
    wait_once();
    let mm = mm.grab();
    let threads = start_threads(model, ledger, &mm, region.start())?;
    while !ledger.wait_until(&ledger.header().ready, threads, LOOK_NS) {}
    take_place(c"vmaple-mapper", model.mapper.cpu, 0)?;
    let thread_b = memory
        .map(|memory| ThreadB::start(memory, ledger, model.mapper.duration_ns))
        .transpose()?;
    // All stacks and buffers are there by now.
    let memory_locked = rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).is_ok();
    let mut mapper = Mapper::new(region, ledger, model.mapper.seed);
    mapper.fragment(model.mapper.fragment)?;
    get_ready(ledger, Phase::Map);

    COUNTS.clear();
    let (mut deferred_bytes, mut oldest_section_eras, mut operations) = (0, 0, 0_u64);
    let mut look = || {
        let (bytes, eras) = retired(&mm);
        deferred_bytes = bytes.max(deferred_bytes);
        oldest_section_eras = eras.max(oldest_section_eras);
    };
    mapper.work(model.mapper.duration_ns, || {
        operations += 1;
        if operations.is_multiple_of(LOOK_OPERATIONS) {
            look();
        }
    })?;
    look();
    send(DONE)?;
    // Not earlier: a thread that allocates may wait for a scanner that does.
    ledger.wait_for(Phase::Over);
    // The report must not meet the limit of locked memory. Unlocking what is not locked is no
    // error.
    let _ = rustix::mm::munlockall();
    let model = ModelStats {
        memory_locked,
        held: COUNTS.latencies(),
        writer_waits: COUNTS.writer_waits.load(Relaxed),
        reader_waits: COUNTS.reader_waits.load(Relaxed),
        deferred_bytes,
        oldest_section_eras,
    };
    // The other threads end with the process, if they have not yet.
    mapper.report(thread_b.map(ThreadB::finish).transpose()?, Some(model))
}

/// Starts all scanners of the region at `start`, and busy tasks; returns how many.
///
/// They are ready when they have counted themselves.
fn start_threads<S: Design>(model: &ModelTask, ledger: &Arc<Ledger>, mm: &MmRef<S>, start: u64) -> Result<u32> {
    let Some(file) = model.file.and_then(Reading::content) else {
        return Ok(0);
    };
    let region = start..start + model.mapper.region_bytes;
    let scanners = model.busy.len();
    for (slot, &cpu) in model.busy.iter().enumerate() {
        let (mm, region, nice, frozen) = (mm.clone(), region.clone(), model.nice, model.freeze);
        start_thread(ledger, move |ledger| {
            let mut scan = ModelScan::new(&mm, file, &region, Arc::clone(ledger))?;
            let check = ScanCheck::new(ledger.page_states(), region.start, file);
            wait_once();
            take_place(c"vmaple-scanner", cpu, nice)?;
            scanner::get_ready_to_scan(ledger, slot);
            if frozen {
                freeze(&mm, file, region.start, || stand_still(ledger, slot))
            } else {
                scanner::work(&mut scan, check, ledger, slot)
            }
        })?;
        let spin_ns = model.spin_ns;
        let slot = scanners + slot;
        start_thread(ledger, move |ledger| BusyTask { slot, cpu, spin_ns }.run(ledger))?;
    }
    Ok(2 * scanners as u32)
}

/// Waits in the middle of a scan until the run is over.
fn stand_still(ledger: &Ledger, slot: usize) {
    let slot = &ledger.slots()[slot];
    slot.scan_since_ns.store(now_ns(), Relaxed);
    ledger.count(&ledger.header().frozen);
    ledger.wait_for(Phase::Clear);
}

/// Does `work` in a thread. Its error ends the process, as an error of another role does.
fn start_thread(ledger: &Arc<Ledger>, work: impl FnOnce(&Arc<Ledger>) -> Result<()> + Send + 'static) -> Result<()> {
    let ledger = Arc::clone(ledger);
    let work = move || {
        if let Err(error) = work(&ledger) {
            eprintln!("[{}] vmaple: {error}", std::process::id());
            std::process::exit(1);
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    thread
        .map(|_| ())
        .map_err(|e| Error::failed("starting a thread of a model", e))
}

/// Makes a panic of any thread end the process, as that of another role does.
fn end_with_a_panic() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("[{}] vmaple: {panic}", std::process::id());
        std::process::abort();
    }));
}
