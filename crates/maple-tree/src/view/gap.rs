//! The search for gaps: wait-free on any version, as the largest gap below every slot is part of
//! the version.

use crate::entry::Entry;
use crate::node::{Kind, Leaf, Node, NodeRef};
use crate::stamp::Stamp;
use crate::view::View;
use core::ops::RangeBounds;

use crate::range::first_last;

/// A request: `size` free indexes at a multiple of `align` within `min..=max`.
struct Wanted {
    size: u64,
    align: u64,
    min: u64,
    max: u64,
}

impl Wanted {
    /// Returns the lowest place in the gap `first..=last`.
    fn lowest(&self, first: u64, last: u64) -> Option<u64> {
        let start = first.max(self.min).checked_next_multiple_of(self.align)?;
        let end = start.checked_add(self.size - 1)?;
        (end <= last.min(self.max)).then_some(start)
    }

    /// Returns the highest place in the gap `first..=last`.
    fn highest(&self, first: u64, last: u64) -> Option<u64> {
        let start = last.min(self.max).checked_sub(self.size - 1)?;
        let start = start & !(self.align - 1);
        (start >= first.max(self.min)).then_some(start)
    }
}

/// Returns the gap before the `i`th slot of a leaf, which has one.
fn gap_before<S: Stamp>(leaf: Leaf<'_, S>, i: usize, lower: u64, upper: u64) -> (u64, u64) {
    let last = if i < leaf.len() { leaf.first(i) - 1 } else { upper };
    (lower_of(&leaf, i, lower), last)
}

/// Returns the last index of the slot before the `i`th, plus one.
fn lower_of<S: Stamp>(node: &Node<S>, i: usize, lower: u64) -> u64 {
    if i == 0 { lower } else { node.last(i - 1) + 1 }
}

fn lowest<S: Stamp>(node: NodeRef<'_, S>, lower: u64, upper: u64, wanted: &Wanted) -> Option<u64> {
    // All below the limits is in the slots before, or at the beginning of the first gap.
    let from = u32::MAX << node.position(wanted.min);
    match node.kind() {
        Kind::Leaf(leaf) => ones(leaf.large_gaps(lower, upper, wanted.size) & from)
            .map(|i| gap_before(leaf, i, lower, upper))
            .take_while(|gap| gap.0 <= wanted.max)
            .find_map(|(first, last)| wanted.lowest(first, last)),
        Kind::Inner(inner) => ones(inner.large_gaps(wanted.size) & from)
            .map(|i| (i, lower_of(&inner, i, lower)))
            .take_while(|&(_, lower)| lower <= wanted.max)
            .find_map(|(i, lower)| lowest(inner.child(i), lower, inner.last(i), wanted)),
    }
}

fn highest<S: Stamp>(node: NodeRef<'_, S>, lower: u64, upper: u64, wanted: &Wanted) -> Option<u64> {
    // All above the limits is in the slots after, or at the end of the last gap.
    let to = (2 << node.position(wanted.max)) - 1;
    match node.kind() {
        Kind::Leaf(leaf) => ones_down(leaf.large_gaps(lower, upper, wanted.size) & to)
            .map(|i| gap_before(leaf, i, lower, upper))
            .take_while(|gap| gap.1 >= wanted.min)
            .find_map(|(first, last)| wanted.highest(first, last)),
        Kind::Inner(inner) => ones_down(inner.large_gaps(wanted.size) & to)
            .map(|i| (i, inner.last(i)))
            .take_while(|&(_, upper)| upper >= wanted.min)
            .find_map(|(i, upper)| highest(inner.child(i), lower_of(&inner, i, lower), upper, wanted)),
    }
}

/// Returns the places of the ones in `mask`, ascending.
fn ones(mut mask: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (place < 32).then_some(place as usize)
    })
}

/// Returns the places of the ones in `mask`, descending.
fn ones_down(mut mask: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = mask.checked_ilog2()?;
        mask &= !(1 << place);
        Some(place as usize)
    })
}

impl<E: Entry> View<E> {
    /// Returns the lowest multiple of `align` at which `size` indexes are free, all of them in
    /// `limits`.
    ///
    /// `None` if there is no such gap, if `size` is zero, or if `align` is not a power of two.
    /// O(log n), and one step more for each gap that is large enough but not where it could be
    /// aligned.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert_range(0x1000..=0x1fff, 1)?;
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
    #[doc(alias = "vm_unmapped_area")]
    #[must_use]
    pub fn empty_area(&self, size: u64, limits: impl RangeBounds<u64>, align: u64) -> Option<u64> {
        self.search_gap(size, &limits, align, Wanted::lowest, lowest)
    }

    /// Returns the highest such index.
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
        in_gap: impl Fn(&Wanted, u64, u64) -> Option<u64>,
        in_tree: impl Fn(NodeRef<'_, E::Stamp>, u64, u64, &Wanted) -> Option<u64>,
    ) -> Option<u64> {
        let (min, max) = first_last(limits)?;
        if size == 0 || !align.is_power_of_two() {
            return None;
        }
        let wanted = Wanted { size, align, min, max };
        match self.root() {
            None => in_gap(&wanted, 0, u64::MAX),
            Some(root) => in_tree(root, 0, u64::MAX, &wanted),
        }
    }
}
