//! What the worst case alone does not show: the worst case is set by when the scheduler runs a preempted reader again,
//! whatever the lock.

use std::fmt::Write;

use super::{ms_cell, worst_cell};
use crate::stats::Series;

/// Two tables under the talk's: all calls of all runs, and what scanners and thread B went through.
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
        // Writing to a String can not fail.
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
    text
}
