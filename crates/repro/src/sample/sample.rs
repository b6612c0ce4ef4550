//! The result of one run, as it is saved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Reading, Target};
use crate::sample::Latencies;

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

/// What scanners read that was not so.
///
/// Each is certain: it is held against what the mapper did before the scan and has not touched
/// since (`page_state.rs`). Scans that began before the mapper's first call count, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Lines that began below the end of the one before.
    pub overlaps: u64,
    /// Pages mapped since before the scan that had no line, no share in the counts of smaps, or
    /// were not populated by pagemap.
    pub misses: u64,
    /// Lines that are malformed, or have attributes that no mapping there ever had; counts that do
    /// not add up.
    pub torn: u64,
    /// Pages unmapped since before the scan that had a line, or were populated by pagemap.
    pub resurrected: u64,
}

impl Seen {
    /// Adds up several.
    #[must_use]
    pub fn merged(all: impl IntoIterator<Item = Self>) -> Self {
        // A foreign report may hold any numbers.
        all.into_iter().fold(Self::default(), |sum, seen| Self {
            overlaps: sum.overlaps.saturating_add(seen.overlaps),
            misses: sum.misses.saturating_add(seen.misses),
            torn: sum.torn.saturating_add(seen.torn),
            resurrected: sum.resurrected.saturating_add(seen.resurrected),
        })
    }
}

/// What a model reports of itself, and no kernel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Whether the kernel kept all of the model's memory in place.
    pub memory_locked: bool,
    /// How long writers held their lock each time.
    pub held: Latencies,
    /// How often a writer had to wait for it.
    pub writer_waits: u64,
    /// How often a reader had to wait for it.
    pub reader_waits: u64,
    /// The most bytes seen that were retired and not yet freed: what readers may hold, and what
    /// waits to be freed.
    pub deferred_bytes: u64,
    /// The oldest read-side section seen, in eras: each is about 64 objects or 64 KiB made or
    /// retired.
    pub oldest_section_eras: u64,
}

impl Inside {
    /// Adds up several runs; `None` without any.
    #[must_use]
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let all: Vec<_> = all.into_iter().collect();
        let sum = |of: fn(&Self) -> u64| all.iter().fold(0, |sum: u64, one| sum.saturating_add(of(one)));
        let max = |of: fn(&Self) -> u64| all.iter().map(|one| of(one)).max();
        Some(Self {
            deferred_bytes: max(|one| one.deferred_bytes)?,
            oldest_section_eras: max(|one| one.oldest_section_eras)?,
            memory_locked: all.iter().all(|one| one.memory_locked),
            held: Latencies::merged(all.iter().map(|one| &one.held)),
            writer_waits: sum(|one| one.writer_waits),
            reader_waits: sum(|one| one.reader_waits),
        })
    }
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
    #[serde(default)]
    pub seen: Option<Seen>,
    /// What a model reports of itself; `None` for a kernel, and for a mapper that never reported.
    #[serde(default)]
    pub inside: Option<Inside>,
}
