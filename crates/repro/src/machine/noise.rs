//! The noise floor: how long this machine keeps a CPU from a task that does nothing but run.
//!
//! Any call can be kept waiting as long as a pinned spinner is. A worst case below that shows
//! nothing.

use std::sync::Barrier;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::clock::now_ns;
use super::sched;

/// How long a spinner spins where nothing says how long what is measured takes.
pub const SPIN_NS: u64 = 500_000_000;

/// The longest time that a spinner did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The CPU.
    pub cpu: usize,
    /// The gap, in nanoseconds.
    pub longest_ns: u64,
}

/// Measures the longest gap on each of `cpus`: spins on all of them at once for `ns`.
///
/// The longer it spins the longer is the longest gap. So it should be no longer than what is held
/// against it.
///
/// # Errors
/// Fails if a CPU cannot be used.
pub fn measure(cpus: &[usize], ns: u64) -> Result<Vec<Gap>> {
    let all_placed = Barrier::new(cpus.len());
    std::thread::scope(|scope| {
        let spin = |cpu| spin(cpu, ns, &all_placed);
        let spinners: Vec<_> = cpus.iter().map(|&cpu| scope.spawn(move || spin(cpu))).collect();
        spinners
            .into_iter()
            .map(|s| {
                s.join()
                    .unwrap_or_else(|_| Err(Error::failed("measuring the noise floor", "a spinner panicked")))
            })
            .collect()
    })
}

fn spin(cpu: usize, ns: u64, all_placed: &Barrier) -> Result<Gap> {
    let placed = sched::pin(cpu);
    // The start of another spinner is no noise of the machine.
    all_placed.wait();
    placed?;
    let begin = now_ns();
    let (mut last, mut longest_ns) = (begin, 0);
    while last - begin < ns {
        let now = now_ns();
        longest_ns = longest_ns.max(now - last);
        last = now;
    }
    Ok(Gap { cpu, longest_ns })
}
