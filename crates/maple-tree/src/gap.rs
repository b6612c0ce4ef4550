//! The search for gaps: wait-free on any version, as the largest gap below every slot is part of the version.

use crate::entry::Entry;
use crate::node::{Node, Stamp};
use crate::root::Version;
use crate::view::View;
use core::ops::RangeBounds;

use crate::range::first_last;

/// What is looked for: `size` free indexes at a multiple of `align` within `min..=max`.
struct Wanted {
    size: u64,
    align: u64,
    min: u64,
    max: u64,
}

impl Wanted {
    /// The lowest place in the gap `first..=last`.
    fn lowest(&self, first: u64, last: u64) -> Option<u64> {
        let start = first.max(self.min).checked_next_multiple_of(self.align)?;
        let end = start.checked_add(self.size - 1)?;
        (end <= last.min(self.max)).then_some(start)
    }

    /// The highest place in the gap `first..=last`.
    fn highest(&self, first: u64, last: u64) -> Option<u64> {
        let start = last.min(self.max).checked_sub(self.size - 1)?;
        let start = start & !(self.align - 1);
        (start >= first.max(self.min)).then_some(start)
    }
}

/// The gaps of a leaf that answers for `lower..=upper`, each by the slot that it lies before.
fn gap_before<S: Stamp>(leaf: &Node<S>, i: usize, lower: u64, upper: u64) -> Option<(u64, u64)> {
    let first = if i == 0 {
        lower
    } else {
        leaf.last(i - 1).checked_add(1)?
    };
    let last = if i < leaf.len() {
        leaf.slot(i).word.checked_sub(1)?
    } else {
        upper
    };
    (first <= last).then_some((first, last))
}

/// The last index of the slot before the `i`th, plus one.
fn lower_of<S: Stamp>(node: &Node<S>, i: usize, lower: u64) -> u64 {
    if i == 0 { lower } else { node.last(i - 1) + 1 }
}

fn lowest<S: Stamp>(version: Version<S>, lower: u64, upper: u64, wanted: &Wanted) -> Option<u64> {
    // SAFETY: the view that searches keeps its nodes.
    let node = unsafe { &*version.node };
    let from = node.position(wanted.min);
    if version.height == 1 {
        return (from..=node.len())
            .filter_map(|i| gap_before(node, i, lower, upper))
            .take_while(|gap| gap.0 <= wanted.max)
            .find_map(|(first, last)| wanted.lowest(first, last));
    }
    for i in from..node.len() {
        let lower = lower_of(node, i, lower);
        if lower > wanted.max {
            break;
        }
        if node.slot(i).word >= wanted.size {
            let (node, height, upper) = (node.child(i), version.height - 1, node.last(i));
            let found = lowest(Version { node, height }, lower, upper, wanted);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

fn highest<S: Stamp>(version: Version<S>, lower: u64, upper: u64, wanted: &Wanted) -> Option<u64> {
    // SAFETY: the view that searches keeps its nodes.
    let node = unsafe { &*version.node };
    let to = node.position(wanted.max);
    if version.height == 1 {
        return (0..=to)
            .rev()
            .filter_map(|i| gap_before(node, i, lower, upper))
            .take_while(|gap| gap.1 >= wanted.min)
            .find_map(|(first, last)| wanted.highest(first, last));
    }
    for i in (0..=to.min(node.len() - 1)).rev() {
        if node.last(i) < wanted.min {
            break;
        }
        if node.slot(i).word >= wanted.size {
            let (lower, upper) = (lower_of(node, i, lower), node.last(i));
            let (node, height) = (node.child(i), version.height - 1);
            let found = highest(Version { node, height }, lower, upper, wanted);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

impl<E: Entry> View<E> {
    /// The lowest index at which `size` indexes are free, all of them in `limits`, and which is a multiple of `align`.
    ///
    /// `None` if there is no such gap, if `size` is zero, or if `align` is not a power of two. O(log n), and one step more for
    /// each gap that is large enough but not where it could be aligned.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert_range(0x1000..=0x1fff, 1).map_err(|e| e.cause)?;
    /// let reader = tree.reader()?;
    /// let view = reader.read_lock();
    /// assert_eq!(view.empty_area(0x1000, .., 1), Some(0));
    /// assert_eq!(view.empty_area(0x1000, 0x800.., 0x1000), Some(0x2000));
    /// assert_eq!(view.empty_area(0x1000, 0x800..0x2800, 1), None);
    /// assert_eq!(view.empty_area_rev(0x1000, ..0x10000, 0x1000), Some(0xf000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "mas_empty_area")]
    #[doc(alias = "get_unmapped_area")]
    #[must_use]
    pub fn empty_area(&self, size: u64, limits: impl RangeBounds<u64>, align: u64) -> Option<u64> {
        self.search_gap(size, &limits, align, Wanted::lowest, lowest)
    }

    /// The highest such index.
    #[doc(alias = "mas_empty_area_rev")]
    #[must_use]
    pub fn empty_area_rev(&self, size: u64, limits: impl RangeBounds<u64>, align: u64) -> Option<u64> {
        self.search_gap(size, &limits, align, Wanted::highest, highest)
    }

    fn search_gap(
        &self,
        size: u64,
        limits: &impl RangeBounds<u64>,
        align: u64,
        in_gap: fn(&Wanted, u64, u64) -> Option<u64>,
        in_tree: fn(Version<E::Stamp>, u64, u64, &Wanted) -> Option<u64>,
    ) -> Option<u64> {
        let (min, max) = first_last(limits)?;
        if size == 0 || !align.is_power_of_two() {
            return None;
        }
        let wanted = Wanted { size, align, min, max };
        if self.is_empty() {
            return in_gap(&wanted, 0, u64::MAX);
        }
        in_tree(self.version, 0, u64::MAX, &wanted)
    }
}
