//! One line for each run, for spreadsheets and scripts; times in nanoseconds.

use crate::error::Result;
use crate::sample::{Misreads, ModelStats, Sample};

use super::{Exporter, Report};

/// Writes the runs in the order in which they were made. A field is empty where there is no value.
#[derive(Clone, Copy, Debug)]
pub struct Csv;

/// A column's heading, and its field of a run.
type Column = (&'static str, fn(&Sample) -> String);

const COLUMNS: [Column; 36] = [
    ("target", |s| s.target.to_string()),
    ("file", |s| or_empty(s.file)),
    ("busy", |s| s.busy.to_string()),
    ("sample", |s| s.sample.to_string()),
    ("seed", |s| s.seed.to_string()),
    ("hang", |s| s.hang.to_string()),
    ("worst_ns", |s| or_empty(s.worst_ns)),
    ("cut_short", |s| s.cut_short.to_string()),
    ("operations", |s| s.operations.to_string()),
    ("maps", |s| s.maps.to_string()),
    ("unmaps", |s| s.unmaps.to_string()),
    ("elapsed_ns", |s| s.elapsed_ns.to_string()),
    ("in_calls_ns", |s| s.calls.total_ns.to_string()),
    ("mean_ns", |s| or_empty(s.calls.mean_ns().map(|ns| format!("{ns:.0}")))),
    ("p50_ns", |s| or_empty(s.calls.quantile_ns(0.5))),
    ("p99_ns", |s| or_empty(s.calls.quantile_ns(0.99))),
    ("p999_ns", |s| or_empty(s.calls.quantile_ns(0.999))),
    ("scans", |s| s.scans.to_string()),
    ("longest_scan_ns", |s| s.longest_scan_ns.to_string()),
    ("preemptions", |s| s.preemptions.to_string()),
    ("worst_fault_mapped_ns", |s| {
        or_empty(s.faults.as_ref().map(|f| f.mapped.max_ns))
    }),
    ("fault_mapped_cut_short", |s| {
        or_empty(s.faults.as_ref().map(|f| f.mapped_cut_short))
    }),
    ("worst_fault_fresh_ns", |s| {
        or_empty(s.faults.as_ref().map(|f| f.fresh.max_ns))
    }),
    ("fault_fresh_cut_short", |s| {
        or_empty(s.faults.as_ref().map(|f| f.fresh_cut_short))
    }),
    ("steal_ns", |s| s.steal_ns.values().sum::<u64>().to_string()),
    ("overlaps", |s| misreads(s, |misreads| misreads.overlaps)),
    ("misses", |s| misreads(s, |misreads| misreads.misses)),
    ("torn", |s| misreads(s, |misreads| misreads.torn)),
    ("resurrected", |s| misreads(s, |misreads| misreads.resurrected)),
    ("held_p50_ns", |s| model(s, |i| i.held.quantile_ns(0.5))),
    ("held_p999_ns", |s| model(s, |i| i.held.quantile_ns(0.999))),
    ("held_max_ns", |s| model(s, |i| Some(i.held.max_ns))),
    ("writer_waits", |s| model(s, |i| Some(i.writer_waits))),
    ("reader_waits", |s| model(s, |i| Some(i.reader_waits))),
    ("deferred_bytes", |s| model(s, |i| Some(i.deferred_bytes))),
    ("oldest_section_eras", |s| model(s, |i| Some(i.oldest_section_eras))),
];

fn or_empty(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn misreads(sample: &Sample, of: fn(Misreads) -> u64) -> String {
    or_empty(sample.misreads.map(of))
}

fn model(sample: &Sample, of: fn(&ModelStats) -> Option<u64>) -> String {
    or_empty(sample.model.as_ref().and_then(of))
}

impl Exporter for Csv {
    fn export(&self, report: &Report) -> Result<String> {
        let header = COLUMNS.map(|(heading, _)| heading).join(",");
        let line = |sample: &Sample| COLUMNS.map(|(_, field)| field(sample)).join(",");
        let lines = report.samples.iter().map(line);
        Ok(std::iter::once(header)
            .chain(lines)
            .flat_map(|line| [line, "\n".into()])
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{model, report, sample};
    use super::*;
    use crate::plan::{Reading, Target};

    #[test]
    fn every_line_has_as_many_fields_as_the_header() {
        let report = report(vec![
            sample(None, 0, &[], 0),
            sample(Some(Reading::SMAPS), 10, &[1.0, 2.0], 3),
            model(Target::V54, sample(Some(Reading::MAPS), 10, &[1.0, 2.0], 3)),
        ]);
        let text = Csv.export(&report).unwrap();
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
