//! The processes of a run. The program executes itself once for each, with [`COMMAND`] and a
//! specification; for a model, once for all roles, which are its threads.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::ModelTask;
use crate::role::{BusyTask, Ledger, MapperTask, ScannerTask, janitor};

/// The subcommand by which a program lets [`perform`] take over.
pub const COMMAND: &str = "__role";

/// What a process of a run is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RoleSpec {
    /// The process that started this role and with which it ends.
    pub(super) controller: i32,
    pub(super) task: Task,
}

/// The work of a process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Task {
    Mapper(MapperTask),
    Scanner(ScannerTask),
    Busy(BusyTask),
    Model(ModelTask),
    /// Removes this cgroup when the controller has ended.
    Janitor(PathBuf),
}

impl RoleSpec {
    /// Describes `task` for a process that this one starts. Returns what stands after [`COMMAND`].
    pub(super) fn of(task: Task) -> Result<String> {
        let controller = std::process::id().cast_signed();
        serde_json::to_string(&Self { controller, task }).map_err(|e| Error::failed("describing a role", e))
    }
}

/// Does what `spec` (JSON, made by the controller) says; returns when the role is over.
///
/// # Errors
/// Fails if the specification is not one, the placement is refused, or the role's work fails.
pub fn perform(spec: &str) -> Result<()> {
    let RoleSpec { controller, task } = serde_json::from_str(spec)
        .map_err(|e| Error::Usage(format!("{COMMAND} is how vmaple starts its own processes: {e}")))?;
    match task {
        // It outlives the controller, and shares no memory with it.
        Task::Janitor(cgroup) => janitor::run(&cgroup),
        Task::Mapper(mapper) => mapper.run(&join(controller)?),
        Task::Scanner(scanner) => scanner.run(&*join(controller)?),
        Task::Busy(busy) => busy.run(&*join(controller)?),
        Task::Model(model) => model.run(&join(controller)?),
    }
}

/// Ties this process to its controller, and opens the ledger of the run, which is its standard
/// input.
fn join(controller: i32) -> Result<Arc<Ledger>> {
    end_with(controller)?;
    let fd = std::io::stdin().as_fd().try_clone_to_owned();
    let fd = fd.map_err(|e| Error::failed("opening the shared memory of a run", e))?;
    Ok(Arc::new(Ledger::map(fd)?))
}

/// Asks the kernel to kill this process when the controller's thread ends, however that comes.
fn end_with(controller: i32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Error::failed("asking to be killed with the controller", e))?;
    // It may have died before the request.
    if getppid().is_none_or(|p| p.as_raw_nonzero().get() != controller) {
        return Err(Error::failed("starting a role", "the controller is gone"));
    }
    Ok(())
}
