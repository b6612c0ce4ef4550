//! What the kernel has counted anyway: no lock of the address space is taken for these answers, and no mapping is looked at.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::method::Method;
use crate::process::Process;
use crate::process::proc_mount;
use crate::process::state::{self, by_some_thread};
use crate::report::Report;
use crate::scanner::Raw;
use crate::status::Status;

/// What statm, status and the cgroup's memory.stat say of a process, in bytes.
///
/// The kernel keeps some of these numbers for each CPU and adds them up now and then: they may be off by a few hundred
/// kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// A name of [`NAMES`](Self::NAMES), and bytes.
    pub process: Vec<(&'static str, u64)>,
    /// The path of the process's cgroup (version 2), and lines of its memory.stat: of all processes in it together. Nothing where there is
    /// no such cgroup, or it does not account memory; [`Report::left_out`](crate::Report::left_out) says so.
    pub cgroup: Option<(String, Vec<(String, u64)>)>,
}

/// Lines of /proc/PID/status, and what they are called here. No name is one of smaps but for the two whose values are the same: `VmSwap` and
/// `VmLck` are not the sums of `Swap` and `Locked`, which have shared memory too, and of locked mappings what is resident.
const STATUS: [(&str, &str); 16] = [
    ("VmSize", "size"),
    ("VmRSS", "rss"),
    ("RssAnon", "rss_anon"),
    ("RssFile", "rss_file"),
    ("RssShmem", "rss_shmem"),
    ("VmSwap", "vm_swap"),
    ("HugetlbPages", "hugetlb"),
    ("VmLck", "vm_locked"),
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

    /// The kernel's label of a name, as a line of /proc/PID/status begins: `RssAnon` of `rss_anon`.
    #[must_use]
    pub fn label(name: &str) -> Option<&'static str> {
        STATUS.iter().find(|(_, n)| *n == name).map(|&(label, _)| label)
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`Error::NoProcess`], [`Error::KernelThread`], [`Error::Exiting`], [`Error::Zombie`]; [`Error::NotPossible`] if /proc is of another PID
    /// namespace.
    pub fn of(pid: u32) -> Result<Self> {
        proc_mount::check()?;
        match Process::open(pid) {
            Ok(process) => Self::of_process(&process),
            Err(Error::NoProcess(_)) => Err(state::why_gone(pid)),
            Err(error) => Err(error),
        }
    }

    /// Reads those of a process that is held open.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_process(process: &Process) -> Result<Self> {
        by_some_thread(process, Self::read).map(|(counters, _)| counters)
    }

    fn read(process: &Process) -> Result<Self> {
        let pid = process.pid();
        let status = process.read_file("status").map_err(|e| process.failed("status", &e))?;
        let status = Status::from(status);
        let counts: Vec<_> = STATUS
            .iter()
            .filter_map(|&(line, name)| Some((name, status.bytes(line)?)))
            .collect();
        if counts.is_empty() {
            return Err(Error::NoProcess(pid));
        }
        Ok(Self {
            process: counts,
            cgroup: cgroup(process),
        })
    }

    /// One of the process's, by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.process.iter().find(|(n, _)| *n == name).map(|&(_, bytes)| bytes)
    }
}

/// What the process's cgroup (v2) says.
fn cgroup(process: &Process) -> Option<(String, Vec<(String, u64)>)> {
    let text = process.read_file("cgroup").ok()?;
    // Paths are any bytes.
    let path = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let dir = Path::new("/sys/fs/cgroup").join(OsStr::from_bytes(relative));
    let path = String::from_utf8_lossy(path).into_owned();
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
    let counters = Counters::read(process)?;
    // Not of a moment when its memory was gone already.
    process.check_alive()?;
    let elapsed = began.elapsed();
    Ok(Raw {
        report: Some(Report::of_kernel(Method::Counters, elapsed)),
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
