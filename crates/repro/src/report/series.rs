//! What the runs of a report add up to: for each file of each target a row a level.

use crate::plan::{Reading, Target};
use crate::sample::Sample;

use super::Report;
use super::row::{ENOUGH_SCANS, Row};

/// The rows of one file of one target, by ascending level.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whose address space.
    pub target: Target,
    /// The file that is scanned.
    pub file: Reading,
    /// The rows; level 0 is the same runs in every series of a target.
    pub rows: Vec<Row>,
}

impl Series {
    /// Returns its target and file.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.target, self.file)
    }

    /// Returns the row of a level, if it was run.
    pub(super) fn row_at(&self, level: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.busy == level)
    }
}

/// Returns the levels that any series has, ascending.
pub(super) fn levels(series: &[(String, Series)]) -> Vec<u32> {
    let mut levels: Vec<u32> = series.iter().flat_map(|(_, s)| s.rows.iter().map(|r| r.busy)).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

/// Returns the series of a report, in the order of the plan's targets and files.
///
/// Each row is held against three references: the noise floor, level 0 of its target, and the
/// control at its level. The control shows the machine's noise under load, which is the same for
/// every target.
#[must_use]
pub fn series(report: &Report) -> Vec<Series> {
    let of = |target: Target, file: Option<Reading>, busy: u32| -> Vec<&Sample> {
        let all = report.samples.iter();
        all.filter(|s| s.target == target && s.busy == busy && s.file == file)
            .collect()
    };
    let longest = |samples: &[&Sample]| samples.iter().filter_map(|s| s.worst_ns).max().unwrap_or(0);
    // Where scanners are frozen in their first scan, there are none to be counted.
    let enough_scans = if report.plan.freeze { 0 } else { ENOUGH_SCANS };
    let rows = |target: Target, file: Reading| {
        let alone = longest(&of(target, None, 0));
        let floor = report.noise.longest_gap_ns().max(alone);
        let row = |&level: &u32| {
            let control = longest(&of(Target::Kernel, Some(Reading::Control), level));
            let file = (level > 0).then_some(file);
            Row::of(&of(target, file, level), floor.max(control) as f64, enough_scans)
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
    use super::super::fixture::{hung, report, sample};
    use super::super::row::Verdict;
    use super::*;

    /// The verdict on maps at level 10 of these runs; the noise floor of the fixture is 0.2 ms.
    fn verdict(samples: Vec<Sample>) -> Verdict {
        let all = series(&report(samples));
        all[0].rows.iter().find(|r| r.busy == 10).unwrap().verdict
    }

    #[test]
    fn a_row_is_judged_against_every_reference() {
        let (maps, none) = (Some(Reading::MAPS), Some(Reading::Control));
        assert_eq!(verdict(vec![sample(maps, 10, &[5.0], 30)]), Verdict::Stalls);
        assert_eq!(verdict(vec![sample(maps, 10, &[0.5], 30)]), Verdict::WithinNoise);
        // The same 5 ms next to an undisturbed run of 2 ms, or a control of 2 ms under the same
        // load.
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
        let maps = Some(Reading::MAPS);
        assert_eq!(verdict(vec![sample(maps, 10, &[500.0], 29)]), Verdict::Stalls);
        assert_eq!(verdict(vec![sample(maps, 10, &[0.1], 29)]), Verdict::FewScans);
        assert_eq!(verdict(vec![hung(sample(maps, 10, &[500.0], 0))]), Verdict::Hangs);
        assert_eq!(verdict(vec![sample(maps, 10, &[], 0)]), Verdict::NoCalls);
    }

    #[test]
    fn a_row_adds_up_its_runs() {
        let maps = Some(Reading::MAPS);
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
