//! The processes to scan.

use std::collections::HashSet;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vmaple_scan::{Error, Process, Scan, Scanner};

/// A process to scan, held open from the first scan on: its number may come to mean another
/// process.
pub(in crate::cmd::scan) struct Target {
    pub(in crate::cmd::scan) pid: u32,
    process: Option<Process>,
    /// Whether it has been scanned.
    was_scanned: bool,
}

/// A scan that was not possible.
pub(in crate::cmd::scan) struct Failure {
    pub(in crate::cmd::scan) error: Error,
    /// Whether the process was scanned before, and has ended since.
    pub(in crate::cmd::scan) has_ended: bool,
}

impl Failure {
    /// Returns a word for it, for programs.
    pub(in crate::cmd::scan) fn reason(&self) -> &'static str {
        match &self.error {
            _ if self.has_ended => "ended",
            Error::NotPossible(_) => "not-possible",
            Error::NotPermitted(_) => "not-permitted",
            Error::NoProcess(_) => "no-process",
            Error::KernelThread(_) => "kernel-thread",
            Error::Exiting(_) => "exiting",
            Error::Zombie(_) => "zombie",
            Error::Executed(_) => "executed",
            _ => "failed",
        }
    }
}

impl Target {
    pub(in crate::cmd::scan) fn new(pid: u32) -> Self {
        Self {
            pid,
            process: None,
            was_scanned: false,
        }
    }

    /// Returns one for each number, in their order.
    pub(in crate::cmd::scan) fn each_once(pids: &[u32]) -> Vec<Self> {
        let mut known = HashSet::new();
        let new = pids.iter().filter(|&&pid| known.insert(pid));
        new.map(|&pid| Self::new(pid)).collect()
    }

    /// Scans it, if the process that is opened now `is_selected`; returns `None` if it is not.
    pub(in crate::cmd::scan) fn scan(
        &mut self,
        scanner: &mut Scanner,
        is_selected: impl FnOnce(&Process) -> bool,
    ) -> Result<Option<(Scan, &Process)>, Failure> {
        let was_scanned = self.was_scanned;
        self.open_and_scan(scanner, is_selected).map_err(|error| Failure {
            has_ended: was_scanned && error.is_gone(),
            error,
        })
    }

    fn open_and_scan(
        &mut self,
        scanner: &mut Scanner,
        is_selected: impl FnOnce(&Process) -> bool,
    ) -> Result<Option<(Scan, &Process)>, Error> {
        let process = match self.process.take() {
            Some(process) => process,
            None => match Process::open(self.pid) {
                Ok(process) => process,
                // The scanner reports why the process cannot be opened.
                Err(Error::NoProcess(pid)) => return Err(scanner.scan(pid).err().unwrap_or(Error::NoProcess(pid))),
                Err(error) => return Err(error),
            },
        };
        let process = self.process.insert(process);
        if !is_selected(process) {
            // Whether it has ended, or is another.
            return if process.has_ended() {
                Err(Error::NoProcess(self.pid))
            } else {
                Ok(None)
            };
        }
        let scan = scanner.scan_process(process)?;
        self.was_scanned = true;
        Ok(Some((scan, process)))
    }

    /// Whether it was held open and has ended since: its number may be another's.
    pub(in crate::cmd::scan) fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(Process::has_ended)
    }

    /// Closes the process after its last scan.
    pub(in crate::cmd::scan) fn close(&mut self) {
        self.process = None;
    }
}

/// Raises the soft limit of open files. Each process that is held open takes two, and the usual
/// limit is 1024.
pub(in crate::cmd::scan) fn allow_many_to_be_open() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If this fails, opening a file reports it.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
