//! `vmaple compare`: saved runs side by side.

use anyhow::Context;
use vmaple_repro::report::{self, Report};

use crate::cli::CompareOptions;
use crate::cmd::export::Export;
use crate::cmd::print;
use crate::exit::Exit;

pub(crate) fn run(options: &CompareOptions) -> anyhow::Result<Exit> {
    let check = |path: &Option<std::path::PathBuf>| path.as_deref().map(Export::check).transpose();
    let markdown = check(&options.export.export_markdown)?;
    let svg = check(&options.export.export_svg)?;

    let mut reports = Vec::new();
    for path in &options.reports {
        let context = || format!("{}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        reports.push(Report::from_json(&text).with_context(context)?);
    }
    let mut series: Vec<_> = reports.iter().flat_map(Report::labelled_series).collect();
    // Two runs of one file on one kernel are told apart by their file names.
    if (1..series.len()).any(|i| series[..i].iter().any(|(label, _)| *label == series[i].0)) {
        let stems = options
            .reports
            .iter()
            .map(|p| p.file_stem().unwrap_or_default().to_string_lossy());
        let counts = reports.iter().map(|r| r.plan.files.len());
        let names = stems.zip(counts).flat_map(|(stem, n)| std::iter::repeat_n(stem, n));
        for ((label, series), stem) in series.iter_mut().zip(names) {
            *label = format!("{stem} {}", series.file);
        }
    }
    warn_of_differences(&reports);
    let to_stdout = [&markdown, &svg].into_iter().flatten().any(Export::is_stdout);
    if !to_stdout {
        print(&report::compare(&series))?;
    }
    if let Some(export) = markdown {
        export.write(&report::markdown_compare(&series))?;
    }
    if let Some(export) = svg {
        export.write(&report::svg(
            "Worst case of mmap() and munmap() while others read the process's memory map",
            &series,
        )?)?;
    }
    Ok(Exit::Done)
}

/// Says where the reports differ in more than the kernel.
fn warn_of_differences(reports: &[Report]) {
    let Some((first, rest)) = reports.split_first() else {
        return;
    };
    for other in rest {
        let differs = [
            (first.machine.cpu != other.machine.cpu, "processors"),
            (first.plan.duration_ns != other.plan.duration_ns, "run lengths"),
            (first.plan.slice != other.plan.slice, "slices"),
            (first.plan.region_bytes != other.plan.region_bytes, "region sizes"),
            (first.plan.fragment != other.plan.fragment, "fragmentation"),
            (
                first.plan.busy_duration_ns != other.plan.busy_duration_ns,
                "busy durations",
            ),
            (first.plan.faults != other.plan.faults, "page fault threads"),
        ];
        for (_, what) in differs.iter().filter(|(differ, _)| *differ) {
            eprintln!("warning: the reports have different {what}: their figures are not of the same experiment");
        }
    }
}
