//! What is measured of a map. The loops are inside, so that a call to another language is not what
//! is measured.

use crate::workload::Range;

/// A map of ranges to references to them, with one writer and concurrent readers.
pub trait Map: Sync {
    const NAME: &'static str;

    fn new() -> Self;

    /// Called before and after a thread uses the map.
    fn begin_thread() {}
    fn end_thread() {}

    /// Stores the ranges in this order.
    fn store(&self, ranges: &'static [Range], order: &[u32]);

    /// Removes these.
    fn erase(&self, ranges: &'static [Range], which: &[u32]);

    /// Removes each and puts it back, and calls `each` after every such pair.
    fn churn(&self, ranges: &'static [Range], which: &[u32], each: impl FnMut());

    /// Returns the sum of `first` of the ranges that hold the queries; all in one section where
    /// there are sections.
    fn lookup(&self, queries: &[u64]) -> u64;

    /// Does the same for `n` queries, where each depends on the answer to the one before:
    /// `queries[(k + (found.first >> 63)) & mask]`.
    fn dependent(&self, queries: &[u64], n: usize) -> u64;

    /// Returns the sum of `first` of all ranges in order, in one section.
    fn iterate(&self) -> u64;

    /// Walks on from `from`, in sections of 256 ranges, until `n` were seen; starts again at the
    /// end. Returns what comes next.
    fn scan(&self, from: u64, n: usize) -> u64;

    /// Returns the sum of the highest gaps of the sizes within the limits; `None` if the map has no
    /// such search.
    fn gaps(&self, limits: &(Vec<u64>, Vec<u64>, Vec<u64>)) -> Option<u64> {
        let _ = limits;
        None
    }

    /// Returns the bytes of the map's nodes; `None` if what was allocated counts.
    fn bytes(&self) -> Option<usize> {
        None
    }
}
