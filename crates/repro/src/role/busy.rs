//! The busy task: unrelated work that eats the CPU the scanners need.

use std::sync::atomic::Ordering;

use crate::clock::{now_ns, timespec};
use crate::error::Result;
use crate::ledger::{Ledger, Phase};

use super::{Task, get_ready, take_place};

pub(super) fn run(task: &Task, ledger: &Ledger) -> Result<()> {
    let &Task::Busy { slot, cpu, spin_ns } = task else {
        unreachable!("dispatched by task");
    };
    take_place(c"vmaple-busy", cpu, 0)?;
    get_ready(ledger, Phase::Busy);
    ledger.slots()[slot].started_ns.store(now_ns(), Ordering::Relaxed);
    ledger.count(&ledger.header().started);
    loop {
        let begin = now_ns();
        while spin_ns.is_none_or(|ns| now_ns() - begin < ns) {
            std::hint::spin_loop();
        }
        // A signal that ends the sleep early ends the process too, or is of no matter.
        let _ = rustix::thread::nanosleep(&timespec(1_000_000));
    }
}
