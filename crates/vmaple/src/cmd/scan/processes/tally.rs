//! What became of the processes that a round selected.

use std::fmt;

use vmaple_scan::{Error, Report};

use crate::cmd::scan::processes::target::Failure;
use crate::cmd::scan::sample::Drawn;

/// The processes of one round, counted by what became of them.
#[derive(Debug, Default)]
pub(in crate::cmd::scan) struct Tally {
    pub(in crate::cmd::scan) scanned: usize,
    /// Ended, or executed another program, after they were found.
    gone: usize,
    kernel_threads: usize,
    /// Those that the caller may not read.
    not_permitted: usize,
    /// Why the first of them may not be read.
    why: Option<String>,
    drawn: Drawn,
}

impl Tally {
    pub(in crate::cmd::scan) fn new(kernel_threads: usize) -> Self {
        Self {
            kernel_threads,
            ..Self::default()
        }
    }

    /// Counts a process that was selected and not scanned. Returns whether that is all there is to
    /// say: others are errors of their own.
    pub(in crate::cmd::scan) fn counts(&mut self, failure: &Failure) -> bool {
        match &failure.error {
            Error::NoProcess(_) | Error::Exiting(_) | Error::Zombie(_) | Error::Executed(_) => self.gone += 1,
            Error::KernelThread(_) => self.kernel_threads += 1,
            Error::NotPermitted(denied) => {
                self.not_permitted += 1;
                self.why.get_or_insert_with(|| denied.to_string());
            }
            _ => return false,
        }
        true
    }

    /// Adds how a process was scanned.
    pub(in crate::cmd::scan) fn add_drawn(&mut self, report: &Report) {
        if let Some(sampled) = &report.sampled {
            self.drawn.add(sampled);
        }
    }

    /// Returns whether the result lacks processes that were asked for.
    pub(in crate::cmd::scan) fn lacks_some(&self) -> bool {
        self.not_permitted > 0
    }
}

/// Returns a number with a noun.
fn of(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.why {
            let count = of(self.not_permitted, "process", "processes");
            write!(f, "LEFT OUT: {count} not permitted, the first: {why}; ")?;
        }
        match self.scanned + self.gone + self.not_permitted {
            0 => f.write_str("no process matches")?,
            _ => write!(f, "{} scanned", of(self.scanned, "process", "processes"))?,
        }
        if self.gone > 0 {
            write!(f, ", {} gone meanwhile", self.gone)?;
        }
        if self.kernel_threads > 0 {
            let count = of(self.kernel_threads, "kernel thread", "kernel threads");
            write!(f, ", {count} without memory")?;
        }
        match self.drawn.text() {
            Some(drawn) => write!(f, "; SAMPLED: {drawn}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: Error) -> Failure {
        Failure {
            error,
            has_ended: false,
        }
    }

    #[test]
    fn processes_that_come_and_go_are_counted_and_other_failures_are_not() {
        let mut tally = Tally::new(2);
        tally.scanned = 1;
        for error in [
            Error::NoProcess(1),
            Error::Zombie(2),
            Error::Exiting(3),
            Error::Executed(4),
        ] {
            assert!(tally.counts(&failed(error)));
        }
        assert!(tally.counts(&failed(Error::KernelThread(5))));
        assert!(!tally.counts(&failed(Error::NotPossible("no BTF".into()))));
        assert!(!tally.lacks_some());
        let text = "1 process scanned, 4 gone meanwhile, 3 kernel threads without memory";
        assert_eq!(tally.to_string(), text);
        assert_eq!(Tally::default().to_string(), "no process matches");
    }
}
