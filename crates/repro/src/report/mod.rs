//! A finished experiment, what its runs add up to, and the forms in which it is shown: one file
//! each.
//!
//! [`Report`] is what is saved. [`series()`] turns its runs into rows with verdicts, [`warnings()`]
//! says what may have spoilt them. Each [`Exporter`] writes a report in one form; the other
//! functions write the tables for a terminal.

mod cells;
mod compare;
mod csv;
mod details;
mod exporter;
#[cfg(test)]
pub(crate) mod fixture;
mod json;
mod markdown;
mod overview;
#[allow(clippy::module_inception)] // the report itself
mod report;
mod row;
mod series;
mod spread;
mod svg;
mod talk;
mod warning;

pub use compare::{compare, cures, scanners};
pub use csv::Csv;
pub use details::details;
pub use exporter::Exporter;
pub use json::Json;
pub use markdown::Markdown;
pub use overview::overview;
pub use report::{Noise, Report, SCHEMA};
pub use row::{ENOUGH_SCANS, LONG_CALL_NS, Row, STALL_FACTOR, STALL_NS, Verdict};
pub use series::{Series, series};
pub use spread::{Spread, Worst};
pub use svg::Svg;
pub use talk::{heading, noise_line, talk_table};
pub use warning::{Warning, warnings};
