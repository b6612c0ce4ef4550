//! What a process is that has no memory map.

use std::fs;

use crate::denied::Denied;
use crate::error::Error;
use crate::status::Status;

/// Why there is nothing to scan at a process number.
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

/// What there is to do about a process that was said to have no memory map.
pub(crate) enum Remedy {
    /// Try again.
    Again,
    /// Read it by this thread.
    ByThread(u32),
    /// Nothing.
    None(Error),
}

/// Finds out why a process has no memory map.
pub(crate) fn remedy(pid: u32) -> Remedy {
    match State::of(pid) {
        Some(State::Alive) => Remedy::Again,
        Some(State::FirstThreadEnded(thread)) => Remedy::ByThread(thread),
        Some(State::Zombie) => Remedy::None(Error::Zombie(pid)),
        Some(State::Exiting) => Remedy::None(Error::Exiting(pid)),
        Some(State::KernelThread) => Remedy::None(Error::KernelThread(pid)),
        None if Denied::is_hidden(pid) => Remedy::None(Error::NotPermitted(Denied::of(pid))),
        None => Remedy::None(Error::NoProcess(pid)),
    }
}

impl State {
    /// Nothing if there is no such process.
    fn of(pid: u32) -> Option<Self> {
        let status = Status::read(&format!("/proc/{pid}/status")).ok()?;
        let stat = fs::read(format!("/proc/{pid}/stat")).ok();
        let is_kernel_thread = is_kernel_thread(&status, stat.as_deref().unwrap_or_default());
        Some(Self::from(&status, is_kernel_thread, || running_thread(pid)))
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

/// By the line of status (from Linux 6.8 on), else by the task's flags.
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

/// A thread of the process that has memory.
fn running_thread(pid: u32) -> Option<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    threads
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&thread| thread != pid)
        .find(|thread| {
            let status = Status::read(&format!("/proc/{pid}/task/{thread}/status"));
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
