//! Real-time priority around a read: a reader that usual tasks cannot preempt does not keep a lock, or RCU's grace periods from ending, while
//! they run.

#![allow(unsafe_code)] // scheduling calls that rustix lacks

use std::io;

/// What the calling thread was before.
#[derive(Debug)]
pub(crate) struct Boost {
    policy: libc::c_int,
    param: libc::sched_param,
}

/// The lowest: above usual tasks, below all else that is real-time.
const PRIORITY: libc::c_int = 1;

impl Boost {
    /// Tries it once.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_NICE, or in a cgroup without real-time share.
    pub(crate) fn check() -> io::Result<()> {
        Self::begin().map(drop)
    }

    /// Whether it keeps runs of the BPF program from losing their CPU: the kernel may be preemptible, and the caller has the right. A
    /// kernel says how it was built, not how it was booted.
    pub(crate) fn keeps_runs() -> bool {
        let uname = rustix::system::uname();
        uname.version().to_bytes().windows(7).any(|word| word == b"PREEMPT") && Self::check().is_ok()
    }

    /// Raises the calling thread to real-time priority, until this is dropped. Of a thread that is real-time already nothing
    /// is changed.
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
            // Lowering needs no right, but to have no flag "reset on fork" again.
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
