//! The processes of a run. The program executes itself once for each, with [`COMMAND`] and a specification; for a model, once
//! for all, which are its threads.
//!
//! Standard input of a role is the run's ledger. Roles tell the controller what they have done through it alone, but for
//! the mapper, which writes a line end to its standard output when its last call has ended, and its result as JSON when
//! the run is over. Errors go to standard error, which the controller shows when a run fails.

pub(crate) mod busy;
mod fault_memory;
mod janitor;
mod ledger;
pub(crate) mod mapper;
mod proc_scan;
mod region;
pub(crate) mod scanner;
pub(crate) mod thread_b;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::machine::sched;
use crate::model::{self, Model};
use crate::plan::ProcFile;
use crate::run::cgroup::Cgroup;

pub(crate) use ledger::{Ledger, MapperWords, Phase, Slot};
pub(crate) use mapper::{DONE, MapperResult};
pub(crate) use proc_scan::{ProcScan, procmap_query_supported, scanner};
pub(crate) use scanner::Scan;
pub(crate) use thread_b::mapped_pages;

/// The subcommand by which a program lets [`run`] take over.
pub const COMMAND: &str = "__role";

/// What a process of a run is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RoleSpec {
    /// The process that started this role and with which it ends.
    pub(crate) controller: i32,
    pub(crate) task: Task,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    Mapper {
        cpu: usize,
        region_bytes: u64,
        fragment: u64,
        seed: u64,
        duration_ns: u64,
        faults: bool,
    },
    Scanner {
        slot: usize,
        cpu: usize,
        nice: i32,
        cgroup: Option<Cgroup>,
        file: ProcFile,
        mapper: i32,
        region_bytes: u64,
    },
    Busy {
        slot: usize,
        cpu: usize,
        spin_ns: Option<u64>,
    },
    Model(Model),
    Janitor {
        cgroup: PathBuf,
    },
}

/// Does what `spec` (JSON, made by the controller) says; returns when the role is over.
///
/// # Errors
/// Fails if the specification is not one, the placement is refused, or the role's work fails.
pub fn run(spec: &str) -> Result<()> {
    let spec: RoleSpec = serde_json::from_str(spec)
        .map_err(|e| Error::Usage(format!("{COMMAND} is how vmaple starts its own processes: {e}")))?;
    if let Task::Janitor { cgroup } = &spec.task {
        return janitor::run(cgroup);
    }
    end_with(spec.controller)?;
    let stdin = std::io::stdin();
    let fd = stdin.as_fd().try_clone_to_owned();
    let ledger = Arc::new(Ledger::map(
        fd.map_err(|e| Error::failed("opening the shared memory of a run", e))?,
    )?);
    match spec.task {
        Task::Mapper { .. } => mapper::run(&spec.task, &ledger),
        Task::Scanner { .. } => scanner::run(&spec.task, &ledger),
        Task::Busy { .. } => busy::run(&spec.task, &ledger),
        Task::Model(model) => model::run(&model, &ledger),
        Task::Janitor { .. } => Ok(()),
    }
}

/// Has the kernel kill this process when the controller's thread ends, however that comes.
fn end_with(controller: i32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Error::failed("asking to be killed with the controller", e))?;
    // It may have died before the request.
    if getppid().is_none_or(|p| p.as_raw_nonzero().get() != controller) {
        return Err(Error::failed("starting a role", "the controller is gone"));
    }
    Ok(())
}

/// Names and places a role.
pub(crate) fn take_place(name: &std::ffi::CStr, cpu: usize, nice: i32) -> Result<()> {
    rustix::thread::set_name(name).map_err(|e| Error::failed("naming a role", e))?;
    sched::pin(cpu)?;
    sched::renice(nice)?;
    sched::usual_timer_slack()
}

/// Reports that a role is set up, then waits for its phase.
pub(crate) fn get_ready(ledger: &Ledger, phase: Phase) {
    ledger.count(&ledger.header().ready);
    ledger.wait_for(phase);
}
