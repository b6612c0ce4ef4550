//! What may have spoilt a result, and what to do about it.

use std::fmt;

use crate::machine::NS_PER_MS;
use crate::plan::{Reading, Slice, Target};
use crate::sample::Sample;

use super::{ENOUGH_SCANS, LONG_CALL_NS, Report, Row, Series, series};

/// Fewest samples whose median is worth quoting: worst cases of single runs differ by a factor of
/// four.
const ENOUGH_SAMPLES: usize = 5;

/// The part of a CPU's time that a hypervisor may withhold without a warning.
const MUCH_STEAL: f64 = 0.01;

/// A reason to doubt a report.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Too few samples for a median.
    FewSamples(usize),
    /// No scanner ever lost its CPU, so nothing could be shown.
    NoPreemption,
    /// A spinner was kept waiting as long as the mapper.
    NoiseAboveResult {
        /// Whose file.
        target: Target,
        /// The file.
        file: Reading,
        /// The level.
        busy: u32,
        /// The row's median, in milliseconds.
        median_ms: f64,
        /// The longest gap, in milliseconds.
        gap_ms: f64,
    },
    /// The session's own group has a nice value, which counts for all roles alike.
    Autogroup(i32),
    /// Mapper and controller share this CPU.
    SharedCpu(usize),
    /// Neither level 0 nor the control was run.
    NoReference,
    /// The hypervisor withheld this part of a CPU.
    Steal {
        /// The CPU.
        cpu: usize,
        /// The part, 0 to 1.
        part: f64,
    },
    /// Too few scans in a row.
    FewScans {
        /// Whose file.
        target: Target,
        /// The file.
        file: Reading,
        /// The level.
        busy: u32,
        /// The scans.
        scans: u64,
    },
    /// The kernel would not keep a model's memory in place.
    MemoryNotLocked,
    /// Runs without a single call.
    NoCalls {
        /// Whose file.
        target: Target,
        /// The file.
        file: Reading,
        /// The level.
        busy: u32,
        /// The runs.
        runs: usize,
    },
}

impl Warning {
    /// Says whether it doubts one row, and not the report.
    #[must_use]
    pub fn is_of_a_row(&self) -> bool {
        matches!(
            self,
            Self::NoiseAboveResult { .. } | Self::FewScans { .. } | Self::NoCalls { .. }
        )
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewSamples(n) => write!(
                f,
                "{n} samples: single worst cases differ by a factor of four; take --samples {ENOUGH_SAMPLES} or more before you quote a figure"
            ),
            Self::NoPreemption => f.write_str(
                "no scanner was ever preempted, so nothing could be shown; is something else keeping the busy CPU free?",
            ),
            Self::NoiseAboveResult {
                target,
                file,
                busy,
                median_ms,
                gap_ms,
            } => write!(
                f,
                "{target} {file} at {busy}: the median {median_ms:.3} ms may be noise: a task that only spins was kept from its CPU for {gap_ms:.3} ms; repeat on a quieter machine"
            ),
            Self::Autogroup(nice) => write!(
                f,
                "autogroup: this session's group has nice value {nice}, which weighs all roles alike; write 0 to /proc/self/autogroup"
            ),
            Self::SharedCpu(cpu) => write!(
                f,
                "mapper and controller share CPU {cpu}; with three CPUs or more give --cpu-controller its own"
            ),
            Self::NoReference => f.write_str(
                "neither level 0 nor the file none was run: nothing shows what this machine does by itself; add one",
            ),
            Self::Steal { cpu, part } => write!(
                f,
                "the hypervisor withheld {:.1} % of CPU {cpu}: repeat on a quieter host, compare only rows of one run",
                part * 100.0
            ),
            Self::FewScans {
                target,
                file,
                busy,
                scans,
            } => write!(
                f,
                "{target} {file} at {busy}: {scans} scans in all runs, fewer than {ENOUGH_SCANS}; the scanners were starved, and a short worst case says nothing; take a longer --duration"
            ),
            Self::MemoryNotLocked => f.write_str(
                "a model's memory was touched before the runs, but could not be locked: where memory is short a page fault of its own may lengthen a call; raise the limit (ulimit -l unlimited) or run as root",
            ),
            Self::NoCalls {
                target,
                file,
                busy,
                runs,
            } => write!(
                f,
                "{target} {file} at {busy}: {runs} runs completed no call at all and have no part in its figures"
            ),
        }
    }
}

/// Returns the reasons to doubt a report.
#[must_use]
pub fn warnings(report: &Report) -> Vec<Warning> {
    let all = series(report);
    let mut found = of_plan(report, &all);
    found.extend(of_runs(report));
    for series in &all {
        let loaded = series.rows.iter().filter(|row| row.busy > 0);
        found.extend(loaded.flat_map(|row| of_row(report, series, row)));
    }
    found
}

/// Returns what is wrong with the plan and the machine.
fn of_plan(report: &Report, all: &[Series]) -> Vec<Warning> {
    let mut found = vec![];
    let fewest = all.iter().flat_map(|s| &s.rows).map(|row| row.runs).min().unwrap_or(0);
    if fewest < ENOUGH_SAMPLES {
        found.push(Warning::FewSamples(fewest));
    }
    let placement = &report.plan.placement;
    if placement.controller == placement.mapper {
        found.push(Warning::SharedCpu(placement.mapper));
    }
    let is_reference = |s: &Sample| matches!(s.file, None | Some(Reading::Control));
    if !report.samples.iter().any(is_reference) {
        found.push(Warning::NoReference);
    }
    // Nice values of tasks in a cgroup count against its own members only, with or without
    // autogroup.
    if let (Slice::Nice(_), Some(true), Some(nice @ (..=-1 | 1..))) = (
        report.plan.slice,
        report.machine.autogroup,
        report.machine.autogroup_nice,
    ) {
        found.push(Warning::Autogroup(nice));
    }
    found
}

/// Returns what went wrong in the runs as a whole.
fn of_runs(report: &Report) -> Vec<Warning> {
    let mut found = vec![];
    // A reader that waits for the lock can be handed it while it does not run: a stall needs no
    // preemption.
    let idle = |s: &&Sample| s.preemptions == 0 && s.calls.at_least(LONG_CALL_NS) == 0 && !s.hang;
    let mut loaded = report.samples.iter().filter(|s| s.busy > 0).peekable();
    if !report.plan.freeze && loaded.peek().is_some() && loaded.all(|s| idle(&s)) {
        found.push(Warning::NoPreemption);
    }
    let elapsed: f64 = report.samples.iter().map(|s| s.elapsed_ns as f64).sum();
    for (cpu, steal) in report.steal_ns() {
        let part = steal as f64 / elapsed.max(1.0);
        if part > MUCH_STEAL {
            found.push(Warning::Steal { cpu, part });
        }
    }
    let mut models = report.samples.iter().filter_map(|s| s.model.as_ref());
    if models.any(|model| !model.memory_locked) {
        found.push(Warning::MemoryNotLocked);
    }
    found
}

/// Returns why the figures of a row under load may show nothing.
fn of_row(report: &Report, series: &Series, row: &Row) -> Vec<Warning> {
    let mut found = vec![];
    let (target, file, busy) = (series.target, series.file, row.busy);
    if row.without_calls > 0 {
        let runs = row.without_calls;
        found.push(Warning::NoCalls {
            target,
            file,
            busy,
            runs,
        });
    }
    if file == Reading::Control {
        return found;
    }
    if row.scans < ENOUGH_SCANS && row.hangs == 0 && !report.plan.freeze {
        let scans = row.scans;
        found.push(Warning::FewScans {
            target,
            file,
            busy,
            scans,
        });
    }
    let gap_ms = report.noise.longest_gap_ns() as f64 / NS_PER_MS;
    let median_ms = row.worst.map_or(f64::INFINITY, |w| w.median.ns / NS_PER_MS);
    // The maple tree is meant to be no slower than that.
    if median_ms <= gap_ms && target != Target::Maple {
        found.push(Warning::NoiseAboveResult {
            target,
            file,
            busy,
            median_ms,
            gap_ms,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{hung, report, sample};
    use crate::sample::ModelStats;

    const MAPS: Option<Reading> = Some(Reading::MAPS);

    /// Makes a report with five of this run, and five that nothing disturbs.
    fn quiet(run: Sample) -> Report {
        let both = [sample(None, 0, &[0.1], 0), run];
        report(both.into_iter().cycle().take(10).collect())
    }

    #[test]
    fn a_clean_report_has_no_warnings() {
        assert_eq!(warnings(&quiet(sample(MAPS, 10, &[50.0], 40))), []);
    }

    #[test]
    fn each_doubt_is_raised_where_it_belongs() {
        let mut few = report(vec![sample(MAPS, 10, &[50.0], 29)]);
        few.plan.placement.controller = 0;
        few.machine.autogroup = Some(true);
        few.machine.autogroup_nice = Some(5);
        few.samples[0].steal_ns.insert(1, 300_000_000);
        let (target, file, busy) = (Target::Kernel, Reading::MAPS, 10);
        let scans = 29;
        assert_eq!(
            warnings(&few),
            [
                Warning::FewSamples(1),
                Warning::SharedCpu(0),
                Warning::NoReference,
                Warning::Autogroup(5),
                Warning::Steal { cpu: 1, part: 0.1 },
                Warning::FewScans {
                    target,
                    file,
                    busy,
                    scans
                },
            ]
        );
        let median_ms = 0.15;
        assert_eq!(
            warnings(&quiet(sample(MAPS, 10, &[median_ms], 40))),
            [Warning::NoiseAboveResult {
                target,
                file,
                busy,
                median_ms,
                gap_ms: 0.2
            }]
        );
    }

    #[test]
    fn scanners_that_were_never_preempted_are_told_unless_something_stalled() {
        let idle = |mut s: Sample| {
            s.preemptions = 0;
            warnings(&report(vec![s])).contains(&Warning::NoPreemption)
        };
        assert!(idle(sample(MAPS, 10, &[1.0], 40)));
        assert!(!idle(sample(MAPS, 10, &[25.0], 40)));
        assert!(!idle(hung(sample(MAPS, 10, &[], 40))));
    }

    #[test]
    fn runs_without_a_call_are_told() {
        let runs = vec![sample(MAPS, 10, &[], 40), sample(MAPS, 10, &[50.0], 40)];
        let expected = Warning::NoCalls {
            target: Target::Kernel,
            file: Reading::MAPS,
            busy: 10,
            runs: 1,
        };
        assert!(warnings(&report(runs)).contains(&expected));
    }

    #[test]
    fn a_model_is_not_doubted_for_showing_nothing_nor_frozen_scanners_for_their_scans() {
        let maple = |busy: u32, ms: f64| Sample {
            target: Target::Maple,
            model: Some(ModelStats {
                memory_locked: true,
                ..ModelStats::default()
            }),
            ..sample((busy > 0).then_some(Reading::MAPS), busy, &[ms], 0)
        };
        let runs: Vec<_> = [maple(0, 0.1), maple(10, 0.1)].into_iter().cycle().take(10).collect();
        let mut report = report(runs);
        report.plan.targets = vec![Target::Maple];
        report.plan.freeze = true;
        assert_eq!(warnings(&report), []);
        report.samples[3].model = Some(ModelStats::default());
        assert_eq!(warnings(&report), [Warning::MemoryNotLocked]);
    }
}
