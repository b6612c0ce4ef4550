//! `concurrent-map`, keyed by first: it finds a predecessor in one descent, a successor in two.

use concurrent_map::ConcurrentMap;
use parking_lot::Mutex;

use super::{scan, sum, sum_dependent, walk};
use crate::map::Map;
use crate::workload::Range;

type Handle = ConcurrentMap<u64, &'static Range>;

/// A handle is for one thread; each call has its own.
///
/// This one stays, which also keeps the map a concurrent one: with a single handle it changes nodes
/// in place.
pub struct Peer(Mutex<Handle>);

impl Peer {
    fn handle(&self) -> Handle {
        self.0.lock().clone()
    }
}

fn find(map: &Handle, query: u64) -> Option<&'static Range> {
    let (_, range) = map.get_lte(&query)?;
    (range.last >= query).then_some(range)
}

impl Map for Peer {
    const NAME: &'static str = "concurrent-map 5";

    fn new() -> Self {
        Self(Mutex::default())
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        let map = self.handle();
        for &i in order {
            let range = &ranges[i as usize];
            map.insert(range.first, range);
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        let map = self.handle();
        for &i in which {
            map.remove(&ranges[i as usize].first);
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        let map = self.handle();
        for &i in which {
            let range = &ranges[i as usize];
            map.remove(&range.first);
            map.insert(range.first, range);
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        let map = self.handle();
        // An iterator is the one way to stay in a section; without it each lookup has a fence.
        let _section = map.iter();
        sum(queries, |query| find(&map, query))
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        let map = self.handle();
        let _section = map.iter();
        sum_dependent(queries, n, |query| find(&map, query))
    }

    fn iterate(&self) -> u64 {
        self.handle().iter().map(|(_, range)| range.first).sum()
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        let map = self.handle();
        scan(from, n, |from| {
            walk(map.range(from..).map(|(first, range)| (first == range.first, range)))
        })
    }
}
