//! A lock around `rangemap`, the one peer that holds ranges as such. A store looks for overlaps and
//! for neighbours to merge with, which no other peer does.

use parking_lot::RwLock;
use rangemap::RangeInclusiveMap;

use super::{scan, sum, sum_dependent, walk};
use crate::map::Map;
use crate::workload::Range;

/// Equal by address: neighbours with equal values would be merged.
#[derive(Clone)]
struct Held(&'static Range);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Held {}

pub struct Peer(RwLock<RangeInclusiveMap<u64, Held>>);

impl Map for Peer {
    const NAME: &'static str = "parking_lot 0.13 RwLock, rangemap 1";

    fn new() -> Self {
        Self(RwLock::default())
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            let range = &ranges[i as usize];
            self.0.write().insert(range.first..=range.last, Held(range));
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            let range = &ranges[i as usize];
            self.0.write().remove(range.first..=range.last);
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            self.0.write().remove(range.first..=range.last);
            self.0.write().insert(range.first..=range.last, Held(range));
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        let map = self.0.read();
        sum(queries, |query| map.get(&query).map(|held| held.0))
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        let map = self.0.read();
        sum_dependent(queries, n, |query| map.get(&query).map(|held| held.0))
    }

    fn iterate(&self) -> u64 {
        self.0.read().iter().map(|(_, held)| held.0.first).sum()
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        scan(from, n, |from| {
            let map = self.0.read();
            let entries = map.overlapping(from..=u64::MAX);
            walk(entries.map(|(key, held)| (*key.start() == held.0.first && *key.end() == held.0.last, held.0)))
        })
    }
}
