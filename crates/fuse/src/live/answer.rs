//! The files that a scan answers.

use std::ffi::OsStr;
use std::time::Duration;

use vmaple_scan::{Error, Method, Options, Process, Sample, Scan, Scanner, Strings, Want, append};

/// A file of a process that a scan answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Maps,
    Smaps,
    Rollup,
    Arguments,
    Environment,
}

/// The reason why there is no text.
pub(super) enum NoText {
    /// The scan failed.
    Scan(Error),
    /// It lacks something that the kernel's file has.
    Lacks(String),
}

impl Answer {
    const ALL: [Self; 5] = [
        Self::Maps,
        Self::Smaps,
        Self::Rollup,
        Self::Arguments,
        Self::Environment,
    ];

    /// Returns the answer that the file of this name is.
    pub(super) fn of(name: &OsStr) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| name == answer.name())
    }

    /// Returns the name of its file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Smaps => "smaps",
            Self::Rollup => "smaps_rollup",
            Self::Arguments => "cmdline",
            Self::Environment => "environ",
        }
    }

    /// Returns whether every user may read it of every process.
    pub(super) fn is_public(self) -> bool {
        self == Self::Arguments
    }

    /// Returns the answer whose scanners give this one too.
    pub(super) fn kind(self) -> Self {
        match self {
            Self::Maps | Self::Smaps => self,
            Self::Rollup | Self::Arguments | Self::Environment => Self::Rollup,
        }
    }

    /// Returns the options of a scanner that gives it. Sums take at most `cpu`.
    pub(super) fn options(self, cpu: Option<Duration>) -> Options {
        let options = Options::new().method(Method::Bpf);
        match self.kind() {
            Self::Maps => options.want(Want::Ranges),
            Self::Smaps => options,
            _ => options.sum_alone(true).sample(cpu.map_or(Sample::All, Sample::Cpu)),
        }
    }

    /// Scans a process, and returns the text of the file.
    ///
    /// # Errors
    /// What the scan lacks of it, or why it failed.
    pub(super) fn text(self, scanner: &mut Scanner, process: &Process) -> Result<Vec<u8>, NoText> {
        match self {
            Self::Arguments => strings(scanner.arguments(process)),
            Self::Environment => strings(scanner.environment(process)),
            Self::Maps | Self::Smaps | Self::Rollup => {
                let scan = scanner.scan_process(process).map_err(NoText::Scan)?;
                let text = self.written(&scan, scanner);
                scanner.reuse(scan);
                text
            }
        }
    }

    fn written(self, scan: &Scan, scanner: &Scanner) -> Result<Vec<u8>, NoText> {
        let report = scan.report();
        if let Some(partial) = report.partial {
            return Err(NoText::Lacks(partial.to_string()));
        }
        if let Some(left_out) = report.left_out.first() {
            return Err(NoText::Lacks(format!("{}: {}", left_out.line, left_out.why)));
        }
        let (form, fields) = (scanner.form(), scan.fields());
        let mut text = vec![];
        match self {
            Self::Maps => scan
                .records()
                .for_each(|record| append(&mut text, 128, |to| record.mapping.vma.write_line(to))),
            Self::Smaps => scan
                .records()
                .for_each(|record| append(&mut text, 1024, |to| form.write_smaps(&record.mapping, fields, to))),
            _ => {
                let sum = scan.rollup();
                append(&mut text, 1024, |to| {
                    form.write_rollup(sum.start..sum.end, &sum.stats, fields, to)
                });
                for margin in report.sampled.iter().flat_map(|sampled| &sampled.margins) {
                    let (label, kilobytes) = (margin.field.label(), margin.bytes().div_ceil(1024));
                    text.extend(format!("{:<16}{kilobytes:>8} kB\n", format!("Margin_{label}:")).bytes());
                }
            }
        }
        Ok(text)
    }
}

fn strings(strings: Result<Option<Strings>, Error>) -> Result<Vec<u8>, NoText> {
    match strings.map_err(NoText::Scan)? {
        Some(strings) if strings.is_whole() => Ok(strings.into_bytes()),
        _ => Err(NoText::Lacks("a part of it is swapped out".into())),
    }
}
