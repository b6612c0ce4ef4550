//! How a role takes its place and reports it.

use crate::error::{Error, Result};
use crate::machine::sched;

use super::{Ledger, Phase};

/// Names and places the calling thread.
pub(crate) fn take_place(name: &std::ffi::CStr, cpu: usize, nice: i32) -> Result<()> {
    rustix::thread::set_name(name).map_err(|e| Error::failed("naming a role", e))?;
    sched::pin(cpu)?;
    sched::renice(nice)?;
    sched::usual_timer_slack()
}

/// Reports that a role is set up, then waits for its phase.
pub(crate) fn get_ready(ledger: &Ledger, phase: Phase) {
    ledger.count(&ledger.header().ready);
    ledger.wait_for(phase);
}
