//! `vmaple compare`: prints saved runs side by side.

use std::path::PathBuf;

use anyhow::Context;
use vmaple_repro::report::{self, Json, Markdown, Report, Series, Svg};

use crate::cli::CompareOptions;
use crate::cmd::export::Export;
use crate::cmd::print;
use crate::exit::Exit;

pub(crate) fn run(options: &CompareOptions) -> anyhow::Result<Exit> {
    let check = |path: &Option<PathBuf>| path.as_deref().map(Export::check).transpose();
    let markdown = check(&options.export.export_markdown)?;
    let svg = check(&options.export.export_svg)?;
    Export::check_distinct(markdown.iter().chain(&svg))?;

    let mut reports = Vec::new();
    for path in &options.reports {
        let context = || format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        reports.push(Json::read(&text).with_context(context)?);
    }
    let series = labelled(&reports, &options.reports);
    warn_of_differences(&reports);
    if ![&markdown, &svg].into_iter().flatten().any(Export::is_stdout) {
        let mut text = report::compare(&series);
        for (report, path) in reports.iter().zip(&options.reports) {
            let (machine, noise) = (&report.machine, report::noise_line(report));
            let cut = if report.interrupted || report.error.is_some() {
                " Ended early."
            } else {
                ""
            };
            text += &format!("{}: {machine}. {noise}{cut}\n", path.display());
        }
        print(&text)?;
    }
    if let Some(export) = markdown {
        export.write(Markdown::compare(&series))?;
    }
    if let Some(export) = svg {
        export.write(Svg::compare(&series)?)?;
    }
    Ok(Exit::Done)
}

/// Returns all series, each with a unique name: target and file with the kernel, or else with the
/// report's file name, or else with its number.
fn labelled(reports: &[Report], paths: &[PathBuf]) -> Vec<(String, Series)> {
    let all = || reports.iter().zip(paths).enumerate();
    let with = |name: &dyn Fn(usize, &Report, &PathBuf) -> String| -> Vec<(String, Series)> {
        all()
            .flat_map(|(i, (report, path))| {
                let name = name(i, report, path);
                report::series(report)
                    .into_iter()
                    .map(move |series| (format!("{} {name}", series.label()), series))
            })
            .collect()
    };
    let distinct = |series: &[(String, Series)]| {
        let mut labels: Vec<_> = series.iter().map(|(label, _)| label).collect();
        labels.sort_unstable();
        labels.windows(2).all(|pair| pair[0] != pair[1])
    };
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    [
        with(&|_, report, _| report.machine.release.clone()),
        with(&|_, _, path| stem(path)),
    ]
    .into_iter()
    .find(|series| distinct(series))
    .unwrap_or_else(|| with(&|i, _, path| format!("#{} {}", i + 1, stem(path))))
}

/// Warns where the reports differ in more than the kernel.
fn warn_of_differences(reports: &[Report]) {
    let Some((first, rest)) = reports.split_first() else {
        return;
    };
    for other in rest {
        let differs = [
            (first.machine.cpu != other.machine.cpu, "processors"),
            (
                first.plan.placement.busy.len() != other.plan.placement.busy.len(),
                "numbers of busy CPUs",
            ),
            (first.plan.duration_ns != other.plan.duration_ns, "run lengths"),
            (first.plan.slice != other.plan.slice, "slices"),
            (first.plan.region_bytes != other.plan.region_bytes, "region sizes"),
            (first.plan.freeze != other.plan.freeze, "settings of --freeze"),
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
