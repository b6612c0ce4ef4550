//! The options of `vmaple top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::scan::{GroupBy, GroupOptions, PidArg, RecordOptions, ScanMethod, ScanOptions, SelectOptions, pid_arg};

const EXAMPLES: &str = "Examples:
  vmaple top                                   # every process of the machine
  vmaple top --group-by unit --cpu 50ms        # services, at most 50 ms of CPU time each round
  vmaple top --record night.jsonl              # also to a file, for vmaple top --replay night.jsonl

Keys: q quit, up and down select, left and right choose the column to sort by, I inverts the order, g changes the groups,
/ searches, space pauses; with --replay left and right go back and on";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopOptions {
    /// The processes; without any of these, and without a selection, every process
    #[arg(conflicts_with = "select", value_parser = pid_arg, value_name = "PID")]
    pub(crate) pids: Vec<PidArg>,

    #[command(flatten)]
    pub(crate) select: SelectOptions,

    /// What is one line
    #[arg(long, value_enum, default_value = "pid", value_name = "KEY")]
    pub(crate) group_by: GroupBy,

    /// The time from one round to the next
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) every: Duration,

    /// CPU time of a round in which to count pages; sums then have margins
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) cpu: Option<Duration>,

    /// Also write each round to FILE, as the JSON of vmaple scan --group-by
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Show the rounds of FILE instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "pids", "select", "cpu"])]
    pub(crate) replay: Option<PathBuf>,
}

impl TopOptions {
    /// Returns the options of the scan of a round.
    pub(crate) fn scan(&self) -> ScanOptions {
        let mut select = self.select.clone();
        select.all |= self.pids.is_empty();
        ScanOptions {
            pids: self.pids.clone(),
            select,
            group: GroupOptions {
                group_by: Some(self.group_by),
                top: None,
            },
            record: RecordOptions::default(),
            format: None,
            age: false,
            sums: false,
            summary: false,
            fields: vec![],
            method: ScanMethod::Auto,
            every: Some(self.every),
            output: None,
            quiet: true,
            verbose: false,
            budget: Duration::from_micros(200),
            cpu: self.cpu,
            sample: None,
            limit: Duration::from_secs(10),
        }
    }
}
