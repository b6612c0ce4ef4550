//! What the kernel has counted anyway: no lock of the address space is taken for these answers, and no mapping is looked at.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::method::Method;
use crate::process::Process;
use crate::report::{Acquisitions, Report, Validation};
use crate::scanner::Raw;

/// What statm, status and the cgroup's memory.stat say of a process, in bytes.
///
/// The kernel keeps some of these numbers for each CPU and adds them up now and then: they may be off by a few hundred
/// kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// A name of [`NAMES`](Self::NAMES), and bytes.
    pub process: Vec<(&'static str, u64)>,
    /// The cgroup's path, and lines of its memory.stat: of all processes in it together.
    pub cgroup: Option<(String, Vec<(String, u64)>)>,
}

/// Lines of /proc/PID/status, and what they are called here.
const STATUS: [(&str, &str); 16] = [
    ("VmSize", "size"),
    ("VmRSS", "rss"),
    ("RssAnon", "rss_anon"),
    ("RssFile", "rss_file"),
    ("RssShmem", "rss_shmem"),
    ("VmSwap", "swap"),
    ("HugetlbPages", "hugetlb"),
    ("VmLck", "locked"),
    ("VmPin", "pinned"),
    ("VmPTE", "page_tables"),
    ("VmData", "data"),
    ("VmStk", "stack"),
    ("VmExe", "exe"),
    ("VmLib", "lib"),
    ("VmPeak", "peak"),
    ("VmHWM", "rss_peak"),
];

/// Of memory.stat, what is of memory now.
const CGROUP: [&str; 10] = [
    "anon",
    "file",
    "shmem",
    "file_mapped",
    "file_dirty",
    "anon_thp",
    "file_thp",
    "shmem_thp",
    "kernel",
    "pagetables",
];

impl Counters {
    /// The names of a process's.
    pub const NAMES: [&str; 16] = {
        let mut names = [""; 16];
        let mut i = 0;
        while i < names.len() {
            names[i] = STATUS[i].1;
            i += 1;
        }
        names
    };

    /// Reads them.
    ///
    /// # Errors
    /// [`Error::NoProcess`], also of a kernel thread.
    pub fn of(pid: u32) -> Result<Self> {
        Self::of_process(&Process::open(pid)?)
    }

    /// Reads those of a process that is held open.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_process(of: &Process) -> Result<Self> {
        let pid = of.pid();
        let status = of.read_file("status").map_err(|e| of.failed("status", &e))?;
        let status = String::from_utf8_lossy(&status);
        let value = |name: &str| {
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let process: Vec<_> = STATUS
            .iter()
            .filter_map(|&(line, name)| Some((name, value(line)? << 10)))
            .collect();
        if process.is_empty() {
            return Err(Error::NoProcess(pid));
        }
        Ok(Self {
            process,
            cgroup: cgroup(of),
        })
    }

    /// One of the process's, by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.process.iter().find(|(n, _)| *n == name).map(|&(_, bytes)| bytes)
    }
}

/// What the process's cgroup (v2) says.
fn cgroup(of: &Process) -> Option<(String, Vec<(String, u64)>)> {
    let text = String::from_utf8(of.read_file("cgroup").ok()?).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    let dir = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let stat = fs::read_to_string(dir.join("memory.stat")).ok()?;
    let mut lines: Vec<_> = stat
        .lines()
        .filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            CGROUP.contains(&name).then_some((name.to_owned(), bytes.parse().ok()?))
        })
        .collect();
    if let Ok(current) = fs::read_to_string(dir.join("memory.current")) {
        lines.insert(0, ("current".to_owned(), current.trim().parse().ok()?));
    }
    Some((path, lines))
}

/// A scan of counters alone.
pub(crate) fn scan(process: &Process) -> Result<Raw> {
    let began = Instant::now();
    let counters = Counters::of_process(process)?;
    // Not of a moment when its memory was gone already.
    process.check_alive()?;
    let elapsed = began.elapsed();
    Ok(Raw {
        report: Some(Report {
            method: Method::Counters,
            mappings: 0,
            runs: 1,
            longest_run: elapsed,
            in_runs: elapsed,
            elapsed,
            rejected: 0,
            mmap_lock: Acquisitions::None,
            validation: Validation::Kernel,
            unvalidated: 0,
            counted_later: 0,
            snapshot: None,
            partial: None,
        }),
        counters: Some(counters),
        ..Raw::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_counters_are_there() {
        let counters = Counters::of(std::process::id()).unwrap();
        let of = |name| counters.get(name).unwrap();
        assert!(of("rss") > 0 && of("size") >= of("rss"), "{counters:?}");
        assert_eq!(of("rss"), of("rss_anon") + of("rss_file") + of("rss_shmem"));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(matches!(Counters::of(u32::MAX), Err(Error::NoProcess(_))));
    }
}
