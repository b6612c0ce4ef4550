//! The process that is to be scanned, and whether the caller may.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// A process: not its number alone, which may become another's.
pub(crate) struct Target {
    pid: u32,
    /// /proc/PID, which is this process's for as long as it is open.
    dir: OwnedFd,
}

impl Target {
    /// # Errors
    /// [`Error::NoProcess`].
    pub(crate) fn open(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path.as_str(), flags, Mode::empty())
            .map_err(|e| Error::of_proc(pid, &format!("opening {path}"), &e.into()))?;
        Ok(Self { pid, dir })
    }

    /// Asks the kernel whether the caller may read the process's memory map: a BPF program is not asked.
    ///
    /// A link whose reading needs the same right (`PTRACE_MODE_READ_FSCREDS`) is read first, which takes no lock that the process
    /// could wait for. Opening maps takes the one that only execve(2) waits for; but there are kernels on which
    /// CAP_PERFMON may do just that.
    ///
    /// # Errors
    /// [`Error::NotPermitted`], [`Error::NoProcess`].
    pub(crate) fn check_permission(&self) -> Result<()> {
        match readlinkat(&self.dir, "ns/mnt", vec![]) {
            Ok(_) => return Ok(()),
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) => {}
            Err(e) => return Err(self.failed("ns/mnt", e)),
        }
        match openat(&self.dir, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.failed("maps", e)),
        }
    }

    /// Whether the process has not turned huge pages off for itself (`PR_SET_THP_DISABLE`).
    pub(crate) fn thp_enabled(&self) -> bool {
        let status = openat(&self.dir, "status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let text = status
            .map_err(std::io::Error::from)
            .and_then(|fd| std::io::read_to_string(File::from(fd)));
        text.is_ok_and(|text| !text.lines().any(|line| line == "THP_enabled:\t0"))
    }

    fn failed(&self, file: &str, error: Errno) -> Error {
        Error::of_proc(self.pid, &format!("opening /proc/{}/{file}", self.pid), &error.into())
    }
}

/// Whether the PID namespace of /proc is ours, in which the kernel looks for the number that a BPF program is given.
pub(crate) fn proc_is_ours() -> bool {
    // The numbers of this process, from the namespace of /proc down to ours: one, if it is the same.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().eq([std::process::id().to_string()]))
}
