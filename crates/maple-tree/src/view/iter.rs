//! Iteration over a view's entries from both ends.

use core::iter::FusedIterator;
use core::ops::RangeBounds;

use crate::entry::Entry;
use crate::node::Node;
use crate::range::first_last;
use crate::view::path::Path;
use crate::view::{RangeEntry, View};

/// One end of an iteration.
struct End<E: Entry> {
    /// Unset until the first step.
    path: Path<E::Stamp>,
    /// The leaf, out of the path.
    leaf: *const Node<E::Stamp>,
    /// Front: the next slot. Back: the slot behind the next.
    slot: usize,
    /// The leaf's slots.
    len: usize,
}

impl<E: Entry> Clone for End<E> {
    fn clone(&self) -> Self {
        let path = self.path.clone();
        Self { path, ..*self }
    }
}

impl<E: Entry> End<E> {
    fn unset() -> Self {
        Self {
            path: Path::unset(),
            leaf: core::ptr::null(),
            slot: 0,
            len: 0,
        }
    }

    /// Takes the leaf and the slot out of the path.
    fn arrive(&mut self) {
        let bottom = self.path.bottom();
        let leaf = self.path.node(bottom);
        (self.leaf, self.slot, self.len) = (leaf, self.path.at(bottom).slot, leaf.len());
    }

    /// Asks for what the leaf's entries point to.
    fn prefetch_entries(&self) {
        if E::OWNS && E::BYTES > 0 {
            // SAFETY: the view is borrowed.
            unsafe { &*self.leaf }.prefetch_entries(E::BYTES);
        }
    }
}

/// The entries of a view, or of a range of it: ranges and what they hold, from both ends.
///
/// The whole iteration is over one version. Each step is O(1) amortised, O(log n) at worst.
pub struct Iter<'v, E: Entry> {
    view: &'v View<E>,
    /// Entries that end below or begin above are not wanted. Where one end has come to, the other finds out by itself: a step
    /// writes nothing but its own slot.
    first: u64,
    last: u64,
    /// False if nothing is left.
    left: bool,
    front: End<E>,
    back: End<E>,
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

    /// Makes the front's slot one of its leaf; says whether there is one.
    #[cold]
    fn next_leaf(&mut self) -> bool {
        if self.front.leaf.is_null() {
            // SAFETY: there is something left, so the version is not empty; the view is borrowed.
            unsafe { self.front.path.seek(self.view.version, self.first) };
            self.front.arrive();
            // Else behind all entries.
            return self.front.slot < self.front.len;
        }
        let found = self.front.path.next_leaf();
        self.front.arrive();
        // Who goes from leaf to leaf comes to all entries: their waits become one.
        self.front.prefetch_entries();
        found
    }

    /// Makes the back's slot one behind a slot of its leaf; says whether there is one.
    #[cold]
    fn prev_leaf(&mut self) -> bool {
        if self.back.leaf.is_null() {
            // SAFETY: as in `next_leaf`.
            unsafe { self.back.path.seek(self.view.version, self.last) };
            self.back.arrive();
            let (slot, len) = (self.back.slot, self.back.len);
            // SAFETY: the view is borrowed.
            if slot < len && unsafe { &*self.back.leaf }.slot(slot).word <= self.last {
                self.back.slot += 1;
            }
            if self.back.slot > 0 {
                return true;
            }
        }
        let found = self.back.path.prev_leaf();
        self.back.arrive();
        found
    }

    /// Wants nothing from the entry on that the back came to last.
    #[cold]
    fn stop_at_back(&mut self) {
        if self.left {
            // SAFETY: the view is borrowed.
            let start = unsafe { &*self.back.leaf }.slot(self.back.slot).word;
            (self.left, self.last) = (start > 0, start.wrapping_sub(1));
        }
    }

    /// Wants nothing up to the entry that the front came to last.
    #[cold]
    fn stop_at_front(&mut self) {
        if self.left {
            // SAFETY: the view is borrowed.
            let end = unsafe { &*self.front.leaf }.last(self.front.slot - 1);
            (self.left, self.first) = (end < u64::MAX, end.wrapping_add(1));
        }
    }
}

impl<'v, E: Entry> Iterator for Iter<'v, E> {
    type Item = RangeEntry<'v, E>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.back.leaf.is_null() {
            self.stop_at_back();
        }
        if !self.left {
            return None;
        }
        if self.front.slot == self.front.len && !self.next_leaf() {
            self.left = false;
            return None;
        }
        // SAFETY: the view is borrowed.
        let (range, entry) = self.view.entry(unsafe { &*self.front.leaf }, self.front.slot);
        if *range.start() > self.last {
            self.left = false;
            return None;
        }
        self.front.slot += 1;
        Some((range, entry))
    }

    /// Leaf by leaf.
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, mut sum: B, mut add: F) -> B {
        if !self.back.leaf.is_null() {
            self.stop_at_back();
        }
        while self.left && (self.front.slot < self.front.len || self.next_leaf()) {
            // With its neighbours below the same node: no path is needed to go from one to the other.
            let mut slot = self.front.slot;
            for leaf in self.front.path.leaves() {
                // SAFETY: the view is borrowed.
                let leaf = unsafe { &*leaf };
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
        if !self.front.leaf.is_null() {
            self.stop_at_front();
        }
        if !self.left {
            return None;
        }
        if self.back.slot == 0 && !self.prev_leaf() {
            self.left = false;
            return None;
        }
        // SAFETY: the view is borrowed.
        let (range, entry) = self.view.entry(unsafe { &*self.back.leaf }, self.back.slot - 1);
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
    /// All entries, ascending; from the other end with [`rev`](Iterator::rev).
    #[doc(alias = "mas_for_each")]
    #[doc(alias = "mas_for_each_rev")]
    #[doc(alias = "mt_for_each")]
    #[doc(alias = "for_each_vma")]
    #[must_use]
    pub fn iter(&self) -> Iter<'_, E> {
        Iter::new(self, 0, u64::MAX)
    }

    /// The entries that have an index in `range`, with their whole ranges, ascending or from the other end.
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
