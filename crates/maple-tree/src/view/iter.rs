//! Iteration over a view's entries from both ends.

use core::iter::FusedIterator;
use core::ops::RangeBounds;

use crate::entry::Entry;
use crate::node::Leaf;
use crate::range::first_last;
use crate::view::path::Path;
use crate::view::{RangeEntry, View};

/// One end of an iteration.
struct End<'v, E: Entry> {
    /// Unset until the first step.
    path: Path<E::Stamp>,
    /// The leaf, out of the path; `None` until the first step.
    leaf: Option<Leaf<'v, E::Stamp>>,
    /// Front: the next slot. Back: the slot after the next.
    slot: usize,
    /// The leaf's slots; zero until the first step.
    len: usize,
}

impl<E: Entry> Clone for End<'_, E> {
    fn clone(&self) -> Self {
        let path = self.path.clone();
        Self { path, ..*self }
    }
}

impl<'v, E: Entry> End<'v, E> {
    fn unset() -> Self {
        Self {
            path: Path::unset(),
            leaf: None,
            slot: 0,
            len: 0,
        }
    }

    /// Takes the leaf and the slot out of the path.
    fn arrive(&mut self) -> Leaf<'v, E::Stamp> {
        let leaf = self.path.leaf();
        (self.leaf, self.slot, self.len) = (Some(leaf), self.path.at(self.path.bottom()).slot, leaf.len());
        leaf
    }
}

/// The entries of a view, or of a range of it: ranges and what they hold, from both ends.
///
/// The whole iteration is over one version. Each step is O(1) amortised, O(log n) at worst.
pub struct Iter<'v, E: Entry> {
    view: &'v View<E>,
    /// Entries that end below `first` or begin above `last` are not wanted. Each end finds out by
    /// itself where the other one is: a step writes nothing but its own slot.
    first: u64,
    last: u64,
    /// False if nothing is left.
    left: bool,
    front: End<'v, E>,
    back: End<'v, E>,
}

impl<E: Entry> Clone for Iter<'_, E> {
    fn clone(&self) -> Self {
        let (front, back) = (self.front.clone(), self.back.clone());
        Self { front, back, ..*self }
    }
}

// SAFETY: the pointers are to nodes of the view, which is Sync.
unsafe impl<E: Entry> Send for Iter<'_, E> {}
// SAFETY: as for Send.
unsafe impl<E: Entry> Sync for Iter<'_, E> {}

impl<'v, E: Entry> Iter<'v, E> {
    #[inline]
    pub(crate) fn new(view: &'v View<E>, first: u64, last: u64) -> Self {
        Self {
            view,
            first,
            last,
            left: !view.is_empty(),
            front: End::unset(),
            back: End::unset(),
        }
    }

    pub(crate) fn none(view: &'v View<E>) -> Self {
        let mut iter = Self::new(view, 0, 0);
        iter.left = false;
        iter
    }

    /// Moves the front to the next leaf's first wanted slot, and returns the leaf.
    ///
    /// If there is none, nothing is left.
    #[cold]
    fn next_leaf(&mut self) -> Option<Leaf<'v, E::Stamp>> {
        if self.front.leaf.is_none() {
            // SAFETY: something is left, so the version is not empty; the view is borrowed.
            unsafe { self.front.path.seek(self.view.version, self.first) };
            let leaf = self.front.arrive();
            // Otherwise the range begins after all entries.
            self.left = self.front.slot < leaf.len();
            return self.left.then_some(leaf);
        }
        self.left = self.front.path.next_leaf();
        let leaf = self.front.arrive();
        // A reader that goes from leaf to leaf comes to all entries: their waits become one.
        if E::OWNS && E::BYTES > 0 {
            leaf.prefetch_entries(E::BYTES);
        }
        self.left.then_some(leaf)
    }

    /// Moves the back to after the last wanted slot of the leaf before, and returns the leaf.
    ///
    /// If there is none, nothing is left.
    #[cold]
    fn prev_leaf(&mut self) -> Option<Leaf<'v, E::Stamp>> {
        if self.back.leaf.is_none() {
            // SAFETY: as in `next_leaf`.
            unsafe { self.back.path.seek(self.view.version, self.last) };
            let leaf = self.back.arrive();
            let slot = self.back.slot;
            if slot < leaf.len() && leaf.first(slot) <= self.last {
                self.back.slot += 1;
            }
            if self.back.slot > 0 {
                return Some(leaf);
            }
        }
        self.left = self.back.path.prev_leaf();
        let leaf = self.back.arrive();
        self.left.then_some(leaf)
    }

    /// Stops the front before the entry to which the back came last.
    #[cold]
    fn stop_at_back(&mut self, leaf: Leaf<'v, E::Stamp>) {
        if self.left {
            let start = leaf.first(self.back.slot);
            (self.left, self.last) = (start > 0, start.wrapping_sub(1));
        }
    }

    /// Stops the back after the entry to which the front came last.
    #[cold]
    fn stop_at_front(&mut self, leaf: Leaf<'v, E::Stamp>) {
        if self.left {
            let end = leaf.last(self.front.slot - 1);
            (self.left, self.first) = (end < u64::MAX, end.wrapping_add(1));
        }
    }
}

impl<'v, E: Entry> Iterator for Iter<'v, E> {
    type Item = RangeEntry<'v, E>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(leaf) = self.back.leaf {
            self.stop_at_back(leaf);
        }
        if !self.left {
            return None;
        }
        if self.front.slot == self.front.len {
            self.next_leaf()?;
        }
        // SAFETY: there is a slot, so there was a step.
        let leaf = unsafe { self.front.leaf.unwrap_unchecked() };
        let (range, entry) = self.view.entry(leaf, self.front.slot);
        if *range.start() > self.last {
            self.left = false;
            return None;
        }
        self.front.slot += 1;
        Some((range, entry))
    }

    /// Goes leaf by leaf.
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, mut sum: B, mut add: F) -> B {
        if let Some(leaf) = self.back.leaf {
            self.stop_at_back(leaf);
        }
        while self.left && (self.front.slot < self.front.len || self.next_leaf().is_some()) {
            // With its neighbours below the same node: going from one to the other takes no path.
            let mut slot = self.front.slot;
            for leaf in self.front.path.leaves() {
                for slot in slot..leaf.len() {
                    let item = self.view.entry(leaf, slot);
                    if *item.0.start() > self.last {
                        return sum;
                    }
                    sum = add(sum, item);
                }
                slot = 0;
            }
            self.front.path.skip_leaves();
            self.front.slot = self.front.len;
        }
        sum
    }
}

impl<E: Entry> DoubleEndedIterator for Iter<'_, E> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(leaf) = self.front.leaf {
            self.stop_at_front(leaf);
        }
        if !self.left {
            return None;
        }
        if self.back.slot == 0 {
            self.prev_leaf()?;
        }
        // SAFETY: there is a slot, so there was a step.
        let leaf = unsafe { self.back.leaf.unwrap_unchecked() };
        let (range, entry) = self.view.entry(leaf, self.back.slot - 1);
        if *range.end() < self.first {
            self.left = false;
            return None;
        }
        self.back.slot -= 1;
        Some((range, entry))
    }
}

impl<E: Entry> FusedIterator for Iter<'_, E> {}

impl<E: Entry> View<E> {
    /// Returns all entries, ascending; from the other end with [`rev`](Iterator::rev).
    #[doc(alias = "mas_for_each")]
    #[doc(alias = "mas_for_each_rev")]
    #[doc(alias = "mt_for_each")]
    #[doc(alias = "for_each_vma")]
    #[must_use]
    pub fn iter(&self) -> Iter<'_, E> {
        Iter::new(self, 0, u64::MAX)
    }

    /// Returns the entries that have an index in `range`, with their whole ranges, ascending or
    /// from the other end.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// for i in 0..10 {
    ///     tree.insert_range(i * 10..i * 10 + 5, i as u32)?;
    /// }
    /// let reader = tree.reader()?;
    /// let view = reader.read_lock();
    /// let found: Vec<u32> = view.range(24..=40).map(|(_, number)| number).collect();
    /// assert_eq!(found, [2, 3, 4]);
    /// assert_eq!(view.range(..20).next_back(), Some((10..=14, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn range(&self, range: impl RangeBounds<u64>) -> Iter<'_, E> {
        match first_last(&range) {
            Some((first, last)) => Iter::new(self, first, last),
            None => Iter::none(self),
        }
    }
}

impl<'v, E: Entry> IntoIterator for &'v View<E> {
    type Item = RangeEntry<'v, E>;
    type IntoIter = Iter<'v, E>;

    fn into_iter(self) -> Iter<'v, E> {
        self.iter()
    }
}
