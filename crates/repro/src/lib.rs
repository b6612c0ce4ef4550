//! Reproduces and measures the problem of "cat /proc/$PID/maps: What Could Possibly Go Wrong?" (Wilcox and McKenney,
//! Linux Plumbers Conference 2021): a low-priority reader of `/proc/PID/maps` or `smaps` that loses its CPU while it holds
//! a lock of the address space stalls `mmap()`, `munmap()` and page faults of the process it reads.
//!
//! - [`plan`], [`target`], [`proc_file`], [`mod@slice`], [`placement`]: what to run, on what, how confined and where.
//!   [`experiment`]: runs it in real processes of the running kernel, or in threads around a model of an address space.
//! - [`role`]: what those processes and threads do: mapper, scanners, busy tasks.
//! - [`sample`], [`report`]: every run as it is saved; the talk's table and other forms.
//! - [`stats`], [`warning`]: what the runs add up to, and what may have spoilt it.
//! - [`mmap_lock`], [`noise`], [`machine`], [`limits`], [`cgroup`]: what kernel and machine do and allow, without load.
//!
//! The program that calls [`experiment::run`] is executed again for each role and must let it take over:
//!
//! ```no_run
//! use vmaple_repro::{experiment, place, placement, plan, report, role, stats};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let args: Vec<String> = std::env::args().collect();
//!     if args.get(1).map(String::as_str) == Some(role::COMMAND) {
//!         return Ok(role::run(&args[2])?);
//!     }
//!     let placement = placement::PlacementRequest::default().place(&place::allowed_cpus()?)?;
//!     let plan = plan::Plan::preset(plan::Preset::Check, placement).checked()?;
//!     let (stop, _never) = std::io::pipe()?; // readable or closed: stop
//!     let report = experiment::run(
//!         &plan,
//!         &std::env::current_exe()?,
//!         args,
//!         std::os::fd::AsFd::as_fd(&stop),
//!         |_| {},
//!     )?;
//!     for series in stats::series(&report) {
//!         println!("{}", report::talk_table(&series));
//!     }
//!     Ok(())
//! }
//! ```

#![deny(unsafe_code)] // but in the files that say why

pub mod cgroup;
pub mod clock;
mod counted_lock;
#[cfg(test)]
mod counting_alloc;
pub mod error;
pub mod experiment;
pub mod latency;
mod ledger;
pub mod limits;
pub mod machine;
pub mod mmap_lock;
pub mod noise;
mod page_state;
pub mod place;
pub mod placement;
pub mod plan;
pub mod proc_file;
mod proc_text;
mod processes;
pub mod report;
pub mod role;
mod run;
pub mod sample;
mod scan_check;
pub mod slice;
pub mod stats;
pub mod target;
pub mod warning;

pub use error::{Error, Result};
