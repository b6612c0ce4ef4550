//! maple-tree.

use std::ptr::NonNull;

use maple_tree::{AllocError, Divide, Entry, MapleTree, View};

use crate::map::Map;
use crate::workload::Range;

/// A pointer to a range that the tree does not own.
#[derive(Clone, Copy)]
pub struct Borrowed(&'static Range);

// SAFETY: a reference to a static is a pointer that stays; nothing is owned.
unsafe impl Entry for Borrowed {
    type Stamp = ();
    type Borrowed<'a> = &'static Range;
    const OWNS: bool = false;
    const BYTES: usize = 0;

    fn into_raw(self) -> NonNull<()> {
        NonNull::from(self.0).cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: from `into_raw`.
        Self(unsafe { raw.cast().as_ref() })
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> Self::Borrowed<'a> {
        // SAFETY: from `into_raw`.
        unsafe { raw.cast().as_ref() }
    }
}

impl Divide for Borrowed {
    fn divide(entry: &'static Range) -> Result<Self, AllocError> {
        Ok(Self(entry))
    }
}

pub struct Ours(MapleTree<Borrowed>);

impl Ours {
    fn with<T>(&self, work: impl FnOnce(&View<Borrowed>) -> T) -> T {
        self.0.read(work).expect("memory")
    }
}

impl Map for Ours {
    const NAME: &'static str = "maple-tree";

    fn new() -> Self {
        Self(MapleTree::new().expect("memory"))
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        for &i in order {
            let range = &ranges[i as usize];
            self.0
                .store_range(range.first..=range.last, Borrowed(range))
                .expect("memory");
        }
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        for &i in which {
            self.0.erase(ranges[i as usize].first).expect("memory");
        }
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        for &i in which {
            let range = &ranges[i as usize];
            self.0.erase(range.first).expect("memory");
            self.0
                .insert_range(range.first..=range.last, Borrowed(range))
                .expect("memory");
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        self.with(|view| {
            queries
                .iter()
                .fold(0, |sum, &q| sum + view.load(q).map_or(0, |range| range.first))
        })
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        self.with(|view| {
            let (mut sum, mut next) = (0, 0);
            for k in 0..n {
                let found = view
                    .load(queries[(k + next) & (queries.len() - 1)])
                    .map_or(0, |range| range.first);
                next = (found >> 63) as usize;
                sum += found;
            }
            sum
        })
    }

    fn iterate(&self) -> u64 {
        self.with(|view| view.iter().map(|(_, range)| range.first).sum())
    }

    fn scan(&self, mut from: u64, n: usize) -> u64 {
        let reader = self.0.reader().expect("memory");
        let mut seen = 0;
        while seen < n {
            let view = reader.read_lock();
            let mut some = 0;
            for (range, entry) in view.range(from..).take(256) {
                assert!(entry.first == *range.start() && entry.last == *range.end());
                from = range.end() + 1;
                some += 1;
            }
            if some < 256 {
                from = 0;
            }
            seen += some;
        }
        from
    }

    fn gaps(&self, (min, max, size): &(Vec<u64>, Vec<u64>, Vec<u64>)) -> Option<u64> {
        Some(self.with(|view| {
            (0..min.len()).fold(0, |sum: u64, i| {
                sum.wrapping_add(view.empty_area_rev(size[i], min[i]..=max[i], 1).unwrap_or(0))
            })
        }))
    }

    fn bytes(&self) -> Option<usize> {
        let census = self.with(|view| view.validate(15).expect("a valid tree"));
        Some((census.leaves + census.inner) * 384)
    }
}
