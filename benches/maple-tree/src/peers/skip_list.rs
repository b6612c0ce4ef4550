//! `crossbeam-skiplist`, keyed by first. Not its `SkipMap`, whose steps each enter and leave a
//! section and count references to their results, but the list below it, which is used in sections
//! as the other peers are.

use std::ops::Bound;

use crossbeam_epoch::{Guard, default_collector, pin};
use crossbeam_skiplist::SkipList;

use super::{scan, sum, sum_dependent, walk};
use crate::map::Map;
use crate::workload::Range;

pub struct Peer(SkipList<u64, &'static Range>);

impl Peer {
    fn insert(&self, range: &'static Range) {
        let guard = pin();
        self.0.insert(range.first, range, &guard).release(&guard);
    }

    fn remove(&self, range: &Range) {
        let guard = pin();
        if let Some(entry) = self.0.remove(&range.first, &guard) {
            entry.release(&guard);
        }
    }

    fn find(&self, query: u64, guard: &Guard) -> Option<&'static Range> {
        let range = *self.0.upper_bound(Bound::Included(&query), guard)?.value();
        (range.last >= query).then_some(range)
    }
}

impl Map for Peer {
    const NAME: &'static str = "crossbeam-skiplist 0.1 SkipList";

    fn new() -> Self {
        Self(SkipList::new(default_collector().clone()))
    }

    fn begin_thread() {
        // What the crate has for a thread is not the map's memory.
        drop(pin());
    }

    fn end_thread() {
        pin().flush();
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            self.insert(&ranges[i as usize]);
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            self.remove(&ranges[i as usize]);
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            self.remove(range);
            self.insert(range);
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        let guard = pin();
        sum(queries, |query| self.find(query, &guard))
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        let guard = pin();
        sum_dependent(queries, n, |query| self.find(query, &guard))
    }

    fn iterate(&self) -> u64 {
        self.0.iter(&pin()).map(|entry| entry.value().first).sum()
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        scan(from, n, |from| {
            let guard = pin();
            walk(
                self.0
                    .range(from.., &guard)
                    .map(|entry| (*entry.key() == entry.value().first, *entry.value())),
            )
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // All maps have one collector: what one leaves there would be freed while the next is
        // measured.
        self.0.clear(&mut pin());
        for _ in 0..1024 {
            pin().flush();
        }
    }
}
