//! The busy task: unrelated work that eats the CPU the scanners need.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::machine::{now_ns, timespec};
use crate::role::{Ledger, Phase};

use super::{Task, get_ready, take_place};

pub(crate) fn run(task: &Task, ledger: &Ledger) -> Result<()> {
    let &Task::Busy { slot, cpu, spin_ns } = task else {
        unreachable!("dispatched by task");
    };
    work(ledger, slot, cpu, spin_ns)
}

/// Keeps `cpu` busy from its phase on until the run is over.
pub(crate) fn work(ledger: &Ledger, slot: usize, cpu: usize, spin_ns: Option<u64>) -> Result<()> {
    take_place(c"vmaple-busy", cpu, 0)?;
    get_ready(ledger, Phase::Busy);
    ledger.slots()[slot].started_ns.store(now_ns(), Ordering::Relaxed);
    ledger.count(&ledger.header().started);
    // A process is killed; a thread has to look, also while it spins: starved scanners wait for the CPU.
    while !ledger.is_at(Phase::Clear) {
        let begin = now_ns();
        while spin_ns.is_none_or(|ns| now_ns() - begin < ns) && !ledger.is_at(Phase::Clear) {
            std::hint::spin_loop();
        }
        if spin_ns.is_some() {
            // A signal that ends the sleep early ends the process too, or is of no matter.
            let _ = rustix::thread::nanosleep(&timespec(1_000_000));
        }
    }
    Ok(())
}
