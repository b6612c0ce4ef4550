//! The report of a scan on standard error: first what the result lacks, then one line.

use std::fmt::Write;
use std::time::Duration;

use vmaple_scan::{LeftOut, Method, Report, Validation};

use crate::cmd::scan::plan::{Loudness, Plan};
use crate::cmd::scan::sample::Drawn;

/// Returns why the result is incomplete, each reason with a heading in capitals; empty if it is
/// complete.
fn limits(report: &Report, plan: &Plan, loudness: Loudness) -> String {
    let mut all = vec![];
    if let Some(partial) = report.partial {
        all.push(format!("PARTIAL: {partial}"));
    }
    let left_out: Vec<_> = left_out(report, plan).collect();
    // One sentence for all fields that the same number of mappings lacks for the same reason.
    let like = |a: &&LeftOut, b: &&LeftOut| (a.mappings, a.of_sum, a.why) == (b.mappings, b.of_sum, b.why);
    let texts: Vec<_> = left_out
        .chunk_by(like)
        .map(|alike| lines(alike, report.method))
        .collect();
    if !texts.is_empty() {
        all.push(format!("LEFT OUT: {}", texts.join(", ")));
    }
    // Of many processes the last line says it of all.
    if let Some(sampled) = report.sampled.as_ref().filter(|_| loudness != Loudness::Quiet) {
        let mut drawn = Drawn::default();
        drawn.add(sampled);
        all.extend(drawn.text().map(|text| format!("SAMPLED: {text}")));
    }
    if let Some(rounded) = report.rounded.filter(|_| plan.has_rounded_sums()) {
        all.push(format!("ROUNDED: {rounded}"));
    }
    if let (Some(unvalidated @ 1..), Some(mappings)) = (report.unvalidated, report.mappings)
        && report.validation != Validation::Structure
    {
        all.push(format!("UNVALIDATED: {unvalidated} of {mappings} mappings"));
    }
    if let Some(cut @ 1..) = report.cut_names {
        all.push(format!("CUT: {cut} names, which begin with (cut)"));
    }
    all.join("; ")
}

/// Fields that are left out for the same reason.
fn lines(alike: &[&LeftOut], method: Method) -> String {
    let Some((last, others)) = alike.split_last() else {
        return String::new();
    };
    let others: String = others.iter().map(|left_out| format!("{}, ", left_out.line)).collect();
    match method {
        // Counters are of the whole process: there are no mappings and no sums of them.
        Method::Counters => format!("{others}{} ({})", last.line, last.why),
        _ => format!("{others}{last}"),
    }
}

/// Returns what the scan lacks.
pub(in crate::cmd::scan) fn left_out<'a>(report: &'a Report, plan: &Plan) -> impl Iterator<Item = &'a LeftOut> {
    report.left_out.iter().filter(|left_out| plan.lacks(left_out))
}

/// Returns the line for a scan of the process `pid`; nothing of a complete result if it is to be
/// quiet.
pub(in crate::cmd::scan) fn line(pid: u32, report: &Report, plan: &Plan, loudness: Loudness) -> Option<String> {
    let limits = limits(report, plan, loudness);
    if loudness == Loudness::Quiet && limits.is_empty() {
        return None;
    }
    let mut line = format!("process {pid}: ");
    if !limits.is_empty() {
        line += &limits;
        line += " | ";
    }
    // Writing to a string cannot fail.
    let _ = write!(line, "by {}: held {}", report.method, report.method.held());
    if let Some(thread) = report.thread {
        let _ = write!(line, "; by its thread {thread}, as the first has ended");
    }
    if loudness == Loudness::Full && report.method != Method::Counters {
        line += &details(report);
    }
    let _ = write!(line, "; {}", text(report.elapsed));
    Some(line)
}

/// Returns what was found, and in how many runs or reads.
fn details(report: &Report) -> String {
    let mut line = String::new();
    if let Some(mappings @ 1..) = report.mappings {
        let _ = write!(line, "; {mappings} mappings, {}", instant(report));
    }
    if let Some(later @ 1..) = report.counted_later {
        let _ = write!(line, ", {later} with writers inside while pages were counted");
    }
    let run = if report.method == Method::Bpf { "run" } else { "read" };
    let plural = if report.runs == 1 { "" } else { "s" };
    let _ = write!(
        line,
        "; {} {run}{plural}, longest {}",
        report.runs,
        text(report.longest_run)
    );
    if let Some(rejected @ 1..) = report.rejected {
        let _ = write!(line, ", {rejected} attempts rejected");
    }
    line
}

/// Returns whether the mappings are of one instant.
fn instant(report: &Report) -> String {
    match (report.snapshot, report.unvalidated.unwrap_or(0)) {
        (Some(_), _) => "a snapshot".to_owned(),
        (None, 0) => "each of one instant".to_owned(),
        (None, n) if Some(n) == report.mappings => format!("none validated ({})", report.validation),
        (None, n) => format!("{n} not validated"),
    }
}

/// Returns micro- or milliseconds, as text of similar length.
fn text(time: Duration) -> String {
    let ns = time.as_nanos();
    if ns < 1_000_000 {
        format!("{:.0} us", ns as f64 / 1e3)
    } else {
        format!("{:.1} ms", ns as f64 / 1e6)
    }
}
