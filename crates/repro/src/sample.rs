//! What one run gave, as it is saved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::plan::ProcFile;

/// Whose address space was mapped and scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Real processes on the running kernel.
    Kernel,
}

impl Target {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
        }
    }
}

/// Page faults of the mapper's second thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// First writes to pages of a mapping that existed before the run.
    pub mapped: Latencies,
    /// First writes to pages of a mapping made just before.
    pub fresh: Latencies,
    /// Whether a fault was waiting when the interferers were killed, so that the worst of them is a lower bound.
    pub cut_short: bool,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Whose address space.
    pub target: Target,
    /// The file that was scanned; `None` at level 0.
    pub file: Option<ProcFile>,
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
    /// Whether a call was waiting when the interferers were killed, so that `worst_ns` is a lower bound.
    pub cut_short: bool,
    /// Calls completed.
    pub operations: u64,
    /// `mmap` calls among them.
    pub maps: u64,
    /// `munmap` calls among them.
    pub unmaps: u64,
    /// How long the mapper ran, sleeps included, in nanoseconds.
    pub elapsed_ns: u64,
    /// How long the calls took.
    pub calls: Latencies,
    /// Page faults of the second thread, if there was one.
    pub faults: Option<Faults>,
    /// Scans completed while the mapper ran, of all scanners together.
    pub scans: u64,
    /// The longest scan, one in flight at the end included, in nanoseconds.
    pub longest_scan_ns: u64,
    /// How often the kernel took the CPU from a scanner while the mapper ran.
    pub preemptions: u64,
    /// Time that the hypervisor withheld, in nanoseconds by CPU, where there was any.
    pub steal_ns: BTreeMap<usize, u64>,
}
