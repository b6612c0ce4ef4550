//! A set of latencies: exact count, sum and maximum, and a histogram of two digits for the
//! percentiles.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::histogram::{BUCKETS, bucket_of, end_of};

/// Collects latencies without allocating: all memory is taken, and touched, by [`Recorder::new`].
pub(crate) struct Recorder {
    /// How many there are in each bucket.
    counts: Vec<u64>,
    total_ns: u64,
    max_ns: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let mut counts = vec![0; BUCKETS];
        // Writes every counter, so that no page of the histogram is first touched during a run; the
        // compiler must not know that they are zero already.
        black_box(&mut counts).fill(0);
        Self {
            counts,
            total_ns: 0,
            max_ns: 0,
        }
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.total_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    pub(crate) fn finish(self) -> Latencies {
        Latencies::of_buckets(self.counts, self.total_ns, self.max_ns)
    }
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
    /// Pairs of a value in nanoseconds (the upper end of its bucket, two digits) and how many fell
    /// there; ascending.
    pub histogram: Vec<(u64, u64)>,
}

impl Latencies {
    /// Puts together the counts of all buckets, a sum and a maximum.
    pub(crate) fn of_buckets(counts: impl IntoIterator<Item = u64>, total_ns: u64, max_ns: u64) -> Self {
        let counts = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        let histogram: Vec<_> = counts.map(|(bucket, count)| (end_of(bucket), count)).collect();
        Self {
            count: histogram.iter().fold(0, |sum, (_, count)| count.saturating_add(sum)),
            total_ns,
            max_ns,
            histogram,
        }
    }

    /// Adds up several sets.
    #[must_use]
    pub fn merged<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut counts, mut total_ns, mut max_ns) = (vec![0_u64; BUCKETS], 0_u64, 0);
        for set in sets {
            // A foreign report may hold any numbers.
            total_ns = total_ns.saturating_add(set.total_ns);
            max_ns = set.max_ns.max(max_ns);
            for &(ns, count) in &set.histogram {
                let sum = &mut counts[bucket_of(ns)];
                *sum = count.saturating_add(*sum);
            }
        }
        Self::of_buckets(counts, total_ns, max_ns)
    }

    /// Returns the arithmetic mean in nanoseconds; `None` for an empty set.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total_ns as f64 / self.count as f64)
    }

    /// Returns the smallest value that is at least as long as `share` (0 to 1) of all, never above
    /// the exact maximum.
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

    /// Returns how many took `ns` or longer, to the histogram's two digits.
    #[must_use]
    pub fn at_least(&self, ns: u64) -> u64 {
        let long = self.histogram.iter().filter(|(v, _)| *v >= ns);
        long.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Returns the sum of those that took `ns` or longer, to the histogram's two digits.
    #[must_use]
    pub fn total_at_least_ns(&self, ns: u64) -> u64 {
        let long = self.histogram.iter().filter(|(v, _)| *v >= ns);
        long.fold(0, |sum, (v, count)| sum.saturating_add(v.saturating_mul(*count)))
    }

    /// Checks what a file from elsewhere may get wrong.
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
        let set = recorded([1 << 43]);
        assert_eq!((set.count, set.max_ns), (1, 1 << 43));
    }

    #[test]
    fn a_histogram_that_does_not_add_up_is_refused() {
        let mut set = recorded([1, 2, 3]);
        set.count = 4;
        assert!(set.check().is_err());
    }
}
