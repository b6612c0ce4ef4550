//! `masstree`, keyed by the bytes of last. A successor is the first step of a scan; it has no call
//! for it.

use masstree::{MassTree, RangeBound};

use super::{Walked, scan, sum, sum_dependent};
use crate::map::Map;
use crate::workload::Range;

/// Values are addresses of ranges: nodes hold words.
pub struct Peer(MassTree<usize>);

fn address(range: &'static Range) -> usize {
    std::ptr::from_ref(range).expose_provenance()
}

fn range(address: usize) -> &'static Range {
    // SAFETY: only `address`es of ranges that stay are stored. A removal leaves the word in its
    // slot, so that a concurrent reader sees no other.
    unsafe { &*std::ptr::with_exposed_provenance(address) }
}

impl Peer {
    /// Searches in a section that ends when this is dropped.
    fn finder(&self) -> impl Fn(u64) -> Option<&'static Range> {
        let guard = self.0.guard();
        move |query| {
            let mut found = None;
            let start = query.to_be_bytes();
            let visit = |value| {
                found = Some(range(value));
                false
            };
            self.0
                .scan_values(RangeBound::Included(&start), RangeBound::Unbounded, visit, &guard);
            found.filter(|range| range.first <= query)
        }
    }
}

impl Map for Peer {
    const NAME: &'static str = "masstree 0.9";

    fn new() -> Self {
        Self(MassTree::new())
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            let range = &ranges[i as usize];
            self.0.insert(&range.last.to_be_bytes(), address(range));
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            let _ = self.0.remove(&ranges[i as usize].last.to_be_bytes());
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            let _ = self.0.remove(&range.last.to_be_bytes());
            self.0.insert(&range.last.to_be_bytes(), address(range));
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        sum(queries, self.finder())
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        sum_dependent(queries, n, self.finder())
    }

    fn iterate(&self) -> u64 {
        let mut sum = 0;
        let visit = |value| {
            sum += range(value).first;
            true
        };
        self.0
            .scan_values(RangeBound::Unbounded, RangeBound::Unbounded, visit, &self.0.guard());
        sum
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        scan(from, n, |from| {
            let mut walked = Walked::default();
            let start = from.to_be_bytes();
            let visit = |key: &[u8], value| {
                let range = range(value);
                // No assertion: with a concurrent writer, 0.9.5 now and then returns the key of one
                // moment with the value of another. What does not match is skipped.
                key != range.last.to_be_bytes() || walked.see(range)
            };
            let (start, end) = (RangeBound::Included(&start), RangeBound::Unbounded);
            self.0.scan_intra_leaf_batch(start, end, visit, &self.0.guard());
            walked
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A thread keeps nodes that it freed for its next tree, which would then seem to need less
        // memory.
        let tree = std::mem::take(&mut self.0);
        std::thread::spawn(|| drop(tree)).join().expect("no panic");
    }
}
