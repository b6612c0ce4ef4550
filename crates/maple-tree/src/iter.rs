//! Iteration over a view's entries from both ends.

use core::iter::FusedIterator;

use crate::entry::Entry;
use crate::path::Path;
use crate::view::{RangeEntry, View};

/// One end of an iteration.
struct End<E: Entry> {
    path: Path<E::Stamp>,
    /// The leaf, out of the path.
    leaf: *const crate::node::Node<E::Stamp>,
    /// Front: the next slot. Back: the slot behind the next.
    position: usize,
    /// The leaf's slots.
    len: usize,
}

impl<E: Entry> End<E> {
    fn new(path: Path<E::Stamp>) -> Self {
        let leaf = path.leaf();
        Self {
            leaf,
            position: path.position(),
            // SAFETY: the nodes of a path are there while it is used.
            len: unsafe { &*leaf }.len(),
            path,
        }
    }

    /// The slot to go back from, if the next one back shall end at, or hold, an index of `..=last`.
    fn back(mut path: Path<E::Stamp>, last: u64) -> Self {
        // SAFETY: the nodes of a path are there while it is used.
        let leaf = unsafe { &*path.leaf() };
        let position = path.position();
        let holds = position < leaf.len() && leaf.slot(position).word <= last;
        if !holds && position == 0 {
            path.prev_leaf();
        }
        let mut end = Self::new(path);
        if holds {
            end.position += 1;
        }
        end
    }
}

/// The entries of a view, or of a range of it: ranges and what they hold, from both ends.
///
/// The whole iteration is over one version. Each step is O(1) amortised, O(log n) at worst.
pub struct Iter<'v, E: Entry> {
    view: &'v View<E>,
    /// What has not been passed yet from either end. Nothing is left if `left` is false.
    first: u64,
    last: u64,
    left: bool,
    front: Option<End<E>>,
    back: Option<End<E>>,
}

// SAFETY: the pointers are to nodes of the view, which is Sync.
unsafe impl<E: Entry> Send for Iter<'_, E> {}
// SAFETY: as for Send.
unsafe impl<E: Entry> Sync for Iter<'_, E> {}

impl<'v, E: Entry> Iter<'v, E> {
    pub(crate) fn new(view: &'v View<E>, first: u64, last: u64) -> Self {
        Self {
            view,
            first,
            last,
            left: !view.is_empty(),
            front: None,
            back: None,
        }
    }

    pub(crate) fn none(view: &'v View<E>) -> Self {
        let mut iter = Self::new(view, 0, 0);
        iter.left = false;
        iter
    }

    fn path(&self, index: u64) -> Path<E::Stamp> {
        // SAFETY: there is something left, so the version is not empty; the view is borrowed.
        unsafe { Path::to(self.view.version, index) }
    }
}

impl<'v, E: Entry> Iterator for Iter<'v, E> {
    type Item = RangeEntry<'v, E>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.left {
            return None;
        }
        if self.front.is_none() {
            self.front = Some(End::new(self.path(self.first)));
        }
        let front = self.front.as_mut()?;
        if front.position == front.len {
            if !front.path.next_leaf() {
                self.left = false;
                return None;
            }
            front.leaf = front.path.leaf();
            front.position = 0;
            // SAFETY: the view is borrowed.
            front.len = unsafe { &*front.leaf }.len();
        }
        // SAFETY: the view is borrowed.
        let (range, entry) = self.view.entry(unsafe { &*front.leaf }, front.position);
        front.position += 1;
        if *range.start() > self.last {
            self.left = false;
            return None;
        }
        self.left = *range.end() < self.last;
        self.first = range.end().wrapping_add(1);
        Some((range, entry))
    }
}

impl<E: Entry> DoubleEndedIterator for Iter<'_, E> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if !self.left {
            return None;
        }
        if self.back.is_none() {
            self.back = Some(End::back(self.path(self.last), self.last));
        }
        let back = self.back.as_mut()?;
        if back.position == 0 {
            if !back.path.prev_leaf() {
                self.left = false;
                return None;
            }
            back.leaf = back.path.leaf();
            back.position = back.path.position();
        }
        back.position -= 1;
        // SAFETY: the view is borrowed.
        let (range, entry) = self.view.entry(unsafe { &*back.leaf }, back.position);
        if *range.end() < self.first {
            self.left = false;
            return None;
        }
        self.left = *range.start() > self.first;
        self.last = range.start().wrapping_sub(1);
        Some((range, entry))
    }
}

impl<E: Entry> FusedIterator for Iter<'_, E> {}

impl<'v, E: Entry> IntoIterator for &'v View<E> {
    type Item = RangeEntry<'v, E>;
    type IntoIter = Iter<'v, E>;

    fn into_iter(self) -> Iter<'v, E> {
        self.iter()
    }
}
