//! `imbl`'s persistent map in an `arc-swap`, keyed by first. A writer publishes a changed copy for
//! each operation.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::OrdMap;
use parking_lot::Mutex;

use super::{scan, sum, sum_dependent, walk};
use crate::map::Map;
use crate::workload::Range;

type Tree = OrdMap<u64, &'static Range>;

#[derive(Default)]
pub struct Peer {
    tree: ArcSwap<Tree>,
    /// Held from the load to the store of a change.
    writer: Mutex<()>,
}

impl Peer {
    fn change(&self, change: impl FnOnce(&mut Tree)) {
        let _writer = self.writer.lock();
        let mut tree = Tree::clone(&self.tree.load());
        change(&mut tree);
        self.tree.store(Arc::new(tree));
    }
}

fn find(tree: &Tree, query: u64) -> Option<&'static Range> {
    let (_, &range) = tree.get_prev(&query)?;
    (range.last >= query).then_some(range)
}

impl Map for Peer {
    const NAME: &'static str = "arc-swap 1, imbl 7 OrdMap";

    fn new() -> Self {
        Self::default()
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            let range = &ranges[i as usize];
            self.change(|tree| _ = tree.insert(range.first, range));
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            self.change(|tree| _ = tree.remove(&ranges[i as usize].first));
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            self.change(|tree| _ = tree.remove(&range.first));
            self.change(|tree| _ = tree.insert(range.first, range));
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        let tree = self.tree.load();
        sum(queries, |query| find(&tree, query))
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        let tree = self.tree.load();
        sum_dependent(queries, n, |query| find(&tree, query))
    }

    fn iterate(&self) -> u64 {
        self.tree.load().values().map(|range| range.first).sum()
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        scan(from, n, |from| {
            let tree = self.tree.load();
            walk(tree.range(from..).map(|(&first, &range)| (first == range.first, range)))
        })
    }
}
