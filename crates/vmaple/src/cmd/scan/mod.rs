//! `vmaple scan`: the memory map of a process, and what was held to read it.

mod forms;
mod plan;
mod processes;
mod progress;
mod recordings;
mod rounds;
mod sample;
mod watch;

use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use vmaple_repro::Error;
use vmaple_scan::{Method, Options, Scanner};

use self::plan::Plan;
use self::processes::select::Selection;
use self::recordings::Recordings;
use self::rounds::Rounds;
use crate::cli::{ScanFormat, ScanOptions};
use crate::cmd::export::Export;
use crate::cmd::signals;
use crate::exit::Exit;

pub(super) use self::forms::table::{shown, size};
pub(super) use self::watch::{Round, Watch};

/// Keeps what a start has learnt of the kernel, until the machine starts again.
pub(in crate::cmd) const CACHE: &str = "/run/vmaple";

pub(crate) fn run(options: &ScanOptions) -> anyhow::Result<Exit> {
    let output = output(options)?;
    let is_for_people = output.is_none() && std::io::stdout().is_terminal();
    let plan = Plan::of(options, is_for_people)?;
    let selection = Selection::of(options)?;
    let recordings = Recordings::start(&options.record)?;
    let scanner = scanner(&plan, options)?;
    let mut rounds = Rounds::new(scanner, plan, selection, output, options);
    rounds.record(recordings);
    let exit = match options.every {
        None => rounds.round().map(|_| rounds.exit()),
        Some(every) => repeat(&mut rounds, every),
    };
    rounds.end()?;
    exit
}

/// Makes rounds until the processes have ended, the output has no reader, or a signal comes.
fn repeat(rounds: &mut Rounds, every: Duration) -> anyhow::Result<Exit> {
    processes::target::allow_many_to_be_open();
    let stop = signals::that_end(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT]).context("preparing for Ctrl-C")?;
    loop {
        let begin = Instant::now();
        let has_reader = rounds.round()?;
        if !has_reader || rounds.is_over() {
            return Ok(rounds.exit());
        }
        if is_stopped(&stop, every.saturating_sub(begin.elapsed()))? {
            return Ok(Exit::Interrupted);
        }
    }
}

/// Starts the scanner of a plan, and says what it could not start.
fn scanner(plan: &Plan, options: &ScanOptions) -> anyhow::Result<Scanner> {
    let scanner = Scanner::with(
        Options::new()
            .method(plan.method)
            .want(plan.want)
            .sum_alone(plan.needs_sums_alone())
            .budget(options.budget)
            .limit(options.limit)
            .sample(plan.sample)
            .ages(plan.ages)
            .cache(CACHE),
    );
    let scanner = match plan.method {
        Some(method) => scanner.with_context(|| format!("--method {method}"))?,
        None => scanner?,
    };
    for (method, why) in scanner.passed_over() {
        tell(&format!("vmaple: not by {method}: {why}"));
    }
    if scanner.method() == Method::Plain {
        tell(
            "warning: --method plain reads the kernel's files under their locks: while the reader is kept from its CPU, the process \
             waits; `vmaple doctor` counts the locks",
        );
    }
    Ok(scanner)
}

/// Returns the file for the results; `None` for standard output.
fn output(options: &ScanOptions) -> anyhow::Result<Option<Export>> {
    let export = options.output.as_deref().map(Export::check).transpose()?;
    let file = export.filter(|export| !export.is_stdout());
    // The format allows each metric once in a text.
    if options.format == Some(ScanFormat::Prometheus) && options.every.is_some() && file.is_none() {
        Err(Error::Usage(
            "--format prometheus --every: several rounds in one stream are no valid exposition; add --output FILE, which each round \
             replaces, or leave --every out"
                .into(),
        ))?;
    }
    Ok(file)
}

/// Writes a line to standard error. If that is closed, the scan goes on: results go to standard
/// output.
fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits, and returns whether a signal cut the wait short.
fn is_stopped(stop: &OwnedFd, time: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("waiting for the next scan")?;
        match poll(&mut [PollFd::new(stop, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => Err(e).context("waiting for the next scan")?,
        }
    }
}
