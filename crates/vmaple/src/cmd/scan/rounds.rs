//! Rounds of scans: each process once, with the errors of those that could not be scanned.

use std::time::SystemTime;

use vmaple_scan::{Error, FieldSet, Partial, Scan, Scanner, append};

use super::identity::Identity;
use super::plan::Plan;
use super::prometheus::Exposition;
use super::target::{Failure, Target};
use super::{json, rollup, said, tell};
use crate::cli::{ScanFormat, ScanOptions};
use crate::cmd::export::Export;
use crate::cmd::print_bytes;
use crate::exit::Exit;

/// The initial capacity for a line of maps, and for a record of smaps or its roll-up.
const MAPS_LINE: usize = 128;
const RECORD: usize = 1024;

/// The state that lasts from one round of scans to the next.
pub(super) struct Rounds {
    scanner: Scanner,
    plan: Plan,
    format: ScanFormat,
    targets: Vec<Target>,
    /// `None` for standard output.
    output: Option<Export>,
    /// Whether text has a heading for each process.
    headers: bool,
    repeats: bool,
    is_quiet: bool,
    /// The first error, if any.
    exit: Exit,
}

impl Rounds {
    pub(super) fn new(scanner: Scanner, plan: Plan, output: Option<Export>, options: &ScanOptions) -> Self {
        let targets = Target::each_once(&options.pids);
        Self {
            scanner,
            plan,
            format: options.format,
            output,
            headers: options.every.is_some() || targets.len() > 1,
            targets,
            repeats: options.every.is_some(),
            is_quiet: options.quiet,
            exit: Exit::Done,
        }
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns whether no process is left.
    pub(super) fn is_over(&self) -> bool {
        self.targets.is_empty()
    }

    /// Scans each process once and prints the results. Returns whether the output still has a
    /// reader.
    pub(super) fn round(&mut self) -> anyhow::Result<bool> {
        let mut exposition = Exposition::default();
        let mut text = vec![];
        for mut target in std::mem::take(&mut self.targets) {
            match target.scan(&mut self.scanner) {
                Ok((scan, identity)) => {
                    self.look_at(&scan);
                    match self.format {
                        ScanFormat::Prometheus => exposition.add(&scan, &identity, &self.plan),
                        _ => self.write(&scan, &identity, &mut text)?,
                    }
                    self.scanner.reuse(scan);
                    self.keep(target);
                }
                Err(failure) => {
                    match self.format {
                        ScanFormat::Prometheus => exposition.add_failure(target.pid, &failure),
                        ScanFormat::Json => {
                            serde_json::to_writer(&mut text, &json::FailureObject::new(target.pid, &failure))?;
                            text.push(b'\n');
                        }
                        _ => {}
                    }
                    if self.failed(target.pid, &failure) {
                        self.keep(target);
                    }
                }
            }
            if self.output.is_none() {
                if !print_bytes(&text)? {
                    return Ok(false);
                }
                text.clear();
            }
        }
        text.extend(exposition.text().bytes());
        match &self.output {
            Some(file) => file.write(&text).map(|()| true),
            None => print_bytes(&text),
        }
    }

    fn keep(&mut self, mut target: Target) {
        if !self.repeats {
            target.close();
        }
        self.targets.push(target);
    }

    /// Prints the report of a scan.
    fn look_at(&mut self, scan: &Scan) {
        let report = scan.report();
        if let Some(Partial::OutOfTime(_)) = report.partial {
            self.exit_with(Exit::LimitExceeded);
        }
        // JSON and metrics carry all of it.
        if matches!(self.format, ScanFormat::Json | ScanFormat::Prometheus) {
            return;
        }
        if let Some(line) = said::line(scan.pid(), report, &self.plan, self.is_quiet) {
            tell(&line);
        }
    }

    /// Prints why a process was not scanned. Returns whether the next round tries it again.
    fn failed(&mut self, pid: u32, failure: &Failure) -> bool {
        if failure.has_ended {
            tell(&format!("vmaple: process {pid} has ended"));
            return false;
        }
        tell(&format!("vmaple: {}", failure.error));
        // It runs another program now, which the next round scans.
        if matches!(failure.error, Error::Executed(_)) && self.repeats {
            return true;
        }
        self.exit_with(Exit::of_scan(&failure.error));
        false
    }

    fn exit_with(&mut self, exit: Exit) {
        if self.exit == Exit::Done {
            self.exit = exit;
        }
    }

    fn write(&self, scan: &Scan, identity: &Identity, text: &mut Vec<u8>) -> anyhow::Result<()> {
        let form = self.scanner.form();
        let wanted: FieldSet = scan.fields().iter().filter(|&field| self.plan.wants(field)).collect();
        if self.headers && self.format != ScanFormat::Json {
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            text.extend(format!("==> {} {time} <==\n", scan.pid()).bytes());
        }
        match (self.format, scan.counters()) {
            (ScanFormat::Json, _) => {
                serde_json::to_writer(&mut *text, &json::Object::new(scan, identity, form, &self.plan))?;
                text.push(b'\n');
            }
            (_, Some(counters)) => rollup::write(counters, form, &self.plan, text),
            (ScanFormat::Maps, None) => scan
                .records()
                .for_each(|record| append(text, MAPS_LINE, |to| record.mapping.vma.write_line(to))),
            (ScanFormat::Smaps, None) => scan
                .records()
                .for_each(|record| append(text, RECORD, |to| form.write_smaps(&record.mapping, wanted, to))),
            (ScanFormat::Rollup | ScanFormat::Prometheus, None) => {
                let sum = scan.rollup();
                append(text, RECORD, |to| {
                    form.write_rollup(sum.start..sum.end, &sum.stats, wanted, to)
                });
            }
        }
        Ok(())
    }
}
