//! The busy task: unrelated work on the CPU that the scanners need.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::machine::{now_ns, timespec};

use super::{Ledger, Phase, get_ready, take_place};

/// What a busy task is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BusyTask {
    pub(crate) slot: usize,
    pub(crate) cpu: usize,
    /// Spin time between sleeps of 1 ms; `None` spins without sleep.
    pub(crate) spin_ns: Option<u64>,
}

impl BusyTask {
    /// Keeps its CPU busy from its phase on until the run is over.
    pub(crate) fn run(&self, ledger: &Ledger) -> Result<()> {
        take_place(c"vmaple-busy", self.cpu, 0)?;
        get_ready(ledger, Phase::Busy);
        ledger.slots()[self.slot].started_ns.store(now_ns(), Ordering::Relaxed);
        ledger.count(&ledger.header().started);
        // A process is killed; a thread has to look, also while it spins: starved scanners wait for
        // the CPU.
        while !ledger.is_at(Phase::Clear) {
            let begin = now_ns();
            while self.spin_ns.is_none_or(|ns| now_ns() - begin < ns) && !ledger.is_at(Phase::Clear) {
                std::hint::spin_loop();
            }
            if self.spin_ns.is_some() {
                // A signal that ends the sleep early ends the process too, or does not matter.
                let _ = rustix::thread::nanosleep(&timespec(1_000_000));
            }
        }
        Ok(())
    }
}
