//! A lock around std's `BTreeMap`, keyed by first: a search for a predecessor costs the same as one
//! for a successor.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::{scan, sum, sum_dependent, walk};
use crate::map::Map;
use crate::workload::Range;

type Tree = BTreeMap<u64, (u64, &'static Range)>;

pub struct Peer(RwLock<Tree>);

fn find(tree: &Tree, query: u64) -> Option<&'static Range> {
    let (_, &(last, range)) = tree.range(..=query).next_back()?;
    (last >= query).then_some(range)
}

impl Map for Peer {
    const NAME: &'static str = "parking_lot 0.13 RwLock, std BTreeMap";

    fn new() -> Self {
        Self(RwLock::default())
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            let range = &ranges[i as usize];
            self.0.write().insert(range.first, (range.last, range));
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            self.0.write().remove(&ranges[i as usize].first);
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            self.0.write().remove(&range.first);
            self.0.write().insert(range.first, (range.last, range));
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        let tree = self.0.read();
        sum(queries, |query| find(&tree, query))
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        let tree = self.0.read();
        sum_dependent(queries, n, |query| find(&tree, query))
    }

    fn iterate(&self) -> u64 {
        self.0.read().values().map(|(_, range)| range.first).sum()
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        scan(from, n, |from| {
            let tree = self.0.read();
            walk(
                tree.range(from..)
                    .map(|(&first, &(last, range))| (first == range.first && last == range.last, range)),
            )
        })
    }
}
