//! Finds out why a process has no memory map.

use rustix::fs::Dir;

use crate::denied::Denied;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::status::Status;

/// The state of a process, as far as it has to do with its memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has a memory map after all.
    Alive,
    /// Its first thread has ended, and this one runs.
    FirstThreadEnded(u32),
    /// Its parent has not waited for it.
    Zombie,
    /// It has given up its memory, and is not a zombie yet.
    Exiting,
    KernelThread,
}

/// Calls `read` for a process, and for another of its threads if the first has ended.
///
/// Returns what `read` returned, and the number of that other thread.
///
/// # Errors
/// Those of `read`; instead of [`Error::NoProcess`] the reason why the process has no memory map.
pub(crate) fn by_some_thread<T>(
    process: &Process,
    mut read: impl FnMut(&Process) -> Result<T>,
) -> Result<(T, Option<u32>)> {
    /// The most attempts. A process that executes a program had no memory a moment ago, and may
    /// have it again.
    const TRIES: u32 = 3;
    let pid = process.pid();
    let mut thread: Option<Process> = None;
    for _ in 0..TRIES {
        match read(thread.as_ref().unwrap_or(process)) {
            Ok(value) => return Ok((value, thread.map(|thread| thread.pid()))),
            // The user knows the process's number, not the thread's.
            Err(Error::NotPermitted(_)) if thread.is_some() => return Err(Error::NotPermitted(Denied::of(pid))),
            Err(Error::Executed(_)) => return Err(Error::Executed(pid)),
            Err(Error::NoProcess(_)) => {}
            Err(error) => return Err(error),
        }
        thread = match State::of(process) {
            Some(State::Alive) => None,
            Some(State::FirstThreadEnded(other)) => open_thread(process, other),
            Some(State::Zombie) => return Err(Error::Zombie(pid)),
            Some(State::Exiting) => return Err(Error::Exiting(pid)),
            Some(State::KernelThread) => return Err(Error::KernelThread(pid)),
            None => break,
        };
    }
    Err(Error::NoProcess(pid))
}

/// Returns the error of a process that could not even be opened.
///
/// It is a zombie, hidden, or not there.
pub(crate) fn why_gone(pid: u32) -> Error {
    let status = Status::read(&format!("/proc/{pid}/status"));
    if status.is_ok_and(|status| status.has_ended()) {
        Error::Zombie(pid)
    } else if Denied::is_hidden(pid) {
        Error::NotPermitted(Denied::of(pid))
    } else {
        Error::NoProcess(pid)
    }
}

/// Opens a thread, if it is one of the process's.
fn open_thread(process: &Process, thread: u32) -> Option<Process> {
    let thread = Process::open(thread).ok()?;
    let status = Status::from(thread.read_file("status").ok()?);
    let is_ours = status.text("Tgid").and_then(|group| group.parse().ok()) == Some(process.pid());
    // While the process is there no other one has its number.
    (is_ours && !process.has_ended()).then_some(thread)
}

impl State {
    /// Reads the state of a process; `None` if it is gone.
    fn of(process: &Process) -> Option<Self> {
        let status = Status::from(process.read_file("status").ok()?);
        let stat = process.read_file("stat").unwrap_or_default();
        let is_kernel_thread = is_kernel_thread(&status, &stat);
        Some(Self::from(&status, is_kernel_thread, || running_thread(process)))
    }

    fn from(status: &Status, is_kernel_thread: bool, running_thread: impl FnOnce() -> Option<u32>) -> Self {
        if is_kernel_thread {
            Self::KernelThread
        } else if status.line("VmSize").is_some() {
            Self::Alive
        } else if !status.has_ended() {
            Self::Exiting
        } else if let Some(thread) = running_thread() {
            Self::FirstThreadEnded(thread)
        } else {
            Self::Zombie
        }
    }
}

/// Returns whether a task is a kernel thread.
///
/// A line of status says so (from Linux 6.8 on); before, the task's flags do.
fn is_kernel_thread(status: &Status, stat: &[u8]) -> bool {
    const PF_KTHREAD: u64 = 0x0020_0000;
    if let Some(value) = status.line("Kthread") {
        return value == b"1";
    }
    // The name, in parentheses, may contain anything.
    let after = stat.rsplit(|&byte| byte == b')').next().unwrap_or_default();
    let flags = after
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .nth(6);
    let flags = flags.and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// Returns a thread of the process that has memory.
fn running_thread(process: &Process) -> Option<u32> {
    let threads = Dir::new(process.open_file("task").ok()?).ok()?.flatten();
    threads
        .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
        .filter(|&thread| thread != process.pid())
        .find(|thread| {
            let status = process.read_file(&format!("task/{thread}/status")).map(Status::from);
            status.is_ok_and(|status| status.line("VmSize").is_some())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Status {
        Status::from(text.as_bytes().to_vec())
    }

    #[test]
    fn what_has_no_memory_map_is_told_apart() {
        let of = |text, thread| State::from(&status(text), false, || thread);
        assert_eq!(of("State:\tR (running)\nVmSize:\t 8 kB\n", None), State::Alive);
        assert_eq!(of("State:\tR (running)\n", None), State::Exiting);
        assert_eq!(of("State:\tD (disk sleep)\n", Some(7)), State::Exiting);
        assert_eq!(of("State:\tZ (zombie)\n", None), State::Zombie);
        assert_eq!(of("State:\tX (dead)\n", None), State::Zombie);
        assert_eq!(of("State:\tZ (zombie)\n", Some(7)), State::FirstThreadEnded(7));
        let kernel_thread = State::from(&status("State:\tS (sleeping)\n"), true, || None);
        assert_eq!(kernel_thread, State::KernelThread);
    }

    #[test]
    fn a_kernel_thread_is_known_by_its_status_or_by_its_flags_whatever_its_name_is() {
        let nothing = status("State:\tS (sleeping)\n");
        let stat = |flags| format!("2 (a) R 1 (\u{fffd}) S 0 0 0 0 -1 {flags} 0 0 0\n").into_bytes();
        assert!(is_kernel_thread(&nothing, &stat(0x0020_8040)));
        assert!(!is_kernel_thread(&nothing, &stat(0x0040_0100)));
        assert!(!is_kernel_thread(&nothing, b""));
        assert!(is_kernel_thread(&status("Kthread:\t1\n"), b""));
        assert!(!is_kernel_thread(&status("Kthread:\t0\n"), &stat(0x0020_8040)));
    }
}
