//! The options of `vmaple mount`, `vmaple umount` and `vmaple run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

const MOUNT_EXAMPLES: &str = "Examples:
  mkdir -p /run/live/proc && vmaple mount --live /run/live/proc &
  smem -S /run/live                            # as without -S, and no process waits for it
  prometheus-process-exporter -procfs /run/live/proc
  vmaple umount /run/live/proc
  vmaple mount --demo DIR                      # then ls DIR, cat DIR/3999999/maps, again and again";

#[derive(Debug, Args)]
#[command(after_help = MOUNT_EXAMPLES)]
pub(crate) struct MountOptions {
    /// The running machine's /proc, in which maps, smaps and smaps_rollup come from scans
    #[arg(long, required_unless_present = "demo", conflicts_with = "demo")]
    pub(crate) live: bool,

    /// Two processes that exist nowhere else, to try programs on: address spaces of vmaple-mm
    #[arg(long)]
    pub(crate) demo: bool,

    /// An empty directory
    pub(crate) dir: PathBuf,

    /// Let other users in, each with the own rights
    #[arg(long)]
    pub(crate) allow_other: bool,

    #[command(flatten)]
    pub(crate) live_options: LiveArgs,
}

/// How scans are made for those who read.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    /// Show a scan to others with the same rights for this time; 0s: each read is a scan
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) max_age: Duration,

    /// CPU time of a process's smaps_rollup, which then counts a part of the pages, and has lines
    /// of margins more
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) cpu: Option<Duration>,
}

const RUN_EXAMPLES: &str = "Examples:
  vmaple run --proc -- htop
  vmaple run --proc -- sh -c 'cat /proc/1234/smaps'";

#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunOptions {
    /// Replace /proc by the tree of `vmaple mount --live`, for this command alone
    #[arg(long, required = true)]
    pub(crate) proc: bool,

    #[command(flatten)]
    pub(crate) live_options: LiveArgs,

    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
