//! A process that is held open, so that its number cannot come to mean another.

mod credentials;
pub(crate) mod proc_mount;
mod rights;
pub(crate) mod state;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, Result};
pub use crate::process::credentials::Credentials;
use crate::process::rights::as_caller;

/// A process that is held open, to be scanned once or again and again.
///
/// The kernel may give the number of a process that has ended to the next one. A `Process` is never
/// that other one: once the process has ended every access fails with [`Error::NoProcess`]. A
/// process that executes another program stays the same process.
///
/// It holds a pidfd and the process's directory in /proc, and keeps nothing of the process alive.
///
/// ```
/// use vmaple_scan::{Process, Scanner};
///
/// let mut scanner = Scanner::new()?;
/// let process = Process::open(std::process::id())?;
/// for _ in 0..3 {
///     let scan = scanner.scan_process(&process)?; // `Error::NoProcess` once it has ended
///     scanner.reuse(scan);
/// }
/// # Ok::<(), vmaple_scan::Error>(())
/// ```
#[derive(Debug)]
pub struct Process {
    pid: u32,
    /// A pidfd, which becomes readable when the process ends.
    ///
    /// `None` where the kernel has none for it: before Linux 6.9, for a thread that is not its
    /// process's first.
    pidfd: Option<OwnedFd>,
    /// Its directory in /proc. The kernel binds it to the process, not to the number: if the
    /// process is gone it is empty.
    dir: OwnedFd,
    /// The user in whose place the kernel is asked, if not this process's own.
    caller: Option<Credentials>,
}

impl Process {
    /// Opens the process `pid` of the caller's PID namespace; /proc may be of another.
    ///
    /// # Errors
    /// [`Error::NoProcess`] if there is none, or it has ended; [`Error::NotPossible`] if /proc does
    /// not show it.
    pub fn open(pid: u32) -> Result<Self> {
        let number = i32::try_from(pid).ok().filter(|&pid| pid > 0).and_then(Pid::from_raw);
        let pidfd = open_pidfd(pid, number.ok_or(Error::NoProcess(pid))?)?;
        let path = format!("/proc/{}", number_in_proc(pid, pidfd.as_ref())?);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path.as_str(), flags, Mode::empty())
            .map_err(|e| Error::of_proc(pid, &format!("opening {path}"), &e.into()))?;
        let process = Self {
            pid,
            pidfd,
            dir,
            caller: None,
        };
        // It had its number until now, so the directory that was found by the number is its own.
        process.check_alive()?;
        Ok(process)
    }

    /// Has the kernel asked whether `caller` may read it, where a scan asks.
    ///
    /// By [`Method::Bpf`](crate::Method::Bpf) all else is done with this process's rights.
    #[must_use]
    pub fn for_caller(self, caller: Credentials) -> Self {
        Self {
            caller: Some(caller),
            ..self
        }
    }

    /// Returns the number by which it was opened.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether it has ended: all of its threads have.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match &self.pidfd {
            // A process keeps its number until its parent has waited for it, and the pidfd is
            // readable before that.
            Some(pidfd) => {
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                !matches!(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)), Ok(0))
            }
            None => accessat(&self.dir, "stat", Access::EXISTS, AtFlags::empty()).is_err(),
        }
    }

    /// Opens a file of its directory in /proc, such as `stat` or `cgroup`.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` if the process is gone, and what open(2) says.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let file = openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(File::from(file))
    }

    /// Reads a file of its directory in /proc. It may hold bytes that are not UTF-8: names of
    /// programs and paths are any bytes.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file), and what read(2) says.
    pub fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        // Most are shorter, and read(2) of such a file costs more than what it returns.
        let mut bytes = Vec::with_capacity(4096);
        self.open_file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a link of its directory in /proc, such as `exe`. A path may be any bytes.
    ///
    /// # Errors
    /// `EACCES` if the caller may not read it; `ENOENT` or `ESRCH` if the process is gone, or has
    /// no such file.
    pub fn read_link(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.dir, name, vec![])?.into_bytes())
    }

    /// Checks that it has not ended.
    ///
    /// # Errors
    /// [`Error::NoProcess`] if it has.
    pub(crate) fn check_alive(&self) -> Result<()> {
        if self.has_ended() {
            return Err(Error::NoProcess(self.pid));
        }
        Ok(())
    }

    /// Asks the kernel whether the caller may read the process's memory map.
    ///
    /// For a BPF program the kernel makes no such check. So a link is read first that needs the
    /// same right (`PTRACE_MODE_READ_FSCREDS`), which takes no lock that the process could wait
    /// for. If that fails, maps is opened, which takes the lock that only execve(2) waits for:
    /// a process may always read its own, and there are kernels without namespaces.
    ///
    /// # Errors
    /// [`Error::NotPermitted`], [`Error::NoProcess`].
    pub(crate) fn check_permission(&self) -> Result<()> {
        self.ask(|| match readlinkat(&self.dir, "ns/mnt", vec![]) {
            Ok(_) => Ok(()),
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) => match self.open_file("maps") {
                Ok(_) => Ok(()),
                Err(e) => Err(self.failed("maps", &e)),
            },
            Err(e) => Err(self.failed("ns/mnt", &e.into())),
        })?
    }

    /// Asks the kernel something with the rights of the caller.
    fn ask<T>(&self, ask: impl FnOnce() -> T) -> Result<T> {
        match &self.caller {
            None => as_caller(ask),
            Some(caller) => caller
                .act(ask)
                .map_err(|e| Error::failed(format!("taking the rights of user {}", caller.uid()), e)),
        }
    }

    /// Checks after the last run that all were of this process.
    ///
    /// It also checks that the caller may still read the process.
    ///
    /// A run looks the process up by its number, which may be another's once the process has ended.
    /// While the process executes a program, it may have had the new one's memory and still its
    /// old rights when the caller's were asked for.
    ///
    /// # Errors
    /// [`Error::NoProcess`], [`Error::NotPermitted`].
    pub(crate) fn check_still(&self) -> Result<()> {
        let permission = self.check_permission();
        // Until here its number was its own.
        self.check_alive()?;
        permission
    }

    /// Opens its maps or smaps with the rights of the caller.
    ///
    /// # Errors
    /// [`Error::NotPermitted`], [`Error::NoProcess`].
    pub(crate) fn open_map(&self, name: &str) -> Result<File> {
        self.ask(|| self.open_file(name))?.map_err(|e| self.failed(name, &e))
    }

    /// Returns whether the process has not turned huge pages off for itself (`PR_SET_THP_DISABLE`).
    pub(crate) fn thp_enabled(&self) -> bool {
        let is_off = |text: Vec<u8>| text.split(|&byte| byte == b'\n').any(|line| line == b"THP_enabled:\t0");
        self.read_file("status").is_ok_and(|text| !is_off(text))
    }

    /// Returns the error of an access to one of its files that failed.
    pub(crate) fn failed(&self, file: &str, error: &io::Error) -> Error {
        Error::of_proc(self.pid, &format!("opening /proc/{}/{file}", self.pid), error)
    }
}

/// Opens a pidfd; returns `None` where this kernel has none for the process.
fn open_pidfd(pid: u32, number: Pid) -> Result<Option<OwnedFd>> {
    /// `PIDFD_THREAD`, Linux 6.9 and later.
    const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Err(Error::NoProcess(pid)),
        // A thread that is not its process's first.
        Err(Errno::INVAL | Errno::NOENT) => Ok(pidfd_open(number, THREAD).ok()),
        // Before Linux 5.3, or where a filter of system calls does not know it.
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(e) => Err(Error::failed(format!("opening a pidfd of process {pid}"), e)),
    }
}

/// Returns the number that a process has in the PID namespace of /proc.
fn number_in_proc(pid: u32, pidfd: Option<&OwnedFd>) -> Result<u32> {
    let not_shown = || {
        Error::NotPossible(format!(
            "/proc is of another PID namespace, and does not show process {pid}: mount the one of this namespace"
        ))
    };
    let Some(pidfd) = pidfd else {
        return proc_mount::check().map(|()| pid);
    };
    // Of this thread: the first may have ended, or have other files.
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => not_shown(),
        _ => Error::failed(format!("reading {path}"), e),
    })?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match number.and_then(|number| number.trim().parse::<i32>().ok()) {
        Some(-1) => Err(Error::NoProcess(pid)),
        Some(number) if number > 0 => Ok(number.cast_unsigned()),
        _ => Err(not_shown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_proc_is_of_another_pid_namespace_the_process_is_found_by_its_number_there() {
        const INSIDE: &str = "VMAPLE_TEST_INSIDE";
        let test = "process::tests::where_proc_is_of_another_pid_namespace_the_process_is_found_by_its_number_there";
        if std::env::var(INSIDE).is_ok() {
            assert!(proc_mount::check().is_err());
            let own = Process::open(std::process::id()).unwrap();
            assert!(!own.has_ended());
            let status = String::from_utf8(own.read_file("status").unwrap()).unwrap();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
            let last = numbers.split_whitespace().next_back();
            assert_eq!(last, Some(std::process::id().to_string().as_str()), "{status}");
            return;
        }
        let output = std::process::Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "")
            .output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(text.contains("Operation not permitted"), "{text}");
                eprintln!("skipped: {text}");
            }
            Err(why) => eprintln!("skipped: unshare: {why}"),
        }
    }
}
