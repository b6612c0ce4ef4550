//! Real-time priority around a read, so that usual tasks cannot preempt the reader.
//!
//! A reader that loses its CPU keeps its lock, or RCU's grace periods from ending, for as long as
//! others run.

#![allow(unsafe_code)] // scheduling calls that rustix lacks

use std::io;

/// The calling thread at real-time priority, until this is dropped.
///
/// It remembers what the thread was before.
#[derive(Debug)]
pub(crate) struct Boost {
    policy: libc::c_int,
    param: libc::sched_param,
}

/// The lowest real-time priority: above usual tasks, below all else that is real-time.
const PRIORITY: libc::c_int = 1;

impl Boost {
    /// Checks that the thread may have real-time priority, by trying it once.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_NICE, or in a cgroup without real-time share.
    pub(crate) fn check() -> io::Result<()> {
        Self::begin().map(drop)
    }

    /// Returns whether it keeps runs of the BPF program from losing their CPU.
    ///
    /// It does if the kernel may be preemptible, and the caller has the right. A kernel says how it
    /// was built, not how it was booted.
    pub(crate) fn keeps_runs() -> bool {
        let uname = rustix::system::uname();
        uname.version().to_bytes().windows(7).any(|word| word == b"PREEMPT") && Self::check().is_ok()
    }

    /// Raises the calling thread to real-time priority, until this is dropped.
    ///
    /// A thread that is real-time already stays as it is.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn begin() -> io::Result<Self> {
        // SAFETY: asks for the calling thread's policy.
        let policy = unsafe { libc::sched_getscheduler(0) };
        if policy < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut before = Self {
            policy,
            param: libc::sched_param { sched_priority: 0 },
        };
        // SAFETY: writes the calling thread's parameters to a structure that lives on.
        if unsafe { libc::sched_getparam(0, &raw mut before.param) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if before.is_real_time() {
            return Ok(before);
        }
        let param = libc::sched_param {
            sched_priority: PRIORITY,
        };
        set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &param)?;
        Ok(before)
    }

    fn is_real_time(&self) -> bool {
        matches!(
            self.policy & !libc::SCHED_RESET_ON_FORK,
            libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
        )
    }
}

impl Drop for Boost {
    fn drop(&mut self) {
        if !self.is_real_time() {
            // Lowering needs no right, unless the flag "reset on fork" is to go.
            let _ =
                set(self.policy, &self.param).or_else(|_| set(self.policy | libc::SCHED_RESET_ON_FORK, &self.param));
        }
    }
}

fn set(policy: libc::c_int, param: &libc::sched_param) -> io::Result<()> {
    // SAFETY: changes the calling thread alone, and reads a structure that lives on.
    match unsafe { libc::sched_setscheduler(0, policy, param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: asks for the calling thread's policy.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn the_thread_is_what_it_was_afterwards() {
        let before = policy();
        let Ok(boost) = Boost::begin() else {
            eprintln!("skipped: real-time priority is not allowed here");
            return;
        };
        assert_eq!(policy() & !libc::SCHED_RESET_ON_FORK, libc::SCHED_FIFO);
        drop(boost);
        assert_eq!(policy(), before);
    }
}
