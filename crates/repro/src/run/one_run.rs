//! One run: starts the roles in the talk's order, times the mapper, applies the hang rule, ends all
//! roles.
//!
//! Order: the mapper maps its region and waits; the scanners scan; a second later the busy tasks
//! spin; once all of them have run, the mapper begins. Every role is started, placed and checked
//! before the first of them makes any load, so a thousand of each start as reliably as one. A
//! mapper that is not done [`HANG_GRACE_NS`] after its time has hung: the interferers are ended,
//! and the run's figure is what it then reports.

use std::collections::BTreeMap;
use std::process::ChildStdout;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::{Error, Result};
use crate::machine::{now_ns, steal_ns};
use crate::plan::{Cell, HANG_GRACE_NS, Target};
use crate::report::STALL_NS;
use crate::role::{MapperResult, Phase};
use crate::sample::{Faults, Sample};

use super::roles::{End, MapperState, Roles};
use super::setup::Setup;

/// How long a mapper that hung has to end once the interferers are gone.
const RECOVERY_NS: u64 = 30_000_000_000;

/// What the controller saw when the mapper was done or had hung, before it ended any role.
struct Measured {
    mapper: MapperState,
    /// Whether a call was waiting at a hang, so that its length is a lower bound.
    call_cut_short: bool,
    /// The same of a page fault in a mapping in use.
    mapped_cut_short: bool,
    /// The same of the first page fault in a mapping.
    fresh_cut_short: bool,
    scans: u64,
    longest_scan_ns: u64,
    preemptions: u64,
    steal_ns: BTreeMap<usize, u64>,
}

impl Setup<'_> {
    /// Makes one run and calls `up` when all roles are up and the mapper is about to begin.
    ///
    /// Returns `None` if the user stopped it.
    pub(super) fn run(&self, cell: Cell, sample: u32, up: impl FnOnce()) -> Result<Option<Sample>> {
        match self.attempt(cell, sample, up) {
            Ok(sample) => Ok(Some(sample)),
            Err(End::Stopped) => Ok(None),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn attempt(&self, cell: Cell, sample: u32, up: impl FnOnce()) -> Result<Sample, End> {
        let seed = self.plan.seed.wrapping_add(u64::from(sample));
        let mut roles = Roles::new(self, cell, seed)?;
        let mut output = roles.start()?;
        roles.begin()?;
        roles.processes.check_alive()?;
        up();
        let measured = self.measure(&mut roles, &mut output)?;
        let result = end(&mut roles, output, &measured)?;
        Ok(judge(&roles, sample, measured, result))
    }

    /// Lets the mapper work until it is done or has hung.
    fn measure(&self, roles: &mut Roles<'_>, output: &mut ChildStdout) -> Result<Measured, End> {
        let scans_before = roles.scans();
        let preemptions_before = roles.preemptions();
        let steal_before = steal_ns();
        for slot in roles.ledger.slots() {
            slot.longest_ns.store(0, Relaxed);
        }
        roles.ledger.enter(Phase::Map);

        let mapper = roles.wait_for_mapper(output, self.plan.duration_ns + HANG_GRACE_NS)?;
        let now = now_ns();
        let words = &roles.ledger.header().mapper;
        let waiting = |since: &AtomicU64| match since.load(Relaxed) {
            0 => None,
            since => Some(now.saturating_sub(since)),
        };
        // A fault that has just begun is not waiting.
        let cut = |since| waiting(since).is_some_and(|ns| ns >= STALL_NS);
        let measured = Measured {
            mapper,
            call_cut_short: mapper == MapperState::Working && waiting(&words.call_since_ns).is_some(),
            mapped_cut_short: cut(&words.mapped_fault_since_ns),
            fresh_cut_short: cut(&words.fresh_fault_since_ns),
            scans: roles.scans() - scans_before,
            longest_scan_ns: roles.longest_scan_ns(now),
            preemptions: roles.preemptions().saturating_sub(preemptions_before),
            steal_ns: self.stolen_since(&steal_before),
        };
        if mapper != MapperState::Gone {
            roles.processes.check_alive()?;
        }
        Ok(measured)
    }

    /// Returns the time that the hypervisor has withheld from the roles' CPUs since `before`.
    fn stolen_since(&self, before: &BTreeMap<usize, u64>) -> BTreeMap<usize, u64> {
        let placement = &self.plan.placement;
        let mut stolen = steal_ns();
        stolen.retain(|cpu, ns| {
            *ns = ns.saturating_sub(before.get(cpu).copied().unwrap_or(0));
            *ns > 0 && (*cpu == placement.mapper || placement.busy.contains(cpu))
        });
        stolen
    }

    /// Calls `work` with the PID and the region's address of a mapper that is set up and sleeps,
    /// then ends it.
    pub(super) fn with_waiting_mapper<T>(&self, work: impl FnOnce(i32, u64) -> Result<T>) -> Result<T> {
        let cell = Cell {
            target: Target::Kernel,
            file: None,
            busy: 0,
        };
        let mut roles = Roles::new(self, cell, self.plan.seed)?;
        match roles.start() {
            Ok(_) => {}
            Err(End::Failed(error)) => return Err(error),
            Err(End::Stopped) => return Err(Error::failed("starting the mapper", "interrupted")),
        }
        let region = roles.ledger.header().mapper.region.load(Relaxed);
        work(roles.processes.mapper_pid(), region)
    }
}

/// Ends the interferers, then the mapper. Returns its result; `None` if it is stuck although
/// nothing is in its way.
fn end(roles: &mut Roles<'_>, mut output: ChildStdout, measured: &Measured) -> Result<Option<MapperResult>, End> {
    roles.ledger.enter(Phase::Clear);
    roles.processes.end_interferers();
    let mapper = match measured.mapper {
        MapperState::Working => roles.wait_for_mapper(&mut output, RECOVERY_NS)?,
        over => over,
    };
    match mapper {
        MapperState::Done => Ok(Some(roles.mapper_result(output, RECOVERY_NS)?)),
        MapperState::Gone => Err(roles.processes.mapper_failed().into()),
        MapperState::Working => Ok(None),
    }
}

/// Puts together what the controller saw, what the mapper reported and, where it did not, what the
/// ledger has of it.
fn judge(roles: &Roles<'_>, sample: u32, measured: Measured, result: Option<MapperResult>) -> Sample {
    let words = &roles.ledger.header().mapper;
    let now = now_ns();
    let stuck_ns = match (&result, words.call_since_ns.load(Relaxed)) {
        (None, since @ 1..) => Some(now.saturating_sub(since)),
        _ => None,
    };
    let result = result.unwrap_or_else(|| MapperResult {
        elapsed_ns: now.saturating_sub(words.begun_ns.load(Relaxed)),
        ..MapperResult::default()
    });
    let calls = result.calls;
    Sample {
        target: roles.cell.target,
        file: roles.cell.file,
        busy: roles.cell.busy,
        sample,
        seed: roles.seed,
        hang: measured.mapper == MapperState::Working,
        worst_ns: (calls.count > 0).then_some(calls.max_ns).max(stuck_ns),
        cut_short: measured.call_cut_short || stuck_ns.is_some(),
        operations: words.operations.load(Relaxed),
        maps: result.maps,
        unmaps: result.unmaps,
        timeline: roles.timeline(),
        elapsed_ns: result.elapsed_ns,
        calls,
        model: result.model,
        misreads: roles.misreads(),
        faults: result.faults.map(|faults| Faults {
            mapped_cut_short: measured.mapped_cut_short,
            fresh_cut_short: measured.fresh_cut_short,
            ..faults
        }),
        scans: measured.scans,
        longest_scan_ns: measured.longest_scan_ns,
        preemptions: measured.preemptions,
        steal_ns: measured.steal_ns,
    }
}
