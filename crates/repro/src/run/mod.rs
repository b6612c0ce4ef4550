//! The experiment: its processes, one run, all runs, and what this machine must allow for them.

pub mod cgroup;
pub mod experiment;
pub mod limits;
pub mod mmap_lock;
mod processes;
mod runner;
