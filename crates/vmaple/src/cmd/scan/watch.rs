//! Rounds of groups for a screen, which prints nothing by itself.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::cli::{GroupBy, ScanOptions};
use crate::cmd::scan::plan::Plan;
use crate::cmd::scan::processes::select::Selection;
use crate::cmd::scan::rounds::Rounds;

/// Scans that go on, in groups.
pub(in crate::cmd) struct Watch {
    rounds: Rounds,
}

/// What a round found.
pub(in crate::cmd) struct Round {
    /// The groups, as JSON: an object on each line.
    pub(in crate::cmd) groups: String,
    /// How many processes, and what is missing.
    pub(in crate::cmd) said: String,
    /// The CPU time that it took.
    pub(in crate::cmd) cpu: Duration,
}

impl Watch {
    /// Starts the scanner.
    ///
    /// # Errors
    /// As of `vmaple scan` with these options.
    pub(in crate::cmd) fn start(options: &ScanOptions) -> anyhow::Result<Self> {
        let plan = Plan::of(options, false)?;
        let selection = Selection::of(options)?;
        crate::cmd::scan::processes::target::allow_many_to_be_open();
        let scanner = super::scanner(&plan, options)?;
        Ok(Self {
            rounds: Rounds::new(scanner, plan, selection, None, options),
        })
    }

    /// Scans each process once.
    ///
    /// # Errors
    /// If the processes cannot be listed.
    pub(in crate::cmd) fn round(&mut self) -> anyhow::Result<Round> {
        let began = cpu_time();
        let (groups, said) = self.rounds.groups()?;
        Ok(Round {
            groups,
            said,
            cpu: cpu_time().saturating_sub(began),
        })
    }

    /// Sets what the next rounds have in one group.
    pub(in crate::cmd) fn group_by(&mut self, by: GroupBy) {
        self.rounds.group_by(by);
    }
}

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
