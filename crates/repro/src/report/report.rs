//! A finished experiment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::machine::noise::Gap;
use crate::plan::Plan;
use crate::sample::Sample;

/// Name and version of the JSON form. A change that breaks a reader raises the number.
pub const SCHEMA: &str = "vmaple-repro/1";

/// The noise floor: the machine's own share in every worst case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noise {
    /// Gaps of pinned spinners before the first run.
    pub before: Vec<Gap>,
    /// The same after the last; empty if the experiment ended before it was done.
    pub after: Vec<Gap>,
}

impl Noise {
    /// Returns the longest gap on any CPU.
    #[must_use]
    pub fn longest_gap_ns(&self) -> u64 {
        self.gaps().into_values().max().unwrap_or(0)
    }

    /// Returns the longest gap of each CPU.
    #[must_use]
    pub fn gaps(&self) -> BTreeMap<usize, u64> {
        let mut gaps = BTreeMap::new();
        for gap in self.before.iter().chain(&self.after) {
            let longest = gaps.entry(gap.cpu).or_insert(0);
            *longest = gap.longest_ns.max(*longest);
        }
        gaps
    }
}

/// An experiment's settings, machine and every sample: all that any table or plot is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// The command line.
    pub argv: Vec<String>,
    /// When it started (RFC 3339, UTC).
    pub start: String,
    /// When it ended.
    pub end: String,
    /// Whether the user stopped it before it was done.
    pub interrupted: bool,
    /// Why a run failed, which ended the experiment before it was done.
    pub error: Option<String>,
    /// Machine and kernel.
    pub machine: Machine,
    /// Whether the controller had real-time priority, so that it was never starved by its own load.
    pub real_time_controller: bool,
    /// The settings.
    pub plan: Plan,
    /// The noise floor.
    pub noise: Noise,
    /// The runs, in the order in which they were made.
    pub samples: Vec<Sample>,
}

impl Report {
    /// Returns the time that the hypervisor withheld during the runs, in nanoseconds by CPU.
    #[must_use]
    pub fn steal_ns(&self) -> BTreeMap<usize, u64> {
        let mut all = BTreeMap::new();
        for (&cpu, ns) in self.samples.iter().flat_map(|s| &s.steal_ns) {
            let sum: &mut u64 = all.entry(cpu).or_default();
            *sum = sum.saturating_add(*ns);
        }
        all
    }
}
