//! Reads what the kernel has counted already.
//!
//! That takes no lock of the address space, and looks at no mapping.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use vmaple_smaps::FieldSet;

use crate::counters::{Cgroup, Counter, Counters};
use crate::error::{Error, Result};
use crate::left_out::{LeftOut, Why};
use crate::method::Method;
use crate::options::Options;
use crate::process::state::{self, by_some_thread};
use crate::process::{Process, proc_mount};
use crate::record::Mappings;
use crate::report::Report;
use crate::source::{Content, Found, Source};
use crate::status::Status;

/// The lines of memory.stat that are of memory now.
const MEMORY_STAT: [&str; 10] = [
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

/// The method [`Method::Counters`].
pub(crate) struct CountersSource;

impl Source for CountersSource {
    fn method(&self) -> Method {
        Method::Counters
    }

    fn scan(&mut self, process: &Process, _: &Options, _: Mappings) -> Result<Found> {
        let began = Instant::now();
        let counters = Counters::read(process)?;
        // Not of a moment when its memory was gone already.
        process.check_alive()?;
        Ok(found(counters, began.elapsed()))
    }
}

fn found(counters: Counters, elapsed: Duration) -> Found {
    let no_cgroup = counters.cgroup.is_none().then(|| LeftOut {
        line: "memory.stat".into(),
        field: None,
        mappings: 0,
        of_sum: true,
        why: Why::NoCgroup,
    });
    Found {
        content: Content::Counters(counters),
        fields: FieldSet::NONE,
        report: Report {
            left_out: no_cgroup.into_iter().collect(),
            ..Report::of_one_read(Method::Counters, elapsed)
        },
    }
}

impl Counters {
    /// Reads the counters of the process `pid`.
    ///
    /// # Errors
    /// [`Error::NoProcess`], [`Error::KernelThread`], [`Error::Exiting`], [`Error::Zombie`];
    /// [`Error::NotPossible`] if /proc is of another PID namespace.
    pub fn of(pid: u32) -> Result<Self> {
        proc_mount::check()?;
        match Process::open(pid) {
            Ok(process) => Self::of_process(&process),
            Err(Error::NoProcess(_)) => Err(state::why_gone(pid)),
            Err(error) => Err(error),
        }
    }

    /// Reads the counters of a process that is held open.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_process(process: &Process) -> Result<Self> {
        by_some_thread(process, Self::read).map(|(counters, _)| counters)
    }

    fn read(process: &Process) -> Result<Self> {
        let status = process.read_file("status").map_err(|e| process.failed("status", &e))?;
        let status = Status::from(status);
        let counters: Vec<_> = Counter::ALL
            .iter()
            .filter_map(|&counter| Some((counter, status.bytes(counter.label())?)))
            .collect();
        if counters.is_empty() {
            return Err(Error::NoProcess(process.pid()));
        }
        Ok(Self {
            process: counters,
            cgroup: cgroup(process),
        })
    }
}

/// Reads the counters of the process's cgroup.
///
/// Returns `None` if it is in none of version 2 that accounts memory.
fn cgroup(process: &Process) -> Option<Cgroup> {
    let text = process.read_file("cgroup").ok()?;
    // Paths are any bytes.
    let path = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let dir = Path::new("/sys/fs/cgroup").join(OsStr::from_bytes(relative));
    let stat = fs::read_to_string(dir.join("memory.stat")).ok()?;
    let mut memory: Vec<_> = stat
        .lines()
        .filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            MEMORY_STAT
                .contains(&name)
                .then_some((name.to_owned(), bytes.parse().ok()?))
        })
        .collect();
    if let Ok(current) = fs::read_to_string(dir.join("memory.current")) {
        memory.insert(0, ("current".to_owned(), current.trim().parse().ok()?));
    }
    Some(Cgroup {
        path: String::from_utf8_lossy(path).into_owned(),
        memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_counters_are_there() {
        let counters = Counters::of(std::process::id()).unwrap();
        let of = |counter| counters.get(counter).unwrap();
        assert!(
            of(Counter::Rss) > 0 && of(Counter::Size) >= of(Counter::Rss),
            "{counters:?}"
        );
        assert_eq!(
            of(Counter::Rss),
            of(Counter::RssAnon) + of(Counter::RssFile) + of(Counter::RssShmem)
        );
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(matches!(Counters::of(u32::MAX), Err(Error::NoProcess(_))));
    }

    #[test]
    fn counters_without_a_cgroup_say_so() {
        let found = found(Counters::default(), Duration::ZERO);
        let [left_out] = found.report.left_out.as_slice() else {
            panic!("one line is left out: {:?}", found.report)
        };
        let expected = ("memory.stat", 0, true, "no-cgroup");
        let LeftOut {
            line,
            mappings,
            of_sum,
            why,
            ..
        } = left_out;
        assert_eq!((line.as_str(), *mappings, *of_sum, why.name()), expected);
        let told = found.report.to_string();
        assert!(told.contains("LEFT OUT: memory.stat"), "{told}");
    }
}
