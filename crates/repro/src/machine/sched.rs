//! Where and how a thread runs: CPU, nice value, timer slack, scheduling class. What is set is read
//! back.

#![allow(unsafe_code)] // sched_setscheduler(2), which rustix does not have

use std::num::NonZeroU64;

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{
    CpuSet, current_timer_slack, sched_getaffinity, sched_getcpu, sched_setaffinity, set_current_timer_slack,
};

use crate::error::{Error, Result};

/// Returns the CPUs that this process may use, ascending.
///
/// # Errors
/// Fails if the kernel does not report them.
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

/// Sets the usual timer slack of 50 us for the calling thread and those it starts.
///
/// A child of a real-time thread inherits its slack of zero even where the class is reset, and
/// would sleep 10 us where the talk's mapper, as every ordinary process, slept 60: three times as
/// many calls a second.
pub(crate) fn usual_timer_slack() -> Result<()> {
    const USUAL: NonZeroU64 = NonZeroU64::new(50_000).expect("not zero");
    let what = "setting the timer slack";
    set_current_timer_slack(Some(USUAL)).map_err(|e| Error::failed(what, e))?;
    let got = current_timer_slack().map_err(|e| Error::failed(what, e))?;
    if got != USUAL.get() {
        return Err(Error::failed(what, format!("it is {got} ns")));
    }
    Ok(())
}

/// Checks that a role of this process may have this nice value.
///
/// # Errors
/// Fails if the kernel refuses it.
pub fn check_nice(nice: i32) -> Result<()> {
    // The nice value is a thread's own, so it can be tried in one.
    std::thread::spawn(move || renice(nice))
        .join()
        .unwrap_or_else(|_| Err(Error::failed("trying a nice value", "the thread panicked")))
}

/// Asks for the lowest real-time priority for the calling thread. Returns whether the kernel
/// granted it.
///
/// The thread is then never starved by the load that it starts. Its children do not inherit the
/// priority.
pub(crate) fn go_real_time() -> bool {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: `param` is a valid sched_param for the duration of the call; pid 0 is the calling
    // thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param) == 0 }
}

/// Says whether the kernel grants this process real-time priority.
#[must_use]
pub fn real_time_allowed() -> bool {
    std::thread::spawn(go_real_time).join().unwrap_or(false)
}

/// Gives up the priority that [`go_real_time`] got.
pub(crate) fn go_normal() {
    let param = libc::sched_param { sched_priority: 0 };
    // The flag stays: clearing it takes a right that lowering one's own class does not.
    // SAFETY: as above; a failure leaves the class as it was.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, &raw const param) };
}
