//! The identity of a process: its name, and when it was started.

use std::fs;
use std::time::Duration;

use vmaple_scan::Process;

use super::stat::Stat;

pub(super) struct Identity {
    /// Any bytes: the kernel cuts a name after 15 bytes, even within a letter.
    pub(super) comm: Vec<u8>,
    /// The time from the machine's start. The kernel shows hundredths of a second.
    pub(super) started: Option<Duration>,
}

impl Identity {
    pub(super) fn of(process: &Process) -> Self {
        let stat = process.read_file("stat").ok().and_then(|stat| Stat::parse(&stat));
        match stat {
            Some(stat) => Self {
                comm: stat.comm,
                started: Some(stat.started),
            },
            None => Self {
                comm: vec![],
                started: None,
            },
        }
    }

    /// Returns the name as text, with U+FFFD for bytes that are none.
    pub(super) fn comm(&self) -> String {
        String::from_utf8_lossy(&self.comm).into_owned()
    }
}

/// Returns when the machine was started, after the beginning of 1970.
pub(super) fn boot_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(line.trim().parse().ok()?))
}
