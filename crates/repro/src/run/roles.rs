//! The roles of one run: starts them, releases them in their order, listens to the mapper.
//!
//! Roles are processes of the kernel target, and threads of one process of a model. These cannot be
//! killed one by one, so they look at the phase and end themselves.

use std::io::{ErrorKind, Read};
use std::process::ChildStdout;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::machine::{now_ns, timespec};
use crate::model::ModelTask;
use crate::plan::{Cell, SETTLE_NS};
use crate::role::{BusyTask, DONE, Ledger, MapperResult, MapperTask, Phase, ScannerTask};

use super::processes::Processes;
use super::setup::Setup;
use super::task::Task;

/// Longest time for the roles to start. Each takes a moment of CPU time.
const START_NS: u64 = 120_000_000_000;

/// How often a wait checks whether a role has died.
const LOOK_NS: u64 = 100_000_000;

/// The roles of a run on its way.
pub(super) struct Roles<'a> {
    setup: &'a Setup<'a>,
    pub(super) cell: Cell,
    pub(super) seed: u64,
    pub(super) ledger: Ledger,
    pub(super) processes: Processes<'a>,
    /// When the scanners were released; 0 at level 0.
    pub(super) scanners_go_ns: u64,
    /// When the busy tasks were released; 0 at level 0.
    pub(super) busy_go_ns: u64,
}

/// Why a run has no result.
pub(super) enum End {
    /// The user wants to stop.
    Stopped,
    /// The run has failed.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The state of the mapper at a deadline.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum MapperState {
    /// Its last call has ended.
    Done,
    /// It has ended without a report.
    Gone,
    /// It is still at work.
    Working,
}

impl<'a> Roles<'a> {
    /// Makes the ledger; starts nothing yet.
    pub(super) fn new(setup: &'a Setup<'a>, cell: Cell, seed: u64) -> Result<Self> {
        let scanners = setup.plan.placement.busy.len() * cell.busy as usize;
        Ok(Self {
            setup,
            cell,
            seed,
            ledger: Ledger::new(2 * scanners, setup.plan.region_pages() as usize)?,
            processes: Processes::new(setup.exe)?,
            scanners_go_ns: 0,
            busy_go_ns: 0,
        })
    }

    /// Says whether the scanners stop in their first read and stay there.
    pub(super) fn are_frozen(&self) -> bool {
        self.setup.plan.freeze
    }

    /// Returns the CPU of each scanner, and of each busy task.
    pub(super) fn busy_cpus(&self) -> Vec<usize> {
        let busy = &self.setup.plan.placement.busy;
        (0..self.cell.busy).flat_map(|_| busy.iter().copied()).collect()
    }

    /// Starts all roles and waits until each is placed. Returns the mapper's standard output.
    pub(super) fn start(&mut self) -> Result<ChildStdout, End> {
        let output = if self.cell.target.is_model() {
            self.processes.start_mapper(self.model(), &self.ledger)?
        } else {
            self.start_processes()?
        };
        self.wait_for_count(|ledger| &ledger.header().ready, 1 + self.ledger.slots().len() as u32)?;
        Ok(output)
    }

    /// Describes what the mapper is to do, of whichever target.
    fn mapper(&self) -> MapperTask {
        let plan = self.setup.plan;
        MapperTask {
            cpu: plan.placement.mapper,
            region_bytes: plan.region_bytes,
            fragment: plan.fragment,
            seed: self.seed,
            duration_ns: plan.duration_ns,
            faults: plan.faults,
        }
    }

    /// Describes what the process of a model is to do, all roles of which are its threads.
    fn model(&self) -> Task {
        let plan = self.setup.plan;
        Task::Model(ModelTask {
            target: self.cell.target,
            file: self.cell.file,
            mapper: self.mapper(),
            busy: self.busy_cpus(),
            nice: plan.slice.nice(),
            spin_ns: plan.busy_duration_ns,
            freeze: plan.freeze,
        })
    }

    /// Starts a process for each role.
    fn start_processes(&mut self) -> Result<ChildStdout, End> {
        let plan = self.setup.plan;
        let output = self.processes.start_mapper(Task::Mapper(self.mapper()), &self.ledger)?;
        self.wait_for_count(|ledger| &ledger.header().ready, 1)?;
        let cpus = self.busy_cpus();
        if let Some(file) = self.cell.file {
            for (slot, &cpu) in cpus.iter().enumerate() {
                self.start_interferer(Task::Scanner(ScannerTask {
                    slot,
                    cpu,
                    nice: plan.slice.nice(),
                    cgroup: self.setup.cgroup.map(|c| c.cgroup().clone()),
                    file,
                    mapper: self.processes.mapper_pid(),
                    region_bytes: plan.region_bytes,
                }))?;
            }
        }
        for (i, &cpu) in cpus.iter().enumerate() {
            self.start_interferer(Task::Busy(BusyTask {
                slot: cpus.len() + i,
                cpu,
                spin_ns: plan.busy_duration_ns,
            }))?;
        }
        Ok(output)
    }

    fn start_interferer(&mut self, task: Task) -> Result<(), End> {
        self.pause(0)?;
        Ok(self.processes.start_interferer(task, &self.ledger)?)
    }

    /// Releases the scanners, and a second later the busy tasks; returns when each of the latter
    /// has run.
    pub(super) fn begin(&mut self) -> Result<(), End> {
        let scanners = self.busy_cpus().len() as u32;
        if scanners == 0 {
            return Ok(());
        }
        self.scanners_go_ns = now_ns();
        self.ledger.enter(Phase::Scan);
        if self.are_frozen() {
            self.wait_for_count(|ledger| &ledger.header().frozen, scanners)?;
        }
        self.pause(SETTLE_NS)?;
        self.busy_go_ns = now_ns();
        self.ledger.enter(Phase::Busy);
        self.wait_for_count(|ledger| &ledger.header().started, scanners)
    }

    /// Waits until `target` roles have counted themselves.
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
            let mut fds = [PollFd::new(&self.setup.stop, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(End::Stopped),
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::failed("waiting", e).into()),
            }
        }
    }

    /// Waits at most `ns` for the mapper to be done.
    pub(super) fn wait_for_mapper(&self, output: &mut ChildStdout, ns: u64) -> Result<MapperState, End> {
        let failed = |e: &dyn std::fmt::Display| Error::failed("waiting for the mapper", e);
        if !self.readable(output, now_ns() + ns)? {
            return Ok(MapperState::Working);
        }
        let mut done = [0; DONE.len()];
        match output.read_exact(&mut done) {
            Ok(()) if done == DONE => Ok(MapperState::Done),
            Ok(()) => Err(failed(&"it sent something else").into()),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(MapperState::Gone),
            Err(e) => Err(failed(&e).into()),
        }
    }

    /// Lets the mapper report, and reads what it reports within `ns`.
    pub(super) fn mapper_result(&mut self, mut output: ChildStdout, ns: u64) -> Result<MapperResult, End> {
        let reading = "reading the mapper's result";
        self.ledger.enter(Phase::Over);
        let deadline = now_ns() + ns;
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

    /// Waits until there is something to read, or its end; returns whether there is by `deadline`.
    fn readable(&self, output: &ChildStdout, deadline: u64) -> Result<bool, End> {
        loop {
            let left = deadline.saturating_sub(now_ns());
            let mut fds = [
                PollFd::new(output, PollFlags::IN),
                PollFd::new(&self.setup.stop, PollFlags::IN),
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
}
