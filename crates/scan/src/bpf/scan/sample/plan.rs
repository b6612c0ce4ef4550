//! How many tables of pages are counted.

use std::time::Duration;

use crate::bpf::abi::NO_TABLE;
use crate::options::Sample;

/// The CPU time that a table takes that is not counted, and the first guess of one that is.
const PASSED_NS: f64 = 80.0;
const COUNTED_NS: f64 = 20_000.0;

/// The plan of a scan that counts a part of the tables. It is made again before each run, by what
/// the runs so far have cost.
#[derive(Debug)]
pub(super) struct Plan {
    sample: Sample,
    /// Tables that are not reached yet, as far as is known.
    ahead: f64,
    counted: f64,
    /// The CPU time of a table that is counted.
    cost_ns: f64,
}

impl Plan {
    /// Returns a plan for a process with this number of tables, or somewhat fewer.
    pub(super) fn new(sample: Sample, tables: u64) -> Self {
        Self {
            sample,
            ahead: tables as f64,
            counted: 0.0,
            cost_ns: COUNTED_NS,
        }
    }

    /// Takes in what a run has reached, and what it has cost.
    pub(super) fn learn(&mut self, passed: u64, counted: u64, took: Duration) {
        self.ahead = (self.ahead - (passed + counted) as f64).max(0.0);
        self.counted += counted as f64;
        if counted > 0 {
            let cost = (took.as_nanos() as f64 - passed as f64 * PASSED_NS).max(1.0) / counted as f64;
            self.cost_ns = (self.cost_ns + cost) / 2.0;
        }
    }

    /// Returns the nanoseconds in which tables may still be counted; `None` if no time limits that,
    /// or none is left.
    pub(super) fn left(&self, used: Duration) -> Option<u64> {
        match self.sample {
            Sample::Cpu(time) => Some(time.saturating_sub(used).as_nanos() as u64).filter(|&left| left > 0),
            Sample::All | Sample::Tables(_) => None,
        }
    }

    /// Returns of how many tables one is counted from now on, or [`NO_TABLE`], if this CPU time was
    /// used so far.
    pub(super) fn every(&self, used: Duration) -> u32 {
        let more = match self.sample {
            Sample::All => return 1,
            Sample::Tables(tables) => f64::from(tables) - self.counted,
            Sample::Cpu(time) => {
                let left = time.saturating_sub(used).as_nanos() as f64 - self.ahead * PASSED_NS;
                left / self.cost_ns
            }
        };
        if more < 1.0 {
            return NO_TABLE;
        }
        (self.ahead / more).ceil().clamp(1.0, f64::from(NO_TABLE - 1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_tables_are_counted_as_were_asked_for_whatever_they_cost() {
        let mut plan = Plan::new(Sample::Tables(100), 10_000);
        assert_eq!(plan.every(Duration::ZERO), 100);
        plan.learn(4950, 50, Duration::from_secs(1));
        assert_eq!(plan.every(Duration::from_secs(9)), 100);
        plan.learn(0, 50, Duration::from_secs(1));
        assert_eq!(plan.every(Duration::from_secs(9)), NO_TABLE);
    }

    #[test]
    fn a_time_that_is_used_up_counts_no_more_tables_and_one_that_is_left_more() {
        let time = Duration::from_millis(5);
        let mut plan = Plan::new(Sample::Cpu(time), 10_000);
        let first = plan.every(Duration::ZERO);
        assert!((40..=50).contains(&first), "{first}");
        // They cost a quarter of what was thought.
        plan.learn(1000, 25, Duration::from_nanos(25 * 5_000 + 40_000));
        assert!(plan.every(Duration::from_micros(165)) < first);
        assert_eq!(plan.every(time), NO_TABLE);
    }

    #[test]
    fn all_are_counted_if_there_is_time_for_all() {
        let plan = Plan::new(Sample::Cpu(Duration::from_secs(1)), 100);
        assert_eq!(plan.every(Duration::ZERO), 1);
        assert_eq!(Plan::new(Sample::All, 1 << 40).every(Duration::ZERO), 1);
    }
}
