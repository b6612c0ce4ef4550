//! The peers: what a Rust program would use today for ranges that are looked up while a writer
//! works.
//!
//! None has a search for gaps, so `gaps` stays `None` for all. Only `rangemap` knows ranges: the
//! others hold points. They are given each range by one of its ends, and neither see nor resolve
//! that a range overlaps those stored before it. The key is the end that makes the crate's lookups
//! cheaper. All hold `&'static Range`, and read the range that they find.
//!
//! As with maple-tree, a writer enters and leaves (a lock, a section) for each operation, and a
//! reader once for each call and for every 256 ranges of a scan.

mod btree;
mod concurrent_map;
mod imbl;
mod masstree;
mod range_map;
mod skip_list;
mod tree_index;

use crate::workload::Range;
use crate::{Figures, Workload, measure};

/// Ranges that a scan sees in one section.
const SECTION: usize = 256;

/// All of them.
pub fn all() -> Vec<fn(&mut Figures, &Workload)> {
    vec![
        measure::<btree::Peer>,
        measure::<range_map::Peer>,
        measure::<skip_list::Peer>,
        measure::<tree_index::Peer>,
        measure::<concurrent_map::Peer>,
        measure::<masstree::Peer>,
        measure::<imbl::Peer>,
    ]
}

/// [`crate::map::Map::lookup`] in an open section.
fn sum(queries: &[u64], find: impl Fn(u64) -> Option<&'static Range>) -> u64 {
    queries
        .iter()
        .fold(0, |sum, &q| sum + find(q).map_or(0, |range| range.first))
}

/// [`crate::map::Map::dependent`] in an open section.
fn sum_dependent(queries: &[u64], n: usize, find: impl Fn(u64) -> Option<&'static Range>) -> u64 {
    let (mut sum, mut next) = (0, 0);
    for k in 0..n {
        let found = find(queries[(k + next) & (queries.len() - 1)]).map_or(0, |range| range.first);
        next = (found >> 63) as usize;
        sum += found;
    }
    sum
}

/// Runs [`crate::map::Map::scan`], where `section` opens a section, [`walk`]s in it, and leaves it.
fn scan(mut from: u64, n: usize, section: impl Fn(u64) -> Walked) -> u64 {
    let mut seen = 0;
    while seen < n {
        let walked = section(from);
        from = if walked.seen < SECTION { 0 } else { walked.next };
        seen += walked.seen;
    }
    from
}

/// How many ranges a section saw, and what comes next.
#[derive(Default)]
struct Walked {
    seen: usize,
    next: u64,
}

impl Walked {
    /// Whether the section goes on after this range.
    fn see(&mut self, range: &Range) -> bool {
        self.seen += 1;
        self.next = range.last + 1;
        self.seen < SECTION
    }
}

/// Visits one section's ranges, each with whether it is what its key says.
fn walk(entries: impl Iterator<Item = (bool, &'static Range)>) -> Walked {
    let mut walked = Walked::default();
    for (right, range) in entries {
        assert!(right);
        if !walked.see(range) {
            break;
        }
    }
    walked
}
