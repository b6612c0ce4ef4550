//! `scc`'s tree, keyed by first. A search up from below the lowest key, or down from above the
//! highest, visits each node, as a lookup in the lowest range would, were last the key; `locate`
//! finds a predecessor without that.

use scc::tree_index::Proximity;
use scc::{Guard, TreeIndex};

use super::{scan, sum, sum_dependent, walk};
use crate::map::Map;
use crate::workload::Range;

pub struct Peer(TreeIndex<u64, &'static Range>);

impl Peer {
    fn find(&self, query: u64, guard: &Guard) -> Option<&'static Range> {
        let (_, &range) = match self.0.locate(&query, guard) {
            Proximity::Exact(at) | Proximity::Between(at) => at.get(),
            Proximity::Smaller(at) => at.get_back(),
            _ => None,
        }?;
        (range.last >= query).then_some(range)
    }
}

impl Map for Peer {
    const NAME: &'static str = "scc 3 TreeIndex";

    fn new() -> Self {
        Self(TreeIndex::new())
    }

    fn begin_thread() {
        // What the crate has for a thread is not the map's memory.
        drop(Guard::new());
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            let range = &ranges[i as usize];
            let _ = self.0.insert_sync(range.first, range);
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            self.0.remove_sync(&ranges[i as usize].first);
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            self.0.remove_sync(&range.first);
            let _ = self.0.insert_sync(range.first, range);
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        let guard = Guard::new();
        sum(queries, |query| self.find(query, &guard))
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        let guard = Guard::new();
        sum_dependent(queries, n, |query| self.find(query, &guard))
    }

    fn iterate(&self) -> u64 {
        self.0.iter(&Guard::new()).map(|(_, range)| range.first).sum()
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        scan(from, n, |from| {
            let guard = Guard::new();
            let right = |(&first, &range): (&u64, &&'static Range)| (first == range.first, range);
            // Not a range from 0, which is below the lowest key.
            if from == 0 {
                walk(self.0.iter(&guard).map(right))
            } else {
                walk(self.0.range(from.., &guard).map(right))
            }
        })
    }
}
