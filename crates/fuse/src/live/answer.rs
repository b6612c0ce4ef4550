//! The files that a scan answers.

use std::ffi::OsStr;

use vmaple_scan::{FieldSet, Method, Options, Scan, Scanner, Want, append};

/// A file of a process that a scan answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Maps,
    Smaps,
    Rollup,
}

impl Answer {
    pub(super) const ALL: [Self; 3] = [Self::Maps, Self::Smaps, Self::Rollup];

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
        }
    }

    /// Returns the options of a scanner that gives it.
    pub(super) fn options(self) -> Options {
        let options = Options::new().method(Method::Bpf);
        match self {
            Self::Maps => options.want(Want::Ranges),
            Self::Smaps => options,
            Self::Rollup => options.sum_alone(true),
        }
    }

    /// Returns the text of the file.
    ///
    /// # Errors
    /// What the scan lacks of it.
    pub(super) fn text(self, scan: &Scan, scanner: &Scanner) -> Result<Vec<u8>, String> {
        let report = scan.report();
        if let Some(partial) = report.partial {
            return Err(partial.to_string());
        }
        if let Some(left_out) = report.left_out.first() {
            return Err(format!("{} {}", left_out.line, left_out.why));
        }
        let form = scanner.form();
        let wanted: FieldSet = scan.fields();
        let mut text = vec![];
        match self {
            Self::Maps => {
                let records = scan.records();
                records.for_each(|record| append(&mut text, 128, |to| record.mapping.vma.write_line(to)));
            }
            Self::Smaps => {
                let records = scan.records();
                records.for_each(|record| append(&mut text, 1024, |to| form.write_smaps(&record.mapping, wanted, to)));
            }
            Self::Rollup => {
                let sum = scan.rollup();
                append(&mut text, 1024, |to| {
                    form.write_rollup(sum.start..sum.end, &sum.stats, wanted, to)
                });
            }
        }
        Ok(text)
    }
}
