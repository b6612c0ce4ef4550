//! The experiment: its processes, one run, all runs, and what this machine must allow for them.

pub mod cgroup;
pub mod experiment;
mod figures;
pub mod limits;
pub mod mmap_lock;
mod one_run;
mod processes;
mod roles;
mod setup;
pub mod task;
