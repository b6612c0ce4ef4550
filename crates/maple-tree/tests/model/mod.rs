//! A naive model of a tree: a map from first indexes.

#![allow(dead_code)] // each test uses some of it

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Entries that ascend and do not overlap: first index to last index and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model(pub(crate) BTreeMap<u64, (u64, u32)>);

pub(crate) type Entry = (RangeInclusive<u64>, u32);

impl Model {
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0
            .iter()
            .map(|(&first, &(last, value))| (first..=last, value))
            .collect()
    }

    pub(crate) fn overlapping(&self, first: u64, last: u64) -> Vec<Entry> {
        let touches = |(range, _): &Entry| *range.start() <= last && *range.end() >= first;
        self.entries().into_iter().filter(touches).collect()
    }

    pub(crate) fn load(&self, index: u64) -> Option<u32> {
        self.overlapping(index, index).first().map(|&(_, value)| value)
    }

    pub(crate) fn insert(&mut self, first: u64, last: u64, value: u32) -> bool {
        let free = self.overlapping(first, last).is_empty();
        if free {
            self.0.insert(first, (last, value));
        }
        free
    }

    /// Returns the displaced entries, of which nothing is left.
    pub(crate) fn erase_range(&mut self, first: u64, last: u64) -> Vec<Entry> {
        let mut displaced = Vec::new();
        for (range, value) in self.overlapping(first, last) {
            self.0.remove(range.start());
            let (below, above) = (*range.start() < first, *range.end() > last);
            if below {
                self.0.insert(*range.start(), (first - 1, value));
            }
            if above {
                self.0.insert(last + 1, (*range.end(), value));
            }
            if !below && !above {
                displaced.push((range, value));
            }
        }
        displaced
    }

    pub(crate) fn store(&mut self, first: u64, last: u64, value: u32) -> Vec<Entry> {
        let displaced = self.erase_range(first, last);
        self.0.insert(first, (last, value));
        displaced
    }

    pub(crate) fn erase(&mut self, index: u64) -> Option<Entry> {
        let held = self.overlapping(index, index).pop()?;
        self.0.remove(held.0.start());
        Some(held)
    }

    /// Returns the gaps as first and last index.
    pub(crate) fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = Some(0);
        for (&first, &(last, _)) in &self.0 {
            if let Some(next) = next.filter(|&next| next < first) {
                gaps.push((next, first - 1));
            }
            next = last.checked_add(1);
        }
        gaps.extend(next.map(|next| (next, u64::MAX)));
        gaps
    }

    pub(crate) fn empty_area(&self, size: u64, min: u64, max: u64, align: u64) -> Option<u64> {
        self.gaps().into_iter().find_map(|(first, last)| {
            let start = first.max(min).checked_next_multiple_of(align)?;
            let end = start.checked_add(size - 1)?;
            (end <= last.min(max)).then_some(start)
        })
    }

    pub(crate) fn empty_area_rev(&self, size: u64, min: u64, max: u64, align: u64) -> Option<u64> {
        self.gaps().into_iter().rev().find_map(|(first, last)| {
            let start = last.min(max).checked_sub(size - 1)? / align * align;
            (start >= first.max(min)).then_some(start)
        })
    }
}
