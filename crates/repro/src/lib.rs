//! Reproduces and measures the problem of "cat /proc/$PID/maps: What Could Possibly Go Wrong?" (Wilcox and McKenney,
//! Linux Plumbers Conference 2021): a low-priority reader of `/proc/PID/maps` or `smaps` that loses its CPU while it holds
//! a lock of the address space stalls `mmap()`, `munmap()` and page faults of the process it reads.
//!
//! - [`plan`]: what to run, on what, how confined and where.
//! - [`run::experiment`]: runs it in real processes of the running kernel, or in threads around a model of an address space.
//! - `role`: what those processes and threads do: mapper, scanners, busy tasks.
//! - [`sample`], [`report`]: every run as it is saved; the talk's table and other forms, what the runs add up to, and what
//!   may have spoilt it.
//! - [`machine`], [`run::mmap_lock`], [`run::limits`], [`run::cgroup`]: what kernel and machine do and allow, without load.
//!
//! The program that calls [`run::experiment::run`] is executed again for each role and must let it take over:
//!
//! ```no_run
//! use vmaple_repro::machine::sched;
//! use vmaple_repro::plan::{PlacementRequest, Plan, Preset};
//! use vmaple_repro::report;
//! use vmaple_repro::run::{experiment, task};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let args: Vec<String> = std::env::args().collect();
//!     if args.get(1).map(String::as_str) == Some(task::COMMAND) {
//!         return Ok(task::perform(&args[2])?);
//!     }
//!     let placement = placement::PlacementRequest::default().place(&sched::allowed_cpus()?)?;
//!     let plan = Plan::preset(Preset::Check, placement).checked()?;
//!     let (stop, _never) = std::io::pipe()?; // readable or closed: stop
//!     let report = experiment::run(
//!         &plan,
//!         &std::env::current_exe()?,
//!         args,
//!         std::os::fd::AsFd::as_fd(&stop),
//!         |_| {},
//!     )?;
//!     for series in report::series(&report) {
//!         println!("{}", report::talk_table(&series));
//!     }
//!     Ok(())
//! }
//! ```

#![deny(unsafe_code)] // but in the files that say why

mod check;
#[cfg(test)]
mod counting_alloc;
pub mod error;
pub mod machine;
mod model;
pub mod plan;
pub mod report;
mod role;
pub mod run;
pub mod sample;

pub use error::{Error, Result};
