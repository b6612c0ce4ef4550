//! The result of one run, as it is saved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Reading, Target};

use super::{Latencies, Misreads, ModelStats};

/// Page faults of the mapper's second thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// First writes to pages of a mapping in use since before the run.
    pub mapped: Latencies,
    /// First writes to mappings that no thread had touched.
    pub fresh: Latencies,
    /// Whether one of `mapped` was waiting when the interferers were killed, so that its longest is
    /// a lower bound.
    pub mapped_cut_short: bool,
    /// The same of `fresh`.
    pub fresh_cut_short: bool,
}

/// When each step of a run was taken, in nanoseconds after the mapper had mapped its region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The scanners were released; 0 at level 0.
    pub scanners_go_ns: u64,
    /// The first scan began; 0 at level 0.
    pub first_scan_ns: u64,
    /// The busy tasks were released; 0 at level 0.
    pub busy_go_ns: u64,
    /// The last busy task had run; 0 at level 0.
    pub busy_up_ns: u64,
    /// The mapper's first call began.
    pub first_call_ns: u64,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Whose address space.
    pub target: Target,
    /// What was scanned; `None` at level 0.
    pub file: Option<Reading>,
    /// Scanners, and also busy tasks, on each busy CPU.
    pub busy: u32,
    /// Which sample of its kind, from 0.
    pub sample: u32,
    /// Seed of the mapper.
    pub seed: u64,
    /// Whether the mapper was not done in time and the interferers were killed.
    pub hang: bool,
    /// The longest call, in nanoseconds; `None` if there was none.
    pub worst_ns: Option<u64>,
    /// Whether a call was waiting when the interferers were killed, so that `worst_ns` is a lower
    /// bound.
    pub cut_short: bool,
    /// Calls completed.
    pub operations: u64,
    /// `mmap` calls among them.
    pub maps: u64,
    /// `munmap` calls among them.
    pub unmaps: u64,
    /// When each step was taken.
    pub timeline: Timeline,
    /// How long the mapper ran, sleeps included, in nanoseconds.
    pub elapsed_ns: u64,
    /// How long the calls took.
    pub calls: Latencies,
    /// Page faults of the second thread, if there was one.
    pub faults: Option<Faults>,
    /// Scans completed while the mapper ran, of all scanners together.
    pub scans: u64,
    /// The longest scan that ended after the mapper had begun, or was in flight when it was done,
    /// in nanoseconds.
    pub longest_scan_ns: u64,
    /// How often the kernel took the CPU from a scanner while the mapper ran.
    pub preemptions: u64,
    /// Time that the hypervisor withheld, in nanoseconds by CPU, where there was any.
    pub steal_ns: BTreeMap<usize, u64>,
    /// What the scanners read that was not so; `None` where that was not checked.
    #[serde(rename = "seen", default)]
    pub misreads: Option<Misreads>,
    /// What a model reports of itself; `None` for a kernel, and for a mapper that never reported.
    #[serde(rename = "inside", default)]
    pub model: Option<ModelStats>,
}
