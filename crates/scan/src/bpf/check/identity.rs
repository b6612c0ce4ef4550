//! Checks the numbers that tell processes apart, and the programs of one process.
//!
//! The self-test does so before the first scan: this kernel may keep these numbers elsewhere than
//! it says.

use crate::bpf::engine::Engine;
use crate::error::{Error, Result};
use crate::process::Process;

/// The ticks by which the kernel's text and the program's number may differ: both are rounded.
const SLACK: u64 = 2;

/// Compares what the program finds of this process and of its copy `child` with /proc.
///
/// # Errors
/// [`Error::NotPossible`] if they differ.
pub(crate) fn check(engine: &mut Engine, child: &Process) -> Result<()> {
    let own = Process::open(std::process::id())?;
    let ((ours, _), (childs, _)) = (engine.look(own.pid(), 0)?, engine.look(child.pid(), 0)?);
    // A copy has executed as many programs: one at least.
    if ours.found_exec_id == 0 || ours.found_exec_id != childs.found_exec_id {
        return Err(wrong("how many programs a process has executed (self_exec_id)"));
    }
    let later_ns = childs.found_started.wrapping_sub(ours.found_started);
    let later = later_ns / (1_000_000_000 / rustix::param::clock_ticks_per_second().clamp(1, 1_000_000_000));
    let expected = started(child)?.wrapping_sub(started(&own)?);
    // Also where all of this took less than the slack.
    if later_ns == 0 || later.abs_diff(expected) > SLACK {
        return Err(wrong("when a process began (start_boottime)"));
    }
    Ok(())
}

/// Returns when a process began, in ticks.
///
/// It is the 22nd word of stat, after a name that may hold anything.
fn started(process: &Process) -> Result<u64> {
    let stat = process.read_file("stat").map_err(|e| process.failed("stat", &e))?;
    let end = stat.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    let after = stat.get(end..).unwrap_or_default();
    let word = after.split(|&byte| byte == b' ').nth(20);
    word.and_then(|word| std::str::from_utf8(word).ok()?.parse().ok())
        .ok_or_else(|| Error::failed("reading when a process began", "stat is not of a known form"))
}

fn wrong(what: &str) -> Error {
    Error::NotPossible(format!("on this kernel the BPF program is wrong about {what}"))
}
