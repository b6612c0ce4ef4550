//! The form in which a report is saved whole, and read back. `docs/json.md` describes it.

use serde::Deserialize;

use crate::error::{Error, Result};

use super::{Exporter, Report, SCHEMA};

/// Writes settings, surroundings and every run with its histogram.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Exporter for Json {
    fn export(&self, report: &Report) -> Result<String> {
        serde_json::to_string(report)
            .map(|json| json + "\n")
            .map_err(|e| Error::failed("writing JSON", e))
    }
}

impl Json {
    /// Reads a report back.
    ///
    /// # Errors
    /// Fails for anything but a complete report of this version's schema.
    pub fn read(text: &str) -> Result<Report> {
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
        let report: Report = serde_json::from_str(text).map_err(bad)?;
        for sample in &report.samples {
            sample.calls.check()?;
            if let Some(faults) = &sample.faults {
                faults.mapped.check()?;
                faults.fresh.check()?;
            }
            if let Some(model) = &sample.model {
                model.held.check()?;
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hung, model, report, sample};
    use super::*;
    use crate::plan::{Reading, Target};

    fn small() -> Report {
        report(vec![
            sample(None, 0, &[0.05, 0.141], 0),
            hung(sample(Some(Reading::MAPS), 1000, &[10_013.9], 40)),
        ])
    }

    #[test]
    fn a_report_survives_json() {
        let report = small();
        assert_eq!(Json::read(&Json.export(&report).unwrap()).unwrap(), report);
    }

    #[test]
    fn a_report_from_before_there_were_targets_can_be_read() {
        let mut report = small();
        let json = Json.export(&report).unwrap();
        let old = json
            .replace("\"targets\":[\"kernel\"],", "")
            .replace("\"freeze\":false,", "")
            .replace(",\"seen\":null,\"inside\":null", "");
        for new in ["targets", "freeze", "seen", "inside"] {
            assert!(json.contains(new) && !old.contains(new), "{new}");
        }
        assert_eq!(Json::read(&old).unwrap(), report);
        report.samples[1] = model(Target::Maple, report.samples[1].clone());
        report.plan.targets.push(Target::Maple);
        assert_eq!(Json::read(&Json.export(&report).unwrap()).unwrap(), report);
    }

    #[test]
    fn json_that_is_cut_short_foreign_or_of_another_version_is_told_apart() {
        let json = Json.export(&small()).unwrap();
        let error = |text: &str| Json::read(text).unwrap_err().to_string();
        assert!(error(&json[..json.len() / 2]).contains("cut short"));
        assert!(error("").contains("cut short"));
        assert!(error("{\"a\": 1}").contains("no report"));
        assert!(error("[1]").contains("invalid type"));
        assert!(error(&json.replace(SCHEMA, "vmaple-repro/99")).contains("vmaple-repro/99"));
        let lie = json.replace("\"count\":2", "\"count\":3");
        assert_ne!(lie, json);
        assert!(error(&lie).contains("do not add up"));
    }
}
