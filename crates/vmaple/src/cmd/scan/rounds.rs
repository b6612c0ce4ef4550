//! Rounds of scans: each process once, with the errors of those that could not be scanned.

use std::collections::HashMap;
use std::time::SystemTime;

use vmaple_scan::{Error, FieldSet, Partial, Process, Scan, Scanner, Strings, append};

use crate::cli::{GroupBy, ScanFormat, ScanOptions};
use crate::cmd::export::Export;
use crate::cmd::print_bytes;
use crate::cmd::scan::forms::group::Groups;
use crate::cmd::scan::forms::prometheus::Exposition;
use crate::cmd::scan::forms::treemap::Treemap;
use crate::cmd::scan::forms::{folded, json, rollup, said, summary};
use crate::cmd::scan::plan::{Loudness, Plan};
use crate::cmd::scan::processes::identity::Identity;
use crate::cmd::scan::processes::select::{Criteria, Found, Selection};
use crate::cmd::scan::processes::tally::Tally;
use crate::cmd::scan::processes::target::{Failure, Target};
use crate::cmd::scan::progress::Progress;
use crate::cmd::scan::recordings::Recordings;
use crate::cmd::scan::sample::{Shares, with_margins};
use crate::cmd::scan::tell;
use crate::exit::Exit;

/// The initial capacity for a line of maps, and for a record of smaps or its roll-up.
const MAPS_LINE: usize = 128;
const RECORD: usize = 1024;

/// The state that lasts from one round of scans to the next.
pub(super) struct Rounds {
    scanner: Scanner,
    plan: Plan,
    targets: Vec<Target>,
    /// `None` if the targets are given by number.
    criteria: Option<Criteria>,
    /// `None` if each process is printed.
    groups: Option<Groups>,
    /// `None` for standard output.
    output: Option<Export>,
    recordings: Recordings,
    /// Whether text has a heading for each process.
    headers: bool,
    repeats: bool,
    /// Lines for standard error that are not written yet.
    said: Vec<String>,
    /// The first error, if any.
    exit: Exit,
}

/// What a round has found so far.
struct Results {
    tally: Tally,
    exposition: Exposition,
    treemap: Treemap,
    /// What is not printed yet.
    text: Vec<u8>,
}

impl Results {
    fn new(kernel_threads: usize) -> Self {
        Self {
            tally: Tally::new(kernel_threads),
            exposition: Exposition::default(),
            treemap: Treemap::default(),
            text: vec![],
        }
    }
}

impl Rounds {
    pub(super) fn new(
        scanner: Scanner,
        plan: Plan,
        selection: Selection,
        output: Option<Export>,
        options: &ScanOptions,
    ) -> Self {
        let (targets, criteria) = match selection {
            Selection::Numbers(pids) => (Target::each_once(&pids), None),
            Selection::Matching(criteria) => (vec![], Some(criteria)),
        };
        Self {
            scanner,
            output,
            recordings: Recordings::default(),
            headers: options.every.is_some() || targets.len() > 1 || criteria.is_some(),
            targets,
            criteria,
            groups: plan.group_by.map(|by| Groups::new(by, options.group.top)),
            repeats: options.every.is_some(),
            plan,
            said: vec![],
            exit: Exit::Done,
        }
    }

    /// Sets the files that all rounds go to.
    pub(super) fn record(&mut self, recordings: Recordings) {
        self.recordings = recordings;
    }

    /// Ends the last round.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        self.recordings.end()
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns whether no process is left, and none will come.
    pub(super) fn is_over(&self) -> bool {
        self.targets.is_empty() && self.criteria.is_none()
    }

    /// Scans each process once and prints the results. Returns whether the output still has a
    /// reader.
    pub(super) fn round(&mut self) -> anyhow::Result<bool> {
        let found = self.look_for_targets()?;
        let mut results = Results::new(found.kernel_threads);
        let targets = std::mem::take(&mut self.targets);
        let mut progress = Progress::new(targets.len(), self.prints_each());
        let mut shares = Shares::new(self.plan.sample, targets.iter().map(|target| target.pid));
        for (i, target) in targets.into_iter().enumerate() {
            self.scanner.set_sample(shares.take());
            self.scan(target, &found, &mut results)?;
            if !self.said.is_empty() {
                progress.hidden(|| self.said.drain(..).for_each(|line| tell(&line)));
            }
            if self.output.is_none() {
                if !print_bytes(&results.text)? {
                    return Ok(false);
                }
                results.text.clear();
            }
            progress.show(i + 1);
        }
        drop(progress);
        self.recordings.end_round()?;
        self.close(&results.tally);
        let mut text = results.text;
        if let Some(groups) = &mut self.groups {
            text.extend(groups.take_text(self.plan.format, self.plan.is_for_people).bytes());
        }
        text.extend(results.exposition.text().bytes());
        text.extend(results.treemap.take_svg().unwrap_or_default().bytes());
        match &self.output {
            Some(file) => file.write(&text).map(|()| true),
            None => print_bytes(&text),
        }
    }

    /// Scans each process once, and returns the groups as JSON, and what is to be said.
    pub(super) fn groups(&mut self) -> anyhow::Result<(String, String)> {
        let found = self.look_for_targets()?;
        let mut results = Results::new(found.kernel_threads);
        let targets = std::mem::take(&mut self.targets);
        let mut shares = Shares::new(self.plan.sample, targets.iter().map(|target| target.pid));
        for target in targets {
            self.scanner.set_sample(shares.take());
            self.scan(target, &found, &mut results)?;
        }
        let groups = self.groups.as_mut();
        let groups = groups.map(|groups| groups.take_text(ScanFormat::Json, false));
        let said = self
            .said
            .drain(..)
            .chain([results.tally.to_string()])
            .collect::<Vec<_>>();
        Ok((groups.unwrap_or_default(), said.join("; ")))
    }

    /// Sets what the next rounds have in one group.
    pub(super) fn group_by(&mut self, by: GroupBy) {
        self.groups = Some(Groups::new(by, None));
    }

    /// Returns whether the text of each process is printed when it is scanned.
    fn prints_each(&self) -> bool {
        let is_at_once = matches!(self.plan.format, ScanFormat::Prometheus | ScanFormat::Treemap);
        self.output.is_none() && self.groups.is_none() && !is_at_once
    }

    /// Scans a process, and adds what it found to the results.
    fn scan(&mut self, mut target: Target, found: &Found, results: &mut Results) -> anyhow::Result<()> {
        let criteria = self.criteria.as_ref();
        let is_selected = |process: &Process| criteria.is_none_or(|all| all.still_match(process, found));
        match target.scan(&mut self.scanner, is_selected) {
            Ok(None) => {}
            Ok(Some((scan, process))) => {
                results.tally.scanned += 1;
                results.tally.add_drawn(scan.report());
                self.look_at(&scan);
                let is_identified =
                    self.groups.is_none() && matches!(self.plan.format, ScanFormat::Json | ScanFormat::Prometheus);
                let arguments = match is_identified || self.recordings.want_arguments() {
                    // A process that has ended since was scanned all the same.
                    true => self.scanner.arguments(process).ok().flatten().map(Strings::into_bytes),
                    false => None,
                };
                let identity = Identity::of(process).with_arguments(arguments);
                self.recordings.add(&scan, &identity)?;
                match (&mut self.groups, self.plan.format) {
                    (Some(groups), _) => groups.add(&identity, &scan),
                    (None, ScanFormat::Treemap) => results.treemap.add(&scan, &identity),
                    (None, ScanFormat::Prometheus) => results.exposition.add(&scan, &identity, &self.plan),
                    (None, _) => self.write(&scan, &identity, &mut results.text)?,
                }
                self.scanner.reuse(scan);
                self.keep(target);
            }
            Err(failure) => {
                let is_counted = self.criteria.is_some() && results.tally.counts(&failure);
                // A process that the caller may not read is missing, one that is gone is not.
                if !is_counted || matches!(failure.error, Error::NotPermitted(_)) {
                    self.write_failure(target.pid, &failure, results)?;
                }
                if !is_counted && self.failed(target.pid, &failure) {
                    self.keep(target);
                }
            }
        }
        Ok(())
    }

    /// Looks for the processes that match now. Those of the last round stay held open.
    fn look_for_targets(&mut self) -> anyhow::Result<Found> {
        let Some(criteria) = &self.criteria else {
            return Ok(Found::default());
        };
        let found = criteria.find()?;
        let known = std::mem::take(&mut self.targets);
        let mut known: HashMap<u32, Target> = known.into_iter().map(|target| (target.pid, target)).collect();
        let mut target = |&pid: &u32| known.remove(&pid).filter(|target| !target.has_ended());
        let targets = found
            .pids
            .iter()
            .map(|pid| target(pid).unwrap_or_else(|| Target::new(*pid)));
        self.targets = targets.collect();
        Ok(found)
    }

    /// Reports what became of the processes that were selected.
    fn close(&mut self, tally: &Tally) {
        if self.criteria.is_none() {
            return;
        }
        let is_in_vain = tally.scanned == 0 && !self.repeats;
        if self.plan.loudness != Loudness::Quiet || tally.lacks_some() || is_in_vain {
            tell(&format!("vmaple: {tally}"));
        }
        if tally.lacks_some() {
            self.exit_with(Exit::NotPossible);
        } else if is_in_vain {
            self.exit_with(Exit::Failed);
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
        if self.groups.is_none() && matches!(self.plan.format, ScanFormat::Json | ScanFormat::Prometheus) {
            return;
        }
        let is_one_of_many = self.criteria.is_some() || self.groups.is_some();
        let loudness = match self.plan.loudness {
            Loudness::Short if is_one_of_many => Loudness::Quiet,
            loudness => loudness,
        };
        self.said.extend(said::line(scan.pid(), report, &self.plan, loudness));
    }

    /// Prints why a process was not scanned. Returns whether the next round tries it again.
    fn failed(&mut self, pid: u32, failure: &Failure) -> bool {
        if failure.has_ended {
            self.said.push(format!("vmaple: process {pid} has ended"));
            return false;
        }
        self.said.push(format!("vmaple: {}", failure.error));
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

    fn write_failure(&self, pid: u32, failure: &Failure, results: &mut Results) -> anyhow::Result<()> {
        match self.plan.format {
            ScanFormat::Prometheus => results.exposition.add_failure(pid, failure),
            ScanFormat::Json => {
                serde_json::to_writer(&mut results.text, &json::FailureObject::new(pid, failure))?;
                results.text.push(b'\n');
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&self, scan: &Scan, identity: &Identity<'_>, text: &mut Vec<u8>) -> anyhow::Result<()> {
        let form = self.scanner.form();
        let wanted: FieldSet = scan.fields().iter().filter(|&field| self.plan.wants(field)).collect();
        if self.headers && !matches!(self.plan.format, ScanFormat::Json | ScanFormat::Folded) {
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            text.extend(format!("==> {} {time} <==\n", scan.pid()).bytes());
        }
        match (self.plan.format, scan.counters()) {
            (ScanFormat::Json, _) => {
                serde_json::to_writer(&mut *text, &json::Object::new(scan, identity, form, &self.plan))?;
                text.push(b'\n');
            }
            (_, Some(counters)) => rollup::write(counters, form, &self.plan, text),
            (ScanFormat::Folded, None) => text.extend(folded::text(scan, identity).bytes()),
            (ScanFormat::Summary, None) => {
                text.extend(summary::text(scan, identity, self.plan.is_for_people).bytes());
            }
            (ScanFormat::Maps, None) => scan
                .records()
                .for_each(|record| append(text, MAPS_LINE, |to| record.mapping.vma.write_line(to))),
            (ScanFormat::Smaps, None) => scan
                .records()
                .for_each(|record| append(text, RECORD, |to| form.write_smaps(&record.mapping, wanted, to))),
            (ScanFormat::Rollup | ScanFormat::Csv | ScanFormat::Prometheus | ScanFormat::Treemap, None) => {
                let sum = scan.rollup();
                let mut rollup = vec![];
                append(&mut rollup, RECORD, |to| {
                    form.write_rollup(sum.start..sum.end, &sum.stats, wanted, to)
                });
                match &scan.report().sampled {
                    Some(sampled) => text.extend(with_margins(&rollup, sampled)),
                    None => text.extend(rollup),
                }
            }
        }
        Ok(())
    }
}
