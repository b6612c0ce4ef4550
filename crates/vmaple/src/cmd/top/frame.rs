//! What a round found, as the screen shows it. Live rounds and recorded ones are the same text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::cmd::scan::shown;

/// A group in a round.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Group {
    pub(super) group: String,
    pub(super) processes: u64,
    pub(super) pss_bytes: u64,
    pub(super) uss_bytes: u64,
    pub(super) rss_bytes: u64,
    pub(super) swap_bytes: u64,
    #[serde(default)]
    pub(super) pss_margin_bytes: u64,
    pub(super) mappings: Option<u64>,
    pub(super) max_map_count_ratio: Option<f64>,
}

/// A round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Frame {
    /// UTC, RFC 3339.
    pub(super) time: String,
    /// What the groups have in common.
    pub(super) by: String,
    pub(super) groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Line {
    schema: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    by: String,
}

impl Frame {
    /// Returns the round of a text of groups; lines of another kind are left out.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self::all(text)?
            .pop_last()
            .map_or_else(Self::default, |(_, frame)| frame))
    }

    /// Returns the rounds of a file that was recorded.
    ///
    /// # Errors
    /// If it cannot be read, or has no round.
    pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Self>> {
        let what = || format!("--replay {}", path.display());
        let text = fs::read_to_string(path).with_context(what)?;
        let frames: Vec<_> = Self::all(&text).with_context(what)?.into_values().collect();
        if frames.is_empty() {
            bail!("{}: no round in it; vmaple top --record writes such a file", what());
        }
        Ok(frames)
    }

    /// Returns the rounds of a text, by their time.
    fn all(text: &str) -> anyhow::Result<Rounds> {
        let mut frames = Rounds::new();
        for (i, line) in text.lines().enumerate() {
            let head: Line = serde_json::from_str(line).with_context(|| format!("line {}", i + 1))?;
            if head.schema != "vmaple-groups/1" {
                continue;
            }
            let mut group: Group = serde_json::from_str(line).with_context(|| format!("line {}", i + 1))?;
            group.group = shown(&group.group);
            let frame = frames.entry(head.time.clone()).or_insert_with(|| Self {
                time: head.time,
                by: head.by,
                groups: vec![],
            });
            frame.groups.push(group);
        }
        Ok(frames)
    }
}

type Rounds = BTreeMap<String, Frame>;

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: &str = concat!(
        r#"{"schema":"vmaple-groups/1","time":"1","by":"pid","group":"7 a\u001b[2J","processes":1,"pss_bytes":5,"uss_bytes":4,"#,
        r#""rss_bytes":9,"swap_bytes":0,"mappings":null,"max_map_count_ratio":null}"#,
        "\n",
        r#"{"schema":"vmaple-scan/2","pid":9,"error":{}}"#,
        "\n",
        r#"{"schema":"vmaple-groups/1","time":"2","by":"pid","group":"8 b","processes":1,"pss_bytes":6,"uss_bytes":4,"#,
        r#""rss_bytes":9,"swap_bytes":0,"pss_margin_bytes":2,"mappings":3,"max_map_count_ratio":0.5}"#,
        "\n",
    );

    #[test]
    fn each_time_is_a_round_and_names_move_no_cursor() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("rounds");
        fs::write(&file, ROUNDS).unwrap();
        let frames = Frame::read(&file).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].groups[0].group, "7 a\u{fffd}[2J");
        assert_eq!(
            (frames[1].time.as_str(), frames[1].groups[0].pss_margin_bytes),
            ("2", 2)
        );
        assert_eq!(Frame::parse(ROUNDS).unwrap(), frames[1]);
        assert_eq!(Frame::parse("").unwrap(), Frame::default());
    }

    #[test]
    fn a_file_without_rounds_is_refused_with_what_would_do() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("rounds");
        fs::write(&file, "").unwrap();
        assert!(
            Frame::read(&file)
                .unwrap_err()
                .to_string()
                .contains("vmaple top --record")
        );
        fs::write(&file, "{}\n").unwrap();
        assert!(format!("{:#}", Frame::read(&file).unwrap_err()).contains("line 1"));
        assert!(format!("{:#}", Frame::read(&place.path().join("none")).unwrap_err()).contains("No such file"));
    }
}
