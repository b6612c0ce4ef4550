//! The talk's statistics: median, minimum and maximum of the runs' worst cases, and what these alone do not show.

use crate::plan::ProcFile;
use crate::plan::Target;
use crate::report::Report;
use crate::sample::Latencies;
use crate::sample::{Faults, Inside, Sample, Seen};

/// A call this long counts as long, in nanoseconds: no healthy call comes near, every preempted lock holder costs more.
pub const LONG_CALL_NS: u64 = 20_000_000;

/// Time in calls this long is charged to the scans, in nanoseconds: a hundred times an undisturbed call.
pub const STALL_NS: u64 = 1_000_000;

/// With fewer scans than this a row says nothing: a starved scanner hardly ever holds the lock, and any kernel looks cured.
pub const ENOUGH_SCANS: u64 = 30;

/// How far above every reference the median worst case must be to count as a stall, since worst cases of single runs
/// differ by a factor of four on their own.
pub const STALL_FACTOR: f64 = 3.0;

/// A worst case, or a statistic of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Nanoseconds; halves come from means of two.
    pub ns: f64,
    /// Whether the true value is only known to be at least this.
    pub at_least: bool,
}

/// Median, minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the middle two.
    pub median: Worst,
    /// The smallest.
    pub min: Worst,
    /// The largest.
    pub max: Worst,
}

impl Spread {
    /// Of the runs' worst cases; `None` without any.
    ///
    /// Values that were cut short are lower bounds. Letting each of them grow shows what can change: the minimum, if the
    /// smallest value is one; the median, if one is at or below the middle; the maximum, if any is one at all.
    #[must_use]
    pub fn of(mut values: Vec<Worst>) -> Option<Self> {
        // Among equals the exact one first: it stays the minimum whatever the other becomes.
        values.sort_by(|a, b| a.ns.total_cmp(&b.ns).then(a.at_least.cmp(&b.at_least)));
        let (first, last) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Self {
            median: Worst {
                ns: f64::midpoint(values[lower].ns, values[upper].ns),
                at_least: values[..=upper].iter().any(|v| v.at_least),
            },
            min: first,
            max: Worst {
                ns: last.ns,
                at_least: values.iter().any(|v| v.at_least),
            },
        })
    }
}

/// What a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing scans: what the others are held against.
    Alone,
    /// A file that takes no lock is scanned: the noise under this load.
    Control,
    /// At least one run hung.
    Hangs,
    /// Too few scans to show anything.
    FewScans,
    /// The median worst case is well above all references.
    Stalls,
    /// It is not.
    WithinNoise,
    /// No run completed a call.
    NoCalls,
}

impl Verdict {
    /// The words in reports.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Control => "control",
            Self::Hangs => "hangs",
            Self::FewScans => "too few scans: no verdict",
            Self::Stalls => "stalls",
            Self::WithinNoise => "within noise",
            Self::NoCalls => "no call completed",
        }
    }
}

/// All runs of one kind.
#[derive(Clone, Debug)]
pub struct Row {
    /// Scanners, and also busy tasks, on each busy CPU.
    pub busy: u32,
    /// Number of runs.
    pub runs: usize,
    /// Runs in which no call was completed.
    pub without_calls: usize,
    /// Of the runs' worst cases.
    pub worst: Option<Spread>,
    /// Runs that hung.
    pub hangs: usize,
    /// All calls of all runs.
    pub calls: Latencies,
    /// Part of the time that the mappers spent inside calls, 0 to 1.
    pub in_call: f64,
    /// Calls of [`LONG_CALL_NS`] and longer, mean per run.
    pub long_calls: f64,
    /// Scans completed.
    pub scans: u64,
    /// The longest scan, in nanoseconds.
    pub longest_scan_ns: u64,
    /// Time in calls of [`STALL_NS`] and longer, per scan, in nanoseconds; `None` without scans.
    pub stall_per_scan_ns: Option<f64>,
    /// The worst page fault in a mapping in use.
    pub fault_mapped: Option<Worst>,
    /// The worst page fault in a mapping that nobody had touched.
    pub fault_fresh: Option<Worst>,
    /// How often the kernel took the CPU from a scanner.
    pub preemptions: u64,
    /// What the scanners read that was not so; `None` where that was not looked at.
    pub seen: Option<Seen>,
    /// What the models tell of themselves.
    pub inside: Option<Inside>,
    /// What it shows.
    pub verdict: Verdict,
}

/// The rows of one file of one target, by ascending level.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whose address space.
    pub target: Target,
    /// The file that is scanned.
    pub file: ProcFile,
    /// The rows; level 0 is the same runs in every series of a target.
    pub rows: Vec<Row>,
}

impl Series {
    /// What it is of, in few words.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.target, self.file)
    }
}

impl Row {
    /// Where scanners are `frozen` in their first scan, there are none to be counted.
    fn of(samples: &[&Sample], reference_ns: f64, frozen: bool) -> Option<Self> {
        let first = samples.first()?;
        let worst = Spread::of(
            samples
                .iter()
                .filter_map(|s| {
                    Some(Worst {
                        ns: s.worst_ns? as f64,
                        at_least: s.cut_short,
                    })
                })
                .collect(),
        );
        let calls = Latencies::merged(samples.iter().map(|s| &s.calls));
        let elapsed: f64 = samples.iter().map(|s| s.elapsed_ns as f64).sum();
        let scans = samples.iter().fold(0, |sum: u64, s| sum.saturating_add(s.scans));
        let hangs = samples.iter().filter(|s| s.hang).count();
        let without_calls = samples.iter().filter(|s| s.operations == 0).count();
        let fault = |of: fn(&Faults) -> (&Latencies, bool)| {
            let worst = samples.iter().filter_map(|s| {
                let (seen, at_least) = of(s.faults.as_ref()?);
                let ns = seen.max_ns as f64;
                (seen.count > 0).then_some(Worst { ns, at_least })
            });
            Spread::of(worst.collect()).map(|spread| spread.max)
        };
        let mut seen = samples.iter().filter_map(|s| s.seen).peekable();
        let verdict = match (first.file, worst) {
            _ if without_calls == samples.len() => Verdict::NoCalls,
            // Few scans can hide a stall; they can not make one.
            _ if hangs > 0 => Verdict::Hangs,
            (None, _) => Verdict::Alone,
            (Some(ProcFile::None), _) => Verdict::Control,
            (_, Some(w)) if w.median.ns > STALL_FACTOR * reference_ns => Verdict::Stalls,
            _ if scans < ENOUGH_SCANS && !frozen => Verdict::FewScans,
            _ => Verdict::WithinNoise,
        };
        Some(Self {
            busy: first.busy,
            runs: samples.len(),
            without_calls,
            worst,
            hangs,
            in_call: calls.total_ns as f64 / elapsed.max(1.0),
            long_calls: calls.at_least(LONG_CALL_NS) as f64 / samples.len() as f64,
            scans,
            longest_scan_ns: samples.iter().map(|s| s.longest_scan_ns).max().unwrap_or(0),
            stall_per_scan_ns: (scans > 0).then(|| calls.total_at_least_ns(STALL_NS) as f64 / scans as f64),
            fault_mapped: fault(|f| (&f.mapped, f.mapped_cut_short)),
            fault_fresh: fault(|f| (&f.fresh, f.fresh_cut_short)),
            preemptions: samples.iter().fold(0, |sum, s| sum.saturating_add(s.preemptions)),
            seen: seen.peek().is_some().then(|| Seen::merged(seen)),
            inside: Inside::merged(samples.iter().filter_map(|s| s.inside.as_ref())),
            calls,
            verdict,
        })
    }
}

/// The series of a report, in the order of the plan's targets and files.
///
/// What each row is held against: the noise floor, level 0 of its target, and the control at its level, whose noise under load
/// is the machine's, whatever the target.
#[must_use]
pub fn series(report: &Report) -> Vec<Series> {
    let of = |target: Target, file: Option<ProcFile>, busy: u32| -> Vec<&Sample> {
        let all = report.samples.iter();
        all.filter(|s| s.target == target && s.busy == busy && s.file == file)
            .collect()
    };
    let longest = |samples: &[&Sample]| samples.iter().filter_map(|s| s.worst_ns).max().unwrap_or(0);
    let rows = |target: Target, file: ProcFile| {
        let alone = longest(&of(target, None, 0));
        let floor = report.noise.longest_gap_ns().max(alone);
        let row = |&level: &u32| {
            let control = longest(&of(Target::Kernel, Some(ProcFile::None), level));
            let file = (level > 0).then_some(file);
            Row::of(&of(target, file, level), floor.max(control) as f64, report.plan.freeze)
        };
        report.plan.busy.iter().filter_map(row).collect()
    };
    let series = |(target, file)| Series {
        target,
        file,
        rows: rows(target, file),
    };
    report.plan.series().into_iter().map(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(ns: f64) -> Worst {
        Worst { ns, at_least: false }
    }

    fn cut(ns: f64) -> Worst {
        Worst { ns, at_least: true }
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let of = |values: &[f64]| Spread::of(values.iter().map(|&v| exact(v)).collect()).unwrap();
        assert_eq!(of(&[3.0, 1.0, 2.0]).median, exact(2.0));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]).median, exact(2.5));
        assert_eq!((of(&[4.0, 1.0]).min, of(&[4.0, 1.0]).max), (exact(1.0), exact(4.0)));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn a_statistic_is_a_bound_exactly_when_a_cut_value_could_move_it() {
        let spread = Spread::of(vec![exact(1.0), exact(2.0), cut(3.0)]).unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.max),
            (exact(1.0), exact(2.0), cut(3.0))
        );
        // The cut 2 may really be above 3: then 3 is the median.
        let spread = Spread::of(vec![exact(1.0), cut(2.0), exact(3.0)]).unwrap();
        assert_eq!(
            (spread.min, spread.median, spread.max),
            (exact(1.0), cut(2.0), cut(3.0))
        );
        let spread = Spread::of(vec![cut(1.0), exact(2.0), exact(3.0)]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (cut(1.0), cut(2.0), cut(3.0)));
    }

    use crate::report::fixture::{hung, report, sample};

    /// The verdict on maps at level 10 of these runs; the noise floor of the fixture is 0.2 ms.
    fn verdict(samples: Vec<Sample>) -> Verdict {
        let all = series(&report(samples));
        all[0].rows.iter().find(|r| r.busy == 10).unwrap().verdict
    }

    #[test]
    fn a_row_is_judged_against_every_reference() {
        let (maps, none) = (Some(ProcFile::Maps), Some(ProcFile::None));
        assert_eq!(verdict(vec![sample(maps, 10, &[5.0], 30)]), Verdict::Stalls);
        assert_eq!(verdict(vec![sample(maps, 10, &[0.5], 30)]), Verdict::WithinNoise);
        // The same 5 ms next to an undisturbed run of 2 ms, or a control of 2 ms under the same load.
        let alone = sample(None, 0, &[2.0], 0);
        assert_eq!(verdict(vec![alone, sample(maps, 10, &[5.0], 30)]), Verdict::WithinNoise);
        let control = sample(none, 10, &[2.0], 30);
        assert_eq!(
            verdict(vec![control, sample(maps, 10, &[5.0], 30)]),
            Verdict::WithinNoise
        );
    }

    #[test]
    fn a_starved_scanner_gives_no_verdict_but_a_stall_and_a_hang_are_one() {
        let maps = Some(ProcFile::Maps);
        assert_eq!(verdict(vec![sample(maps, 10, &[500.0], 29)]), Verdict::Stalls);
        assert_eq!(verdict(vec![sample(maps, 10, &[0.1], 29)]), Verdict::FewScans);
        assert_eq!(verdict(vec![hung(sample(maps, 10, &[500.0], 0))]), Verdict::Hangs);
        assert_eq!(verdict(vec![sample(maps, 10, &[], 0)]), Verdict::NoCalls);
    }

    #[test]
    fn a_row_adds_up_its_runs() {
        let maps = Some(ProcFile::Maps);
        let runs = vec![sample(maps, 10, &[25.0, 5.0, 0.01], 20), sample(maps, 10, &[30.0], 40)];
        let row = series(&report(runs))[0].rows[0].clone();
        assert_eq!((row.runs, row.hangs, row.without_calls, row.scans), (2, 0, 0, 60));
        assert_eq!(row.calls.count, 4);
        assert_eq!(row.long_calls, 1.0);
        // 60 ms in calls of 1 ms and longer, to two digits; 60.01 ms of 6 s in calls.
        assert!((row.stall_per_scan_ns.unwrap() / 1e6 - 1.0).abs() < 1e-2);
        assert!((row.in_call - 0.010_001_7).abs() < 1e-6);
    }
}
