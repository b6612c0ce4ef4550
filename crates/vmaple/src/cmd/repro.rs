//! `vmaple repro`: plan, run, report.

use std::io::{IsTerminal, stderr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use vmaple_repro::Error;
use vmaple_repro::machine::Machine;
use vmaple_repro::machine::sched::allowed_cpus;
use vmaple_repro::plan::{Cell, Listing, PlacementRequest, Plan, Reading, Scanner, Target};
use vmaple_repro::report::{self, Csv, Exporter, Json, Markdown, Report, Svg, Warning, series, warnings};
use vmaple_repro::run::experiment::{self, Progress};

use crate::cli::ReproOptions;
use crate::cmd::export::Export;
use crate::cmd::{print, signals};
use crate::exit::Exit;

/// Above this many busy tasks a machine that is not a guest is asked about first.
const MUCH_LOAD: u64 = 100;

/// The most rows in doubt that the first screen names; more are counted.
const FEW_WARNINGS: usize = 3;

pub(crate) fn run(options: &ReproOptions, argv: Vec<String>) -> anyhow::Result<Exit> {
    let plan = plan(options)?;
    let exports = Exports::check(options)?;
    experiment::check(&plan)?;
    describe(&plan);
    if options.dry_run {
        return Ok(Exit::Done);
    }
    let most = plan
        .busy
        .last()
        .map_or(0, |&n| u64::from(n) * plan.placement.busy.len() as u64);
    if most > MUCH_LOAD && !options.yes_load && !Machine::this().virtual_machine {
        Err(Error::Usage(format!(
            "{most} busy tasks on a machine that is not a guest: whatever else runs on its CPU {:?} stops for seconds; add --yes-load if that is what you want",
            plan.placement.busy
        )))?;
    }
    // SIGTSTP too: a stopped controller would leave its load running.
    let stop = signals::that_end(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP]).context("preparing for Ctrl-C")?;
    let exe = std::env::current_exe().context("finding this program's own file")?;
    let bar = progress_bar(&plan);
    let report = experiment::run(&plan, &exe, argv, stop.as_fd(), |progress| match progress {
        Progress::Starts(cell, sample) => bar.set_message(describe_run(cell, sample, &plan)),
        Progress::Up => {}
        Progress::Done(sample) => {
            let cell = Cell {
                target: sample.target,
                file: sample.file,
                busy: sample.busy,
            };
            bar.inc(plan.run_ns(cell) / 1_000_000);
        }
    })?;
    bar.finish_and_clear();
    let written = exports.write(&report);
    let (of_rows, of_report): (Vec<_>, Vec<_>) = warnings(&report).into_iter().partition(Warning::is_of_a_row);
    let few = options.details || of_rows.len() <= FEW_WARNINGS;
    for warning in of_report.iter().chain(of_rows.iter().filter(|_| few)) {
        eprintln!("warning: {warning}");
    }
    if !few {
        let rows = of_rows.len();
        eprintln!(
            "warning: {rows} rows are in doubt (too few scans, or noise as long as the figure); --details names them"
        );
    }
    if let Some(error) = &report.error {
        eprintln!(
            "vmaple: {error}; the results are those of the {} runs before",
            report.samples.len()
        );
    }
    match (verdict(&report, options), written) {
        (Exit::Done | Exit::LimitExceeded, Err(error)) => Err(error),
        (exit, written) => {
            if let Err(error) = written {
                eprintln!("vmaple: {error:#}");
            }
            Ok(exit)
        }
    }
}

/// Returns the plan that the options ask for.
fn plan(options: &ReproOptions) -> anyhow::Result<Plan> {
    let placement = PlacementRequest {
        mapper: options.cpu_mapper,
        controller: options.cpu_controller,
        first_busy: options.cpu_busy,
        busy_cpus: options.busy_cpus,
    }
    .place(&allowed_cpus()?)?;
    let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let preset = Plan::preset(options.preset.into(), placement);
    let plan = Plan {
        targets: options.target.clone().unwrap_or_default(),
        files: files(options)?,
        busy: options.busy.clone().unwrap_or(preset.busy),
        samples: options.samples.unwrap_or(preset.samples),
        duration_ns: options.duration.map_or(preset.duration_ns, ns),
        seed: options.seed,
        region_bytes: options.region.as_u64(),
        fragment: options.fragment,
        faults: !options.no_faults,
        slice: options.slice,
        busy_duration_ns: options.busy_duration.map(ns),
        freeze: options.freeze,
        placement: preset.placement,
    };
    let mut plan = match options.target {
        Some(_) => plan,
        None => plan.with_possible_targets(),
    };
    if options.file.is_none() && options.scanner.is_none() && !options.freeze && plan.targets.contains(&Target::Kernel)
    {
        // The cure on this kernel, where it is possible.
        let scans = [Listing::Maps, Listing::Smaps].map(Reading::Bpf);
        plan.files
            .extend(scans.into_iter().filter(|&scan| experiment::check_file(scan).is_ok()));
    }
    Ok(plan.checked()?)
}

/// Returns each file with each scanner that can read it.
fn files(options: &ReproOptions) -> anyhow::Result<Vec<Reading>> {
    let scanners = options.scanner.as_deref().unwrap_or(&[Scanner::Proc]);
    let default = [Reading::MAPS, Reading::SMAPS, Reading::Control];
    let mut all = vec![];
    for &file in options.file.as_deref().unwrap_or(&default) {
        // The control, and files that were named with their scanner.
        if file == Reading::Control || file.scanner() != Scanner::Proc {
            all.push(file);
            continue;
        }
        let by: Vec<_> = scanners.iter().filter_map(|&scanner| file.by(scanner)).collect();
        if by.is_empty() {
            Err(Error::Usage(format!(
                "--scanner: {file} is read by proc alone; bpf and boosted are for maps and smaps"
            )))?;
        }
        all.extend(by);
    }
    Ok(all)
}

/// Prints what the experiment will do, on standard error.
fn describe(plan: &Plan) {
    let targets: Vec<_> = plan.targets.iter().map(|t| t.name()).collect();
    let files: Vec<_> = plan.files.iter().map(|f| f.name()).collect();
    let levels: Vec<_> = plan.busy.iter().map(ToString::to_string).collect();
    let busiest = plan.cells().into_iter().map(|c| plan.tasks(c) - 1).max().unwrap_or(0);
    eprintln!(
        "Plan: {} runs of {} (targets {}; files {}; levels {}; {} samples), about {}.",
        plan.cells().len() * plan.samples as usize,
        humantime::format_duration(Duration::from_millis(plan.duration_ns / 1_000_000)),
        targets.join(", "),
        files.join(", "),
        levels.join(", "),
        plan.samples,
        humantime::format_duration(Duration::from_secs(plan.expected_ns() / 1_000_000_000 + 1)),
    );
    eprintln!(
        "Load: mapper on CPU {}, at most {} scanners ({}) and as many busy tasks on CPU {:?}, which is then 100 % busy.",
        plan.placement.mapper,
        busiest / 2,
        plan.slice,
        plan.placement.busy,
    );
}

fn describe_run(cell: Cell, sample: u32, plan: &Plan) -> String {
    let (number, kinds) = plan.number_of(cell);
    let (target, file) = (cell.target, cell.file.map_or("alone", |f| f.name()));
    format!(
        "{number} of {kinds}: {target} {file}, {} busy, sample {} of {}",
        cell.busy,
        sample + 1,
        plan.samples
    )
}

/// Returns a bar that is drawn between runs only: a ticker would be a load of its own. It is hidden
/// where standard error is no terminal.
fn progress_bar(plan: &Plan) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta} left  {msg}");
    ProgressBar::new(plan.expected_ns() / 1_000_000).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The files that the user wants, each with its form.
struct Exports {
    files: Vec<(Export, &'static dyn Exporter)>,
    /// Whether all tables are printed, or the first screen.
    details: bool,
}

impl Exports {
    fn check(options: &ReproOptions) -> anyhow::Result<Self> {
        let forms: [(&Option<PathBuf>, &'static dyn Exporter); 4] = [
            (&options.export_json, &Json),
            (&options.export_csv, &Csv),
            (&options.export.export_markdown, &Markdown),
            (&options.export.export_svg, &Svg),
        ];
        let wanted = forms
            .into_iter()
            .filter_map(|(path, form)| Some((path.as_deref()?, form)));
        let checked = wanted.map(|(path, form)| Ok((Export::check(path)?, form)));
        let exports = checked.collect::<anyhow::Result<Vec<_>>>()?;
        Export::check_distinct(exports.iter().map(|(export, _)| export))?;
        Ok(Self {
            files: exports,
            details: options.details,
        })
    }

    /// Writes every file, even if one fails. The tables go to standard output unless a file does.
    fn write(&self, report: &Report) -> anyhow::Result<()> {
        let tables = if self.files.iter().any(|(export, _)| export.is_stdout()) {
            Ok(())
        } else {
            print(&if self.details { tables(report) } else { screen(report) })
        };
        let write = |(export, form): &(Export, &dyn Exporter)| export.write(form.export(report)?);
        let written: Vec<_> = self.files.iter().map(write).collect();
        std::iter::once(tables).chain(written).collect()
    }
}

/// Returns the first screen: what stalls and for how long, one table, and where the rest is.
fn screen(report: &Report) -> String {
    let mut text = format!(
        "{}\n{}\n",
        report::overview(&series(report)),
        report::noise_line(report)
    );
    text += "--details prints every table, --export-json FILE saves every run.\n";
    if report.interrupted {
        text += "Interrupted: the table shows the runs that were done.\n";
    }
    text
}

fn tables(report: &Report) -> String {
    let mut text = String::new();
    let all = series(report);
    for series in &all {
        let heading = report::heading(report, series.target, series.file);
        text += &format!(
            "{heading}\n\n{}\n{}\n",
            report::talk_table(series),
            report::details(series)
        );
    }
    for side_by_side in report::cures(&all).into_iter().chain(report::scanners(&all)) {
        text += &format!("{side_by_side}\n");
    }
    text += &format!("{}\n", report::noise_line(report));
    if report.interrupted {
        text += "Interrupted: the tables show the runs that were done.\n";
    }
    text
}

fn verdict(report: &Report, options: &ReproOptions) -> Exit {
    let above = |limit: Duration| {
        let worst = report.samples.iter().filter_map(|s| s.worst_ns).max().unwrap_or(0);
        Duration::from_nanos(worst) > limit
    };
    if report.error.is_some() {
        Exit::Failed
    } else if report.interrupted {
        Exit::Interrupted
    } else if options.fail_above.is_some_and(above) || options.fail_on_hang && report.samples.iter().any(|s| s.hang) {
        Exit::LimitExceeded
    } else {
        Exit::Done
    }
}
