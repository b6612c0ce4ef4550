//! What the worst case alone does not show. The worst case depends on when the scheduler runs a
//! preempted reader again, whatever the lock.

use std::fmt::Write;

use crate::sample::Misreads;

use super::Series;
use super::cells::{ms_cell, per_1000_cell, us_cell, worst_cell};

/// Writes the tables below the talk's: all calls, the scanners, the page faults of thread B.
///
/// Where it is known, also what the scanners read that was not so, and what a model reports of
/// itself.
#[must_use]
pub fn details(series: &Series) -> String {
    let mut text = String::from(
        "         All calls (milliseconds)\n\
         #Busy     Calls      Mean       p50       p99     p99.9       Max In call >=20ms/run\n",
    );
    for row in &series.rows {
        let calls = &row.calls;
        let q = |share| ms_cell(calls.quantile_ns(share).map(|ns| ns as f64));
        let max = ms_cell((calls.count > 0).then_some(calls.max_ns as f64));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {max:>9} {:>5.1} % {:>10.1}",
            row.busy,
            calls.count,
            ms_cell(calls.mean_ns()),
            q(0.5),
            q(0.99),
            q(0.999),
            row.in_call * 100.0,
            row.long_calls,
        );
    }
    text.push_str(
        "         Scanners, and page faults of a second thread (milliseconds)\n\
         #Busy     Scans   Longest Stall/scan Worst fault: mapped     fresh  Verdict\n",
    );
    for row in &series.rows {
        let fault = |worst: Option<_>| worst.map_or("-".to_owned(), |w| worst_cell(Some(w)));
        let longest = (row.longest_scan_ns > 0).then_some(row.longest_scan_ns as f64);
        let _ = writeln!(
            text,
            "{:>5} {:>9} {:>9} {:>10} {:>19} {:>9}  {}",
            row.busy,
            row.scans,
            ms_cell(longest),
            ms_cell(row.stall_per_scan_ns),
            fault(row.fault_mapped),
            fault(row.fault_fresh),
            row.verdict.text(),
        );
    }
    if series.rows.iter().any(|row| row.misreads.is_some()) {
        text.push_str(&misreads(series));
    }
    if series.rows.iter().any(|row| row.model.is_some()) {
        text.push_str(&model_stats(series));
    }
    text
}

fn misreads(series: &Series) -> String {
    let mut text = String::from(
        "         What scanners read that was not so (per 1000 scans)\n\
         #Busy  Overlaps    Misses      Torn Resurrected\n",
    );
    for row in &series.rows {
        let cell = |of: fn(&Misreads) -> u64| {
            let count = row.misreads.as_ref().map(of);
            count.map_or("-".to_owned(), |count| per_1000_cell(count, row.scans))
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>5} {:>9} {:>9} {:>9} {:>11}",
            row.busy,
            cell(|s| s.overlaps),
            cell(|s| s.misses),
            cell(|s| s.torn),
            cell(|s| s.resurrected),
        );
    }
    text
}

fn model_stats(series: &Series) -> String {
    let mut text = String::from(
        "         The writers' lock (microseconds held), who waited for it, and memory kept for readers\n\
         #Busy     Holds       p50     p99.9       Max   Writers   Readers  KiB kept Eras kept\n",
    );
    for (row, model) in series.rows.iter().filter_map(|row| Some((row, row.model.as_ref()?))) {
        let held = &model.held;
        let max = us_cell((held.count > 0).then_some(held.max_ns));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>5} {:>9} {:>9} {:>9} {max:>9} {:>9} {:>9} {:>9} {:>9}",
            row.busy,
            held.count,
            us_cell(held.quantile_ns(0.5)),
            us_cell(held.quantile_ns(0.999)),
            model.writer_waits,
            model.reader_waits,
            model.deferred_bytes.div_ceil(1024),
            model.oldest_section_eras,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{model, report, sample};
    use super::*;
    use crate::plan::{Reading, Target};
    use crate::report::series;

    #[test]
    fn what_only_models_tell_is_shown_of_models() {
        let maps = |busy| sample(Some(Reading::MAPS), busy, &[2.0], 40);
        let mut report = report(vec![maps(1), model(Target::V54, maps(1)), model(Target::V54, maps(1))]);
        report.plan.targets.push(Target::V54);
        let series = series(&report);
        let shown = details(&series[0]);
        assert!(!shown.contains("not so") && !shown.contains("lock"), "{shown}");
        assert_eq!(series[2].label(), "v5.4 maps");
        let shown = details(&series[2]);
        // Six overlaps in 80 scans, and two holds each.
        assert!(
            shown.contains("    1      75.0       0.0       0.0         0.0\n"),
            "{shown}"
        );
        let inside = "    1         4      0.40      0.50      0.50        14        16         2         5\n";
        assert!(shown.ends_with(inside), "{shown}");
    }
}
