//! `vmaple scan`: the memory map of a process, and what was held to read it.

mod json;
mod plan;
mod prometheus;

use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use vmaple_scan::{Counters, Error, Method, Options, Partial, Scan, Scanner, write_maps_line};

use self::plan::Plan;
use self::prometheus::Exposition;
use crate::cli::{ScanFormat, ScanOptions};
use crate::cmd::{print_bytes, signals};
use crate::exit::Exit;

pub(crate) fn run(options: &ScanOptions) -> anyhow::Result<Exit> {
    let plan = Plan::of(options)?;
    let scanner = Scanner::with(
        Options::new()
            .method(plan.method)
            .want(plan.want)
            .budget(options.budget)
            .limit(options.limit),
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
            "warning: by plain the kernel's files are read as they are, under its locks: a process can stall; `vmaple doctor` counts what they take",
        );
    }
    let targets = each_once(&options.pids);
    let mut rounds = Rounds {
        scanner,
        plan,
        format: options.format,
        headers: options.every.is_some() || targets.len() > 1,
        targets,
        repeats: options.every.is_some(),
        exit: Exit::Done,
    };
    let Some(every) = options.every else {
        rounds.round()?;
        return Ok(rounds.exit);
    };
    let stop = signals::that_end(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT]).context("preparing for Ctrl-C")?;
    loop {
        let begin = Instant::now();
        let has_reader = rounds.round()?;
        if !has_reader || rounds.targets.is_empty() {
            return Ok(rounds.exit);
        }
        if is_stopped(&stop, every.saturating_sub(begin.elapsed()))? {
            return Ok(Exit::Interrupted);
        }
    }
}

/// Writes a line to standard error. Nobody may listen there any more: what is scanned goes on to standard output.
fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits, and says whether it was cut short.
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

/// A process that is to be scanned.
struct Target {
    pid: u32,
    /// Whether it has been scanned.
    was_seen: bool,
}

fn each_once(pids: &[u32]) -> Vec<Target> {
    let mut targets: Vec<Target> = vec![];
    for &pid in pids {
        if !targets.iter().any(|target| target.pid == pid) {
            targets.push(Target { pid, was_seen: false });
        }
    }
    targets
}

/// What goes from one round of scans to the next.
struct Rounds {
    scanner: Scanner,
    plan: Plan,
    format: ScanFormat,
    targets: Vec<Target>,
    /// Whether text says whose it is.
    headers: bool,
    repeats: bool,
    /// The first thing that went wrong, if any.
    exit: Exit,
}

impl Rounds {
    /// Scans each process once and prints what it found; says whether somebody still reads it.
    fn round(&mut self) -> anyhow::Result<bool> {
        let mut exposition = Exposition::default();
        let mut text = vec![];
        for mut target in std::mem::take(&mut self.targets) {
            let scan = match self.scanner.scan(target.pid) {
                Ok(scan) => scan,
                Err(error) => {
                    if self.told(&target, &error) {
                        self.targets.push(target);
                    }
                    continue;
                }
            };
            target.was_seen = true;
            match scan.report().and_then(|report| report.partial) {
                Some(Partial::OutOfTime(_)) => self.failed(Exit::LimitExceeded),
                _ => {}
            }
            self.targets.push(target);
            if self.format == ScanFormat::Prometheus {
                exposition.add(&scan, &self.plan);
            } else {
                text.clear();
                self.write(&scan, &mut text)?;
                if !print_bytes(&text)? {
                    return Ok(false);
                }
                if let (Some(report), true) = (scan.report(), self.format != ScanFormat::Json) {
                    tell(&format!("process {}: {report}", scan.pid()));
                }
            }
            self.scanner.reuse(scan);
        }
        print_bytes(exposition.text().as_bytes())
    }

    /// Tells why a process was not scanned, and says whether it is to be tried again in the next round.
    fn told(&mut self, target: &Target, error: &Error) -> bool {
        let pid = target.pid;
        match error {
            error if error.is_gone() && target.was_seen => {
                tell(&format!("vmaple: process {pid} has ended"));
                return false;
            }
            _ => tell(&format!("vmaple: {error}")),
        }
        // Another program runs there now: the next scan is of that one.
        if matches!(error, Error::Executed(_)) && self.repeats {
            return true;
        }
        self.failed(Exit::of_scan(error));
        false
    }

    fn failed(&mut self, exit: Exit) {
        if self.exit == Exit::Done {
            self.exit = exit;
        }
    }

    fn write(&self, scan: &Scan, text: &mut Vec<u8>) -> anyhow::Result<()> {
        let form = self.scanner.form();
        let wanted = |field| self.plan.wants(field) && scan.has(field);
        if self.headers && self.format != ScanFormat::Json {
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            text.extend(format!("==> {} {time} <==\n", scan.pid()).bytes());
        }
        match (self.format, scan.counters()) {
            (ScanFormat::Json, _) => {
                serde_json::to_writer(&mut *text, &json::Object::new(scan, form, &self.plan))?;
                text.push(b'\n');
            }
            (_, Some(counters)) => text.extend(counters_text(counters, &self.plan).bytes()),
            (ScanFormat::Maps, None) => scan.records().for_each(|record| write_maps_line(&record.vma, text)),
            (ScanFormat::Smaps, None) => scan
                .records()
                .for_each(|record| form.write_smaps(&record, wanted, text)),
            (ScanFormat::Rollup | ScanFormat::Prometheus, None) => form.write_rollup(&scan.rollup(), wanted, text),
        }
        Ok(())
    }
}

/// Counters as a roll-up has its sums, with those of the cgroup behind.
fn counters_text(counters: &Counters, plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, bytes: u64| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<20}{:>8} kB", format!("{name}:"), bytes >> 10);
    };
    for &(name, bytes) in &counters.process {
        if plan.wants_counter(name) {
            line(name, bytes);
        }
    }
    if let (Some((path, lines)), true) = (&counters.cgroup, plan.wants_all()) {
        let _ = writeln!(text, "cgroup: {path}");
        for (name, bytes) in lines {
            let _ = writeln!(text, "{:<20}{:>8} kB", format!("cgroup.{name}:"), bytes >> 10);
        }
    }
    text
}
