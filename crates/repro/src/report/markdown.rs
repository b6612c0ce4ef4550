//! Tables for documents.

use std::fmt::Write;

use crate::error::Result;
use crate::sample::{Misreads, ModelStats};

use super::cells::{ms_cell, per_1000_cell, spread_cells, us_cell, worst_cell};
use super::series::{Series, levels, series};
use super::{Exporter, Report, heading, noise_line};

/// Writes every series of a report as a table, with the lines that say what it is.
#[derive(Clone, Copy, Debug)]
pub struct Markdown;

impl Exporter for Markdown {
    fn export(&self, report: &Report) -> Result<String> {
        Ok(markdown(report))
    }
}

impl Markdown {
    /// Writes several series side by side.
    #[must_use]
    pub fn compare(series: &[(String, Series)]) -> String {
        let mut text = String::from("| #busy |");
        // Writing to a String cannot fail.
        for (label, _) in series {
            let _ = write!(text, " {label}: median | min | max | hangs |");
        }
        text.push_str("\n|--:|");
        text.push_str(&"--:|".repeat(4 * series.len()));
        text.push('\n');
        for level in levels(series) {
            let _ = write!(text, "| {level} |");
            for (_, series) in series {
                match series.row_at(level) {
                    Some(row) => {
                        let [median, min, max] = spread_cells(row.worst);
                        let hangs = hangs_of(row.hangs, row.runs);
                        let _ = write!(text, " {median} | {min} | {max} | {hangs} |");
                    }
                    None => text.push_str(" | | | |"),
                }
            }
            text.push('\n');
        }
        text.push_str("\nWorst-case mmap()/munmap() latency of a run in milliseconds.\n");
        text
    }
}

fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for series in series(report) {
        let _ = writeln!(text, "{}\n", heading(report, series.target, series.file));
        text.push_str(
            "| #busy | worst: median | min | max | hangs | calls | mean | p99 | in call | calls >= 20 ms a run | scans | stall a scan | worst fault: mapped | fresh | verdict |\n\
             |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n",
        );
        for row in &series.rows {
            let [median, min, max] = spread_cells(row.worst);
            let fault = |worst: Option<_>| worst.map_or("-".to_owned(), |w| worst_cell(Some(w)));
            let _ = writeln!(
                text,
                "| {} | {median} | {min} | {max} | {} | {} | {} | {} | {:.1} % | {:.1} | {} | {} | {} | {} | {} |",
                row.busy,
                hangs_of(row.hangs, row.runs),
                row.calls.count,
                ms_cell(row.calls.mean_ns()),
                ms_cell(row.calls.quantile_ns(0.99).map(|ns| ns as f64)),
                row.in_call * 100.0,
                row.long_calls,
                row.scans,
                ms_cell(row.stall_per_scan_ns),
                fault(row.fault_mapped),
                fault(row.fault_fresh),
                row.verdict.text(),
            );
        }
        text.push('\n');
        if series
            .rows
            .iter()
            .any(|row| row.misreads.is_some() || row.model.is_some())
        {
            text.push_str(&seen_and_inside(&series));
        }
    }
    let ended = match &report.error {
        Some(error) => format!(" Ended early: {error}."),
        None if report.interrupted => " Interrupted before it was done.".to_owned(),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "Times in milliseconds. {} {} samples of {:.1} s a row, {} to {}.{ended}",
        noise_line(report),
        report.plan.samples,
        report.plan.duration_ns as f64 / 1e9,
        report.start,
        report.end,
    );
    text
}

/// Writes what the scanners read that was not so, and what a model reports of itself.
fn seen_and_inside(series: &Series) -> String {
    let mut text = String::from(
        "| #busy | per 1000 scans: overlaps | misses | torn | resurrected | lock held, us: p50 | p99.9 | max | writers waited | readers waited | KiB kept | eras kept |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in &series.rows {
        let misreads = |of: fn(&Misreads) -> u64| {
            let count = row.misreads.as_ref().map(of);
            count.map_or("-".to_owned(), |count| per_1000_cell(count, row.scans))
        };
        let model = |of: fn(&ModelStats) -> String| row.model.as_ref().map_or("-".to_owned(), of);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.busy,
            misreads(|s| s.overlaps),
            misreads(|s| s.misses),
            misreads(|s| s.torn),
            misreads(|s| s.resurrected),
            model(|i| us_cell(i.held.quantile_ns(0.5))),
            model(|i| us_cell(i.held.quantile_ns(0.999))),
            model(|i| us_cell((i.held.count > 0).then_some(i.held.max_ns))),
            model(|i| i.writer_waits.to_string()),
            model(|i| i.reader_waits.to_string()),
            model(|i| i.deferred_bytes.div_ceil(1024).to_string()),
            model(|i| i.oldest_section_eras.to_string()),
        );
    }
    text.push('\n');
    text
}

fn hangs_of(hangs: usize, runs: usize) -> String {
    if hangs == 0 {
        String::new()
    } else {
        format!("{hangs} of {runs}")
    }
}
