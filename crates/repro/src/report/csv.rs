//! One line for each run, for spreadsheets and scripts; times in nanoseconds.

use std::fmt::Write;

use super::Report;

const HEADER: &str = "target,file,busy,sample,seed,hang,worst_ns,cut_short,operations,maps,unmaps,elapsed_ns,in_calls_ns,\
mean_ns,p50_ns,p99_ns,p999_ns,scans,longest_scan_ns,preemptions,worst_fault_mapped_ns,fault_mapped_cut_short,worst_fault_fresh_ns,fault_fresh_cut_short,steal_ns,\
overlaps,misses,torn,resurrected,held_p50_ns,held_p999_ns,held_max_ns,writer_waits,reader_waits,deferred_bytes,oldest_section_eras\n";

/// The runs in the order in which they were made. A field is empty where there is no value.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut text = HEADER.to_owned();
    for s in &report.samples {
        let or_empty = |value: Option<u64>| value.map_or(String::new(), |v| v.to_string());
        let q = |share| or_empty(s.calls.quantile_ns(share));
        let faults = s.faults.as_ref();
        let inside = s.inside.as_ref();
        // Writing to a String can not fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            s.target.name(),
            s.file.map_or("", |f| f.name()),
            s.busy,
            s.sample,
            s.seed,
            s.hang,
            or_empty(s.worst_ns),
            s.cut_short,
            s.operations,
            s.maps,
            s.unmaps,
            s.elapsed_ns,
            s.calls.total_ns,
            s.calls.mean_ns().map_or(String::new(), |m| format!("{m:.0}")),
            q(0.5),
            q(0.99),
            q(0.999),
            s.scans,
            s.longest_scan_ns,
            s.preemptions,
            or_empty(faults.map(|f| f.mapped.max_ns)),
            faults.map_or(String::new(), |f| f.mapped_cut_short.to_string()),
            or_empty(faults.map(|f| f.fresh.max_ns)),
            faults.map_or(String::new(), |f| f.fresh_cut_short.to_string()),
            s.steal_ns.values().sum::<u64>(),
            or_empty(s.seen.map(|seen| seen.overlaps)),
            or_empty(s.seen.map(|seen| seen.misses)),
            or_empty(s.seen.map(|seen| seen.torn)),
            or_empty(s.seen.map(|seen| seen.resurrected)),
            or_empty(inside.and_then(|i| i.held.quantile_ns(0.5))),
            or_empty(inside.and_then(|i| i.held.quantile_ns(0.999))),
            or_empty(inside.map(|i| i.held.max_ns)),
            or_empty(inside.map(|i| i.writer_waits)),
            or_empty(inside.map(|i| i.reader_waits)),
            or_empty(inside.map(|i| i.deferred_bytes)),
            or_empty(inside.map(|i| i.oldest_section_eras)),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{model, report, sample};
    use super::*;
    use crate::plan::ProcFile;
    use crate::plan::Target;

    #[test]
    fn every_line_has_as_many_fields_as_the_header() {
        let text = csv(&report(vec![
            sample(None, 0, &[], 0),
            sample(Some(ProcFile::Smaps), 10, &[1.0, 2.0], 3),
            model(Target::V54, sample(Some(ProcFile::Maps), 10, &[1.0, 2.0], 3)),
        ]));
        let fields: Vec<_> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields, [fields[0]; 4]);
        assert!(
            text.lines()
                .nth(2)
                .is_some_and(|line| line.starts_with("kernel,smaps,10,0,1,false,2000000,"))
        );
        assert!(text.ends_with(",3,0,0,0,401,500,500,7,8,2048,5\n"), "{text}");
    }
}
