//! Where and how a process runs: CPU, nice value, scheduling class, each read back after it was set.

#![allow(unsafe_code)] // sched_setscheduler(2), which rustix does not have

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::error::{Error, Result};

/// The CPUs that this process may use, ascending.
///
/// # Errors
/// Fails if the kernel does not tell.
pub fn allowed_cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).map_err(|e| Error::failed("asking for the allowed CPUs", e))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&c| set.is_set(c)).collect())
}

/// Binds the calling thread to one CPU and checks that it runs there.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let what = || format!("binding to CPU {cpu}");
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(Error::failed(what(), "no such CPU"));
    }
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|e| Error::failed(what(), e))?;
    let got = sched_getaffinity(None).map_err(|e| Error::failed(what(), e))?;
    if got != set || sched_getcpu() != cpu {
        return Err(Error::failed(what(), "the kernel put this process elsewhere"));
    }
    Ok(())
}

/// Sets the nice value of the calling thread and checks it.
pub(crate) fn renice(nice: i32) -> Result<()> {
    let what = || format!("setting nice value {nice}");
    setpriority_process(None, nice).map_err(|e| Error::failed(what(), e))?;
    let got = getpriority_process(None).map_err(|e| Error::failed(what(), e))?;
    if got != nice {
        return Err(Error::failed(what(), format!("it is {got}")));
    }
    Ok(())
}

/// Asks for the lowest real-time priority for the calling thread, but not for its children, so that it is never starved
/// by the load that it starts. Returns whether the kernel granted it.
pub(crate) fn go_real_time() -> bool {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: `param` is a valid sched_param for the duration of the call; pid 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param) == 0 }
}

/// Whether the kernel would give this process real-time priority.
#[must_use]
pub fn real_time_allowed() -> bool {
    std::thread::spawn(go_real_time).join().unwrap_or(false)
}

/// Gives up what [`go_real_time`] got.
pub(crate) fn go_normal() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: as above. Lowering one's own class needs no right; a failure leaves the class as it was.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const param) };
}
