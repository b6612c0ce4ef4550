//! The identity of a process: its name, and when it was started.

use std::fs;
use std::time::Duration;

use vmaple_scan::Process;

pub(super) struct Identity {
    /// Any bytes: the kernel cuts a name after 15 bytes, even within a letter.
    pub(super) comm: Vec<u8>,
    /// The time from the machine's start. The kernel shows hundredths of a second.
    pub(super) started: Option<Duration>,
}

impl Identity {
    pub(super) fn of(process: &Process) -> Self {
        let mut comm = process.read_file("comm").unwrap_or_default();
        if comm.last() == Some(&b'\n') {
            comm.pop();
        }
        let started = process.read_file("stat").ok().and_then(|stat| started(&stat));
        Self { comm, started }
    }

    /// Returns the name as text, with U+FFFD for bytes that are none.
    pub(super) fn comm(&self) -> String {
        String::from_utf8_lossy(&self.comm).into_owned()
    }
}

/// Returns the 22nd field of /proc/PID/stat. The second is the name in parentheses and may hold any
/// bytes.
fn started(stat: &[u8]) -> Option<Duration> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let mut fields = str::from_utf8(&stat[after_name..]).ok()?.split_whitespace();
    let ticks: u64 = fields.nth(19)?.parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    let rest = ticks % per_second * 1_000_000_000 / per_second;
    Some(Duration::from_secs(ticks / per_second) + Duration::from_nanos(rest))
}

/// Returns when the machine was started, after the beginning of 1970.
pub(super) fn boot_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(line.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_bytes_does_not_move_the_start_time() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 250 22";
        for name in ["sleep", "a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99", ""] {
            let mut stat = format!("7 ({name}").into_bytes();
            stat.extend(b"\xff) ");
            stat.extend(fields.bytes());
            assert_eq!(started(&stat), Some(Duration::from_millis(2500)));
        }
        assert_eq!(started(b"7 (sleep) S 1"), None);
        assert_eq!(started(b""), None);
    }
}
