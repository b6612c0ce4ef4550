//! One run: starts the roles in the talk's order, times the mapper, applies the hang rule, ends everybody.
//!
//! Order: the mapper maps its region and waits; the scanners scan; a second later the busy tasks spin; once all of them
//! have run, the mapper begins. Every role is started, placed and checked before the first of them makes any load, so a
//! thousand of each start as reliably as one. A mapper that is not done [`HANG_GRACE_NS`] after its time has hung: the
//! interferers are ended, and the run's figure is what it then reports.
//!
//! Roles are processes of the kernel target, and threads of one process of a model. These can not be killed one by one, so
//! they look at the phase and end themselves.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::ChildStdout;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::cgroup::ScannerCgroup;
use super::processes::Processes;
use crate::check::ScanCheck;
use crate::error::{Error, Result};
use crate::machine::{now_ns, steal_ns, timespec};
use crate::model::Model;
use crate::plan::{Cell, HANG_GRACE_NS, Plan, SETTLE_NS, Target};
use crate::report::STALL_NS;
use crate::role::{DONE, Ledger, MapperResult, Phase, Slot, Task};
use crate::sample::{Faults, Sample, Seen, Timeline};

/// Longest time for the roles to start, a moment of CPU time each.
const START_NS: u64 = 120_000_000_000;

/// How long a mapper that hung has to end once the interferers are gone.
const RECOVERY_NS: u64 = 30_000_000_000;

/// How often a wait looks whether a role has died.
const LOOK_NS: u64 = 100_000_000;

/// What all runs of an experiment have in common.
pub(crate) struct Runner<'a> {
    pub(crate) plan: &'a Plan,
    /// The program that lets [`crate::role::run`] take over.
    pub(crate) exe: &'a Path,
    pub(crate) cgroup: Option<&'a ScannerCgroup>,
    /// Becomes readable when the user wants to stop.
    pub(crate) stop: BorrowedFd<'a>,
}

/// A run on its way.
struct Run<'a> {
    runner: &'a Runner<'a>,
    cell: Cell,
    ledger: Ledger,
    processes: Processes<'a>,
}

/// The user wants to stop, or the run has failed.
enum End {
    Stopped,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What the mapper has told by a deadline.
#[derive(PartialEq)]
enum Told {
    /// Its last call has ended.
    Done,
    /// Nothing, and it has ended.
    Gone,
    /// Nothing yet.
    Nothing,
}

impl Runner<'_> {
    /// Makes one run and calls `up` when all roles are up and the mapper is about to begin; `None` if the user stopped it.
    pub(crate) fn run(&self, cell: Cell, sample: u32, up: impl FnOnce()) -> Result<Option<Sample>> {
        match self.attempt(cell, sample, up) {
            Ok(sample) => Ok(Some(sample)),
            Err(End::Stopped) => Ok(None),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn attempt(&self, cell: Cell, sample: u32, up: impl FnOnce()) -> Result<Sample, End> {
        let seed = self.plan.seed.wrapping_add(u64::from(sample));
        let scanners = self.plan.placement.busy.len() * cell.busy as usize;
        let mut run = self.new_run(cell, 2 * scanners)?;
        let mut output = run.start(seed)?;
        let (scanners_go, busy_go) = run.begin(scanners)?;
        run.processes.check_alive()?;
        up();
        let scans_before = run.scans();
        let preemptions_before = run.preemptions(scanners);
        let steal_before = steal_ns();
        for slot in run.ledger.slots() {
            slot.longest_ns.store(0, Relaxed);
        }
        run.ledger.enter(Phase::Map);

        let mut told = run.mapper_tells(&mut output, self.plan.duration_ns + HANG_GRACE_NS)?;
        let hang = told == Told::Nothing;
        let now = now_ns();
        let words = &run.ledger.header().mapper;
        let waiting = |since: &AtomicU64| match since.load(Relaxed) {
            0 => None,
            since => Some(now.saturating_sub(since)),
        };
        let cut_short = hang && waiting(&words.call_since_ns).is_some();
        // A fault that has just begun is not waiting.
        let cut = |since| waiting(since).is_some_and(|ns| ns >= STALL_NS);
        let mapped_cut_short = cut(&words.mapped_fault_since_ns);
        let fresh_cut_short = cut(&words.fresh_fault_since_ns);
        let scans = run.scans() - scans_before;
        let longest_scan_ns = run.longest_scan_ns(now);
        let preemptions = run.preemptions(scanners).saturating_sub(preemptions_before);
        let steal_ns = self.stolen_since(&steal_before);
        if told != Told::Gone {
            run.processes.check_alive()?;
        }
        run.ledger.enter(Phase::Clear);
        run.processes.end_interferers();
        if hang {
            told = run.mapper_tells(&mut output, RECOVERY_NS)?;
        }
        let result = match told {
            Told::Done => Some(run.mapper_result(output)?),
            Told::Gone => return Err(run.processes.mapper_failed().into()),
            // Still stuck with nobody in its way: what the ledger says is all there is.
            Told::Nothing => None,
        };
        let words = &run.ledger.header().mapper;
        let now = now_ns();
        let stuck_ns = match (&result, words.call_since_ns.load(Relaxed)) {
            (None, since @ 1..) => Some(now.saturating_sub(since)),
            _ => None,
        };
        let calls = result.as_ref().map(|r| r.calls.clone()).unwrap_or_default();
        Ok(Sample {
            target: cell.target,
            file: cell.file,
            busy: cell.busy,
            sample,
            seed,
            hang,
            worst_ns: (calls.count > 0).then_some(calls.max_ns).max(stuck_ns),
            cut_short: cut_short || stuck_ns.is_some(),
            operations: words.operations.load(Relaxed),
            maps: result.as_ref().map_or(0, |r| r.maps),
            unmaps: result.as_ref().map_or(0, |r| r.unmaps),
            timeline: run.timeline(scanners, scanners_go, busy_go),
            elapsed_ns: result
                .as_ref()
                .map_or_else(|| now.saturating_sub(words.begun_ns.load(Relaxed)), |r| r.elapsed_ns),
            calls,
            inside: result.as_ref().and_then(|r| r.inside.clone()),
            seen: run.seen(),
            faults: result.and_then(|r| r.faults).map(|seen| Faults {
                mapped_cut_short,
                fresh_cut_short,
                ..seen
            }),
            scans,
            longest_scan_ns,
            preemptions,
            steal_ns,
        })
    }

    /// Time that the hypervisor has withheld from the roles' CPUs since `before`.
    fn stolen_since(&self, before: &BTreeMap<usize, u64>) -> BTreeMap<usize, u64> {
        let placement = &self.plan.placement;
        let mut stolen = steal_ns();
        stolen.retain(|cpu, ns| {
            *ns = ns.saturating_sub(before.get(cpu).copied().unwrap_or(0));
            *ns > 0 && (*cpu == placement.mapper || placement.busy.contains(cpu))
        });
        stolen
    }

    /// Calls `work` with the PID and the region's address of a mapper that is set up and sleeps, then ends it.
    pub(crate) fn with_waiting_mapper<T>(&self, work: impl FnOnce(i32, u64) -> Result<T>) -> Result<T> {
        let cell = Cell {
            target: Target::Kernel,
            file: None,
            busy: 0,
        };
        let mut run = self.new_run(cell, 0)?;
        match run.start(self.plan.seed) {
            Ok(_) => {}
            Err(End::Failed(error)) => return Err(error),
            Err(End::Stopped) => return Err(Error::failed("starting the mapper", "interrupted")),
        }
        work(
            run.processes.mapper_pid(),
            run.ledger.header().mapper.region.load(Relaxed),
        )
    }

    fn new_run(&self, cell: Cell, slots: usize) -> Result<Run<'_>> {
        Ok(Run {
            runner: self,
            cell,
            ledger: Ledger::new(slots, self.plan.region_pages() as usize)?,
            processes: Processes::new(self.exe)?,
        })
    }
}

impl Run<'_> {
    /// Starts all roles and waits until each is placed; returns where the mapper tells.
    fn start(&mut self, seed: u64) -> Result<ChildStdout, End> {
        let output = if self.cell.target.is_model() {
            self.processes.start_mapper(self.model(seed), &self.ledger)?
        } else {
            self.start_processes(seed)?
        };
        self.wait_for_count(|ledger| &ledger.header().ready, 1 + self.ledger.slots().len() as u32)?;
        Ok(output)
    }

    /// The CPU of each scanner, and of each busy task.
    fn busy_cpus(&self) -> Vec<usize> {
        let busy = &self.runner.plan.placement.busy;
        (0..self.cell.busy).flat_map(|_| busy.iter().copied()).collect()
    }

    /// What the process of a model is to do, all roles of which are its threads.
    fn model(&self, seed: u64) -> Task {
        let plan = self.runner.plan;
        Task::Model(Model {
            target: self.cell.target,
            file: self.cell.file,
            cpu: plan.placement.mapper,
            region_bytes: plan.region_bytes,
            fragment: plan.fragment,
            seed,
            duration_ns: plan.duration_ns,
            faults: plan.faults,
            busy: self.busy_cpus(),
            nice: plan.slice.nice(),
            spin_ns: plan.busy_duration_ns,
            freeze: plan.freeze,
        })
    }

    /// Starts a process for each role.
    fn start_processes(&mut self, seed: u64) -> Result<ChildStdout, End> {
        let plan = self.runner.plan;
        let task = Task::Mapper {
            cpu: plan.placement.mapper,
            region_bytes: plan.region_bytes,
            fragment: plan.fragment,
            seed,
            duration_ns: plan.duration_ns,
            faults: plan.faults,
        };
        let output = self.processes.start_mapper(task, &self.ledger)?;
        self.wait_for_count(|ledger| &ledger.header().ready, 1)?;
        let cpus = self.busy_cpus();
        if let Some(file) = self.cell.file {
            for (slot, &cpu) in cpus.iter().enumerate() {
                self.start_interferer(Task::Scanner {
                    slot,
                    cpu,
                    nice: plan.slice.nice(),
                    cgroup: self.runner.cgroup.map(|c| c.cgroup().clone()),
                    file,
                    mapper: self.processes.mapper_pid(),
                    region_bytes: plan.region_bytes,
                })?;
            }
        }
        for (i, &cpu) in cpus.iter().enumerate() {
            self.start_interferer(Task::Busy {
                slot: cpus.len() + i,
                cpu,
                spin_ns: plan.busy_duration_ns,
            })?;
        }
        Ok(output)
    }

    fn start_interferer(&mut self, task: Task) -> Result<(), End> {
        self.pause(0)?;
        Ok(self.processes.start_interferer(task, &self.ledger)?)
    }

    /// Lets the scanners, and a second later the busy tasks, go; returns when each of the latter has run.
    /// Says when it let go either.
    fn begin(&mut self, scanners: usize) -> Result<(u64, u64), End> {
        if scanners == 0 {
            return Ok((0, 0));
        }
        let scanners_go = now_ns();
        self.ledger.enter(Phase::Scan);
        if self.runner.plan.freeze {
            self.wait_for_count(|ledger| &ledger.header().frozen, scanners as u32)?;
        }
        self.pause(SETTLE_NS)?;
        let busy_go = now_ns();
        self.ledger.enter(Phase::Busy);
        self.wait_for_count(|ledger| &ledger.header().started, scanners as u32)?;
        Ok((scanners_go, busy_go))
    }

    /// Waits until as many roles as `target` have counted themselves.
    fn wait_for_count(&mut self, counter: impl Fn(&Ledger) -> &AtomicU32, target: u32) -> Result<(), End> {
        let deadline = now_ns() + START_NS;
        while !self.ledger.wait_until(counter(&self.ledger), target, LOOK_NS) {
            self.pause(0)?;
            self.processes.check_alive()?;
            if now_ns() > deadline {
                let got = counter(&self.ledger).load(Relaxed);
                let why = format!("{got} of {target} were up after {} s", START_NS / 1_000_000_000);
                return Err(Error::failed("starting the roles", why).into());
            }
        }
        Ok(())
    }

    /// Waits for `ns`, unless the user wants to stop.
    fn pause(&self, ns: u64) -> Result<(), End> {
        let deadline = now_ns() + ns;
        loop {
            let left = deadline.saturating_sub(now_ns());
            let mut fds = [PollFd::new(&self.runner.stop, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(End::Stopped),
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::failed("waiting", e).into()),
            }
        }
    }

    /// Waits at most `ns` for the mapper to tell that it is done.
    fn mapper_tells(&self, output: &mut ChildStdout, ns: u64) -> Result<Told, End> {
        let failed = |e: &dyn std::fmt::Display| Error::failed("waiting for the mapper", e);
        if !self.readable(output, now_ns() + ns)? {
            return Ok(Told::Nothing);
        }
        let mut done = [0; DONE.len()];
        match output.read_exact(&mut done) {
            Ok(()) if done == DONE => Ok(Told::Done),
            Ok(()) => Err(failed(&"it sent something else").into()),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(Told::Gone),
            Err(e) => Err(failed(&e).into()),
        }
    }

    /// Lets the mapper report, reads what it reports and reaps it.
    fn mapper_result(&mut self, mut output: ChildStdout) -> Result<MapperResult, End> {
        let reading = "reading the mapper's result";
        self.ledger.enter(Phase::Over);
        let deadline = now_ns() + RECOVERY_NS;
        let mut json = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if !self.readable(&output, deadline)? {
                return Err(
                    Error::failed(reading, "it did not come, though nothing delays the mapper any more").into(),
                );
            }
            match output.read(&mut piece).map_err(|e| Error::failed(reading, e))? {
                0 => break,
                n => json.extend_from_slice(&piece[..n]),
            }
        }
        serde_json::from_slice(&json).map_err(|_| self.processes.mapper_failed().into())
    }

    /// Waits until there is something to read, or its end; says whether there is by `deadline`.
    fn readable(&self, output: &ChildStdout, deadline: u64) -> Result<bool, End> {
        loop {
            let left = deadline.saturating_sub(now_ns());
            let mut fds = [
                PollFd::new(output, PollFlags::IN),
                PollFd::new(&self.runner.stop, PollFlags::IN),
            ];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return Ok(false),
                Ok(_) if fds[0].revents().is_empty() => return Err(End::Stopped),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::failed("waiting for the mapper", e).into()),
            }
        }
    }

    fn timeline(&self, scanners: usize, scanners_go: u64, busy_go: u64) -> Timeline {
        let words = &self.ledger.header().mapper;
        let mapped = words.mapped_ns.load(Relaxed);
        let after = |ns: u64| ns.saturating_sub(mapped);
        let started = |slots: &[Slot]| -> Vec<u64> { slots.iter().map(|s| s.started_ns.load(Relaxed)).collect() };
        let (scans, busy) = self.ledger.slots().split_at(scanners);
        Timeline {
            scanners_go_ns: after(scanners_go),
            // A starved scanner may never have begun.
            first_scan_ns: after(started(scans).into_iter().filter(|&ns| ns > 0).min().unwrap_or(0)),
            busy_go_ns: after(busy_go),
            busy_up_ns: after(started(busy).into_iter().max().unwrap_or(0)),
            first_call_ns: after(words.begun_ns.load(Relaxed)),
        }
    }

    fn scans(&self) -> u64 {
        self.ledger.slots().iter().map(|s| s.scans.load(Relaxed)).sum()
    }

    /// The longest scan since the mapper began, those in flight at `now` included.
    fn longest_scan_ns(&self, now: u64) -> u64 {
        let longest = |slot: &Slot| {
            let since = slot.scan_since_ns.load(Relaxed);
            let in_flight = if since == 0 { 0 } else { now.saturating_sub(since) };
            slot.longest_ns.load(Relaxed).max(in_flight)
        };
        self.ledger.slots().iter().map(longest).max().unwrap_or(0)
    }

    /// How often the kernel has taken the CPU from a scanner so far.
    fn preemptions(&self, scanners: usize) -> u64 {
        let of = |slot: &Slot| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", slot.tid.load(Relaxed))).ok()?;
            let line = status.lines().find(|l| l.starts_with("nonvoluntary_ctxt_switches"))?;
            line.split_once(':')?.1.trim().parse::<u64>().ok()
        };
        self.ledger.slots().iter().take(scanners).filter_map(of).sum()
    }

    /// What the scanners read that was not so, where that is looked at.
    fn seen(&self) -> Option<Seen> {
        let of = |slot: &Slot| Seen {
            overlaps: slot.overlaps.load(Relaxed),
            misses: slot.misses.load(Relaxed),
            torn: slot.torn.load(Relaxed),
            resurrected: slot.resurrected.load(Relaxed),
        };
        let checked = self.cell.file.is_some_and(ScanCheck::is_for) && !self.runner.plan.freeze;
        checked.then(|| Seen::merged(self.ledger.slots().iter().map(of)))
    }
}
