//! A finished experiment and the forms in which it is shown: one file each.

mod compare;
mod csv;
mod details;
#[cfg(test)]
pub(crate) mod fixture;
mod markdown;
pub mod stats;
mod svg;
mod talk;
pub mod warning;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compare::{compare, cures, scanners};
pub use csv::csv;
pub use details::details;
pub use markdown::{markdown, markdown_compare};
pub use svg::svg;
pub use talk::{heading, noise_line, talk_table};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::machine::noise::Gap;
use crate::plan::Plan;
use crate::report::stats::{Spread, Worst};
use crate::sample::Sample;

/// Name and version of the JSON form. A change that a reader could stumble over raises the number.
pub const SCHEMA: &str = "vmaple-repro/1";

/// The machine's own share in every worst case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noise {
    /// Gaps of pinned spinners before the first run.
    pub before: Vec<Gap>,
    /// The same after the last; empty if the experiment ended before it was done.
    pub after: Vec<Gap>,
}

impl Noise {
    /// The longest gap on any CPU.
    #[must_use]
    pub fn longest_gap_ns(&self) -> u64 {
        self.gaps().into_values().max().unwrap_or(0)
    }

    /// The longest gap of each CPU.
    #[must_use]
    pub fn gaps(&self) -> BTreeMap<usize, u64> {
        let mut gaps = BTreeMap::new();
        for gap in self.before.iter().chain(&self.after) {
            let longest = gaps.entry(gap.cpu).or_insert(0);
            *longest = gap.longest_ns.max(*longest);
        }
        gaps
    }
}

/// An experiment's settings, surroundings and every sample: all that any table or plot is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// The command line.
    pub argv: Vec<String>,
    /// When it started (RFC 3339, UTC).
    pub start: String,
    /// When it ended.
    pub end: String,
    /// Whether the user stopped it before it was done.
    pub interrupted: bool,
    /// Why a run failed, which ended the experiment before it was done.
    pub error: Option<String>,
    /// Machine and kernel.
    pub machine: Machine,
    /// Whether the controller had real-time priority, so that it was never starved by its own load.
    pub real_time_controller: bool,
    /// The settings.
    pub plan: Plan,
    /// The noise floor.
    pub noise: Noise,
    /// The runs, in the order in which they were made.
    pub samples: Vec<Sample>,
}

impl Report {
    /// The JSON form, as `docs/json.md` describes it.
    ///
    /// # Errors
    /// Fails if memory runs out.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map(|json| json + "\n")
            .map_err(|e| Error::failed("writing JSON", e))
    }

    /// Reads the JSON form back.
    ///
    /// # Errors
    /// Fails for anything but a complete report of this version's schema.
    pub fn from_json(text: &str) -> Result<Self> {
        let reading = "reading a report";
        #[derive(Deserialize)]
        struct Tagged {
            schema: Option<String>,
        }
        let bad = |e: serde_json::Error| match e.classify() {
            serde_json::error::Category::Eof => Error::failed(reading, format!("the file is cut short ({e})")),
            _ => Error::failed(reading, e),
        };
        match serde_json::from_str::<Tagged>(text).map_err(bad)?.schema {
            Some(schema) if schema == SCHEMA => {}
            Some(other) => {
                let why = format!("its schema is '{other}', this program reads '{SCHEMA}'");
                return Err(Error::failed(reading, why));
            }
            None => return Err(Error::failed(reading, "it is JSON, but no report of vmaple repro")),
        }
        let report: Self = serde_json::from_str(text).map_err(bad)?;
        for sample in &report.samples {
            sample.calls.check()?;
            if let Some(faults) = &sample.faults {
                faults.mapped.check()?;
                faults.fresh.check()?;
            }
            if let Some(inside) = &sample.inside {
                inside.held.check()?;
            }
        }
        Ok(report)
    }

    /// Time that the hypervisor withheld during the runs, in nanoseconds by CPU.
    #[must_use]
    pub fn steal_ns(&self) -> BTreeMap<usize, u64> {
        let mut all = BTreeMap::new();
        for (&cpu, ns) in self.samples.iter().flat_map(|s| &s.steal_ns) {
            let sum: &mut u64 = all.entry(cpu).or_default();
            *sum = sum.saturating_add(*ns);
        }
        all
    }
}

/// A time in milliseconds in the talk's nine columns and three decimals; a lower bound with `>=` and fewer decimals.
fn worst_cell(worst: Option<Worst>) -> String {
    let Some(worst) = worst else {
        return "none".to_owned();
    };
    let ms = worst.ns / crate::machine::NS_PER_MS;
    if !worst.at_least {
        return format!("{ms:.3}");
    }
    (0..=3)
        .rev()
        .map(|decimals| format!(">={ms:.decimals$}"))
        .find(|text| text.len() <= 9)
        .unwrap_or_else(|| format!(">={ms:.0}"))
}

/// Median, minimum and maximum as [`worst_cell`]s.
fn spread_cells(spread: Option<Spread>) -> [String; 3] {
    let of = |pick: fn(Spread) -> Worst| worst_cell(spread.map(pick));
    [of(|s| s.median), of(|s| s.min), of(|s| s.max)]
}

/// The number of hangs as in the talk: `*23`, or nothing.
fn hangs_cell(hangs: usize) -> String {
    if hangs == 0 { String::new() } else { format!("*{hangs}") }
}

/// Nanoseconds as microseconds with two decimals, or `-`.
fn us_cell(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.2}", ns as f64 / 1e3))
}

/// How many there are in a thousand scans, or `-` without scans.
fn per_1000_cell(count: u64, scans: u64) -> String {
    match scans {
        0 => "-".to_owned(),
        scans => format!("{:.1}", count as f64 * 1e3 / scans as f64),
    }
}

/// Nanoseconds as milliseconds with three decimals, or `-`.
fn ms_cell(ns: Option<f64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.3}", ns / crate::machine::NS_PER_MS))
}

#[cfg(test)]
mod tests {
    use super::fixture::{hung, model, report, sample};
    use super::*;
    use crate::plan::ProcFile;
    use crate::plan::Target;

    fn small() -> Report {
        report(vec![
            sample(None, 0, &[0.05, 0.141], 0),
            hung(sample(Some(ProcFile::Maps), 1000, &[10_013.9], 40)),
        ])
    }

    #[test]
    fn a_report_survives_json() {
        let report = small();
        assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
    }

    #[test]
    fn a_report_from_before_there_were_targets_can_be_read() {
        let mut report = small();
        let json = report.to_json().unwrap();
        let old = json
            .replace("\"targets\":[\"kernel\"],", "")
            .replace("\"freeze\":false,", "")
            .replace(",\"seen\":null,\"inside\":null", "");
        for new in ["targets", "freeze", "seen", "inside"] {
            assert!(json.contains(new) && !old.contains(new), "{new}");
        }
        assert_eq!(Report::from_json(&old).unwrap(), report);
        report.samples[1] = model(Target::Maple, report.samples[1].clone());
        report.plan.targets.push(Target::Maple);
        assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
    }

    #[test]
    fn json_that_is_cut_short_foreign_or_of_another_version_is_told_apart() {
        let json = small().to_json().unwrap();
        let error = |text: &str| Report::from_json(text).unwrap_err().to_string();
        assert!(error(&json[..json.len() / 2]).contains("cut short"));
        assert!(error("").contains("cut short"));
        assert!(error("{\"a\": 1}").contains("no report"));
        assert!(error("[1]").contains("invalid type"));
        assert!(error(&json.replace(SCHEMA, "vmaple-repro/99")).contains("vmaple-repro/99"));
        let lie = json.replace("\"count\":2", "\"count\":3");
        assert_ne!(lie, json);
        assert!(error(&lie).contains("do not add up"));
    }

    #[test]
    fn a_worst_case_fits_the_talks_nine_columns() {
        let cell = |ms: f64, at_least| worst_cell(Some(Worst { ns: ms * 1e6, at_least }));
        assert_eq!(cell(0.0964, false), "0.096");
        assert_eq!(cell(12_020.7, false), "12020.700");
        assert_eq!(cell(8.5, true), ">=8.500");
        assert_eq!(cell(10_013.914, true), ">=10013.9");
        assert_eq!(cell(123_456.7, true), ">=123457");
        assert_eq!(worst_cell(None), "none");
    }
}
