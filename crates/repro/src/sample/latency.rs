//! A set of latencies: exact count, sum and maximum, and a histogram of two digits for the percentiles.

use std::hint::black_box;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest latency that keeps its two digits; longer ones are counted at this value (their exact maximum is kept).
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// Collects latencies without allocating: all memory is taken, and touched, by [`Recorder::new`].
pub(crate) struct Recorder {
    histogram: Histogram<u64>,
    total_ns: u64,
    max_ns: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let mut histogram = new_histogram();
        // Writes every counter, so that no page of the histogram is first touched during a run; the compiler must not
        // know that they are zero already.
        black_box(&mut histogram).clear();
        Self {
            histogram,
            total_ns: 0,
            max_ns: 0,
        }
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.total_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    pub(crate) fn finish(self) -> Latencies {
        Latencies {
            count: self.histogram.len(),
            total_ns: self.total_ns,
            max_ns: self.max_ns,
            histogram: self
                .histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 2).expect("constant bounds that the crate documents as valid")
}

/// Latencies as they are saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// How many there are.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub total_ns: u64,
    /// The longest, in nanoseconds, exact.
    pub max_ns: u64,
    /// Pairs of a value in nanoseconds (the upper end of its bucket, two digits) and how many fell there; ascending.
    pub histogram: Vec<(u64, u64)>,
}

impl Latencies {
    /// All of several sets as one.
    #[must_use]
    pub fn merged<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        let mut histogram = new_histogram();
        for set in sets {
            // A foreign report may hold any numbers.
            all.count = all.count.saturating_add(set.count);
            all.total_ns = all.total_ns.saturating_add(set.total_ns);
            all.max_ns = all.max_ns.max(set.max_ns);
            for &(ns, count) in &set.histogram {
                histogram.saturating_record_n(ns, count);
            }
        }
        all.histogram = histogram
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect();
        all
    }

    /// The arithmetic mean in nanoseconds; `None` of an empty set.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total_ns as f64 / self.count as f64)
    }

    /// The smallest value that is at least as long as `share` (0 to 1) of all, never above the exact maximum.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        self.histogram
            .iter()
            .find(|(_, count)| {
                passed = count.saturating_add(passed);
                passed >= rank
            })
            .map(|&(ns, _)| ns.min(self.max_ns))
    }

    /// How many took `ns` or longer, to the histogram's two digits.
    #[must_use]
    pub fn at_least(&self, ns: u64) -> u64 {
        let long = self.histogram.iter().filter(|(v, _)| *v >= ns);
        long.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Sum of those that took `ns` or longer, to the histogram's two digits.
    #[must_use]
    pub fn total_at_least_ns(&self, ns: u64) -> u64 {
        let long = self.histogram.iter().filter(|(v, _)| *v >= ns);
        long.fold(0, |sum, (v, count)| sum.saturating_add(v.saturating_mul(*count)))
    }

    /// Checks what no recorder would write, as a file from elsewhere may.
    ///
    /// # Errors
    /// Fails if the histogram does not hold `count` values.
    pub fn check(&self) -> Result<()> {
        let held = self.histogram.iter().try_fold(0_u64, |sum, (_, n)| sum.checked_add(*n));
        if held == Some(self.count) {
            Ok(())
        } else {
            Err(Error::failed(
                "reading a histogram",
                format!("its counts do not add up to {}", self.count),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(values: impl IntoIterator<Item = u64>) -> Latencies {
        let mut recorder = Recorder::new();
        values.into_iter().for_each(|v| recorder.record(v));
        recorder.finish()
    }

    #[test]
    fn quantiles_are_right_to_two_digits_and_the_maximum_is_exact() {
        let set = recorded((1..=100_000).map(|i| i * 1_001));
        assert_eq!(set.count, 100_000);
        assert_eq!(set.max_ns, 100_100_000);
        for share in [0.001, 0.5, 0.99, 0.999, 1.0] {
            let exact = share * 100_100_000.0;
            let got = set.quantile_ns(share).unwrap() as f64;
            assert!((got / exact - 1.0).abs() < 1e-2, "{share}: {got} for {exact}");
        }
        assert_eq!(set.quantile_ns(1.0), Some(set.max_ns));
    }

    #[test]
    fn merging_is_recording_together() {
        let (a, b) = (recorded([5, 70, 900]), recorded([70, 12_345_678]));
        assert_eq!(Latencies::merged([&a, &b]), recorded([5, 70, 900, 70, 12_345_678]));
    }

    #[test]
    fn an_empty_set_has_neither_mean_nor_quantiles() {
        let set = recorded([]);
        assert_eq!((set.mean_ns(), set.quantile_ns(0.5)), (None, None));
    }

    #[test]
    fn a_latency_beyond_the_histogram_keeps_its_exact_maximum() {
        let set = recorded([2 * HIGHEST_NS]);
        assert_eq!((set.count, set.max_ns), (1, 2 * HIGHEST_NS));
    }

    #[test]
    fn a_histogram_that_does_not_add_up_is_refused() {
        let mut set = recorded([1, 2, 3]);
        set.count = 4;
        assert!(set.check().is_err());
    }
}
