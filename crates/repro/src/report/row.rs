//! One row of a table: all runs of one kind, what they add up to, and the verdict on them.

use crate::plan::Reading;
use crate::sample::{Faults, Latencies, Misreads, ModelStats, Sample};

use super::spread::{Spread, Worst};

/// A call this long counts as long, in nanoseconds. No healthy call takes nearly as long; a
/// preempted lock holder costs more.
pub const LONG_CALL_NS: u64 = 20_000_000;

/// Time in calls this long is charged to the scans, in nanoseconds. It is a hundred times an
/// undisturbed call.
pub const STALL_NS: u64 = 1_000_000;

/// With fewer scans than this a row shows nothing: a starved scanner hardly ever holds the lock,
/// and any kernel looks cured.
pub const ENOUGH_SCANS: u64 = 30;

/// How far above every reference the median worst case must be to count as a stall, since worst
/// cases of single runs differ by a factor of four on their own.
pub const STALL_FACTOR: f64 = 3.0;

/// What a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing scans: a reference for the others.
    Alone,
    /// A file that takes no lock is scanned: the noise under this load.
    Control,
    /// At least one run hung.
    Hangs,
    /// Too few scans to show anything.
    FewScans,
    /// The median worst case is well above all references.
    Stalls,
    /// The median worst case is not well above all references.
    WithinNoise,
    /// No run completed a call.
    NoCalls,
}

impl Verdict {
    /// Returns the words in reports.
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
    /// The worst page fault in a mapping that no thread had touched.
    pub fault_fresh: Option<Worst>,
    /// How often the kernel took the CPU from a scanner.
    pub preemptions: u64,
    /// What the scanners read that was not so; `None` where that was not checked.
    pub misreads: Option<Misreads>,
    /// What the models report of themselves.
    pub model: Option<ModelStats>,
    /// What it shows.
    pub verdict: Verdict,
}

impl Row {
    /// Adds up `samples`, all of one kind, and judges them against the longest call of all
    /// references. With fewer scans than `enough_scans` there is no verdict. Returns `None`
    /// without samples.
    pub(super) fn of(samples: &[&Sample], reference_ns: f64, enough_scans: u64) -> Option<Self> {
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
        let mut misreads = samples.iter().filter_map(|s| s.misreads).peekable();
        let verdict = match (first.file, worst) {
            _ if without_calls == samples.len() => Verdict::NoCalls,
            // Few scans can hide a stall; they cannot make one.
            _ if hangs > 0 => Verdict::Hangs,
            (None, _) => Verdict::Alone,
            (Some(Reading::Control), _) => Verdict::Control,
            (_, Some(w)) if w.median.ns > STALL_FACTOR * reference_ns => Verdict::Stalls,
            _ if scans < enough_scans => Verdict::FewScans,
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
            misreads: misreads.peek().is_some().then(|| Misreads::merged(misreads)),
            model: ModelStats::merged(samples.iter().filter_map(|s| s.model.as_ref())),
            calls,
            verdict,
        })
    }
}
