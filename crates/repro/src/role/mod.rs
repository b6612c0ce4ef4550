//! What the processes and threads of a run do.
//!
//! Standard input of a role's process is the run's [`Ledger`]. Roles report through it alone,
//! except the mapper, which writes a line end to its standard output when its last call has ended,
//! and its result as JSON when the run is over. Errors go to standard error, which the controller
//! shows when a run fails.

pub(crate) mod busy;
mod cgroup;
mod fault_memory;
mod first_wait;
pub(crate) mod janitor;
mod ledger;
pub(crate) mod mapper;
mod placing;
mod proc_scan;
mod region;
pub(crate) mod scanner;
pub(crate) mod thread_b;

pub(crate) use busy::BusyTask;
pub(crate) use cgroup::Cgroup;
pub(crate) use first_wait::wait_once;
pub(crate) use ledger::{Ledger, MapperWords, Phase, Slot};
pub(crate) use mapper::{DONE, MapperResult, MapperTask};
pub(crate) use placing::{get_ready, take_place};
pub(crate) use proc_scan::{ProcScan, procmap_query_supported, scanner};
pub(crate) use scanner::{Scan, ScannerTask};
pub(crate) use thread_b::mapped_pages;
