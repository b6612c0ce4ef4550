//! What is asked of a map. Loops are inside, so that a call in another language is not what is measured.

use crate::workload::Range;

/// A map of ranges to references to them, with one writer and readers beside it.
pub trait Map: Sync {
    const NAME: &'static str;

    fn new() -> Self;

    /// Before and after a thread uses the map.
    fn begin_thread() {}
    fn end_thread() {}

    /// Stores the ranges in this order.
    fn store(&self, ranges: &'static [Range], order: &[u32]);

    /// Takes these out.
    fn erase(&self, ranges: &'static [Range], which: &[u32]);

    /// Takes each out and puts it back, and calls `each` after every such pair.
    fn churn(&self, ranges: &'static [Range], which: &[u32], each: impl FnMut());

    /// Sum of `first` of the ranges that hold the queries; all in one section where there are sections.
    fn lookup(&self, queries: &[u64]) -> u64;

    /// The same for `n` queries, where the next query hangs on the answer to the one before:
    /// `queries[(k + (found.first >> 63)) & mask]`.
    fn dependent(&self, queries: &[u64], n: usize) -> u64;

    /// Sum of `first` of all ranges in order, in one section.
    fn iterate(&self) -> u64;

    /// Walks on from `from`, in sections of 256 ranges, until `n` were seen; begins anew at the end. Returns what comes next.
    fn scan(&self, from: u64, n: usize) -> u64;

    /// Sum of the highest gaps of the sizes within the limits; `None` if it cannot be asked.
    fn gaps(&self, limits: &(Vec<u64>, Vec<u64>, Vec<u64>)) -> Option<u64> {
        let _ = limits;
        None
    }

    /// Bytes of the map's nodes; `None`: what the allocator gave counts.
    fn bytes(&self) -> Option<usize> {
        None
    }
}
