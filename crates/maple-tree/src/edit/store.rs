//! Edits of ranges: put, replace, take out. Memory was reserved, so none of it fails.

use core::ptr::NonNull;

use vmaple_rcu::Update;

use crate::edit::{Displaced, Edit};
use crate::entry::Entry;
use crate::node::{Item, Kind, Leaf, Version};
use crate::stamp::Stamp;
use crate::view::path::Path;

/// Returns the slots of the path's leaf that hold an index of `..=last`, from the path's slot on.
#[inline]
fn overlap<S: Stamp>(path: &Path<S>, last: u64) -> (usize, usize) {
    let (leaf, from) = (path.leaf(), path.at(path.bottom()).slot);
    let held = (from..leaf.len()).take_while(|&i| leaf.first(i) <= last).count();
    (from, from + held)
}

impl<S: Stamp> Path<S> {
    /// Returns whether an entry of the leaf holds an index of `..=last`, from the path's slot on.
    #[inline]
    pub(crate) fn is_occupied(&self, last: u64) -> bool {
        let (from, to) = overlap(self, last);
        from < to
    }

    /// Returns whether all entries of the tree that hold an index of `..=last`, from the path's
    /// slot on, are in its leaf.
    #[inline]
    pub(crate) fn is_within_leaf(&self, last: u64) -> bool {
        let (_, to) = overlap(self, last);
        to < self.leaf().len() || self.upper(self.bottom()) >= last
    }

    /// Returns the range of the entry that holds `index`, to which the path goes.
    #[inline]
    pub(crate) fn held(&self, index: u64) -> Option<(u64, u64)> {
        let (from, to) = overlap(self, index);
        let leaf = self.leaf();
        (from < to).then(|| (leaf.first(from), leaf.last(from)))
    }

    /// Returns the entry that a store over `first..=last` would cut in two.
    pub(crate) fn cut_in_two(&self, first: u64, last: u64) -> Option<NonNull<()>> {
        let (leaf, i) = (self.leaf(), self.at(self.bottom()).slot);
        if i < leaf.len() && leaf.first(i) < first && leaf.last(i) > last {
            NonNull::new(leaf.pointer(i))
        } else {
            None
        }
    }
}

impl<E: Entry, const FANOUT: usize> Edit<E, FANOUT> {
    /// Sets `path` to the leaf that answers for `index`; returns whether there is one: not in an
    /// empty tree.
    #[inline]
    pub(crate) fn seek(&self, path: &mut Path<E::Stamp>, index: u64) -> bool {
        if self.view.is_empty() {
            return false;
        }
        // SAFETY: not empty, and the edit's version is there.
        unsafe { path.seek(self.view.version, index) };
        true
    }

    /// Seeks for an edit whose memory is reserved, and makes the path the transaction's own.
    ///
    /// If the edit then finds that there is nothing to do, its copies are a part of the version
    /// like any other.
    #[inline]
    pub(crate) fn seek_own(&mut self, path: &mut Path<E::Stamp>, index: u64) -> bool {
        let mut version = self.view.version;
        if version.height == 0 {
            return false;
        }
        // SAFETY: not empty, and the edit's version is there; `own` makes copies that are the
        // transaction's own.
        unsafe { path.seek_own(&mut version, index, |node| self.own(node)) };
        self.view.version = version;
        true
    }

    /// Returns an entry on its way into a leaf.
    #[inline]
    pub(crate) fn new_item(
        &mut self,
        update: &mut impl Update,
        (first, last): (u64, u64),
        raw: NonNull<()>,
    ) -> Item<E::Stamp> {
        if E::OWNS {
            self.inserted.push(raw);
        }
        let stamp = if E::OWNS && !E::Stamp::IS_ELSEWHERE {
            // SAFETY: not published yet.
            unsafe { E::note_birth(raw, update.birth(E::BYTES)) }
        } else {
            E::Stamp::default()
        };
        Item::of(last, first, raw.as_ptr(), stamp)
    }

    /// Notes an entry that is taken out.
    fn displace(&mut self, leaf: Leaf<'_, E::Stamp>, i: usize) {
        let Item { last, slot, stamp } = leaf.item(i);
        if let Some(raw) = NonNull::new(slot.ptr) {
            let first = slot.word;
            self.displaced.push(Displaced {
                first,
                last,
                raw,
                stamp,
            });
        }
    }

    /// Takes out a node and all that is below it.
    fn displace_tree(&mut self, version: Version<E::Stamp>) {
        // SAFETY: not empty, and the edit's version is there.
        match unsafe { version.typed() }.kind() {
            Kind::Inner(inner) => (0..inner.len()).for_each(|i| self.displace_tree(inner.version(i))),
            Kind::Leaf(leaf) => (0..leaf.len()).for_each(|i| self.displace(leaf, i)),
        }
        self.discard(version.node);
    }

    /// Takes everything out.
    pub(crate) fn displace_all(&mut self) {
        if !self.view.is_empty() {
            self.displace_tree(self.view.version);
            self.view.version = Version::EMPTY;
        }
    }

    /// Replaces what `first..=last` holds in the leaf of the path by `new`.
    ///
    /// An entry that is cut keeps its other part; the upper of two such parts gets `divided`.
    pub(crate) fn replace(
        &mut self,
        path: &mut Path<E::Stamp>,
        (first, last): (u64, u64),
        new: Option<Item<E::Stamp>>,
        divided: Option<Item<E::Stamp>>,
    ) {
        let (from, to) = overlap(path, last);
        let bottom = path.bottom();
        self.own_path(path, bottom + 1);
        let leaf = path.leaf();
        let mut items = [Item::blank(E::Stamp::default()); 3];
        let mut n = 0;
        let mut push = |item| {
            items[n] = item;
            n += 1;
        };
        // The parts below and above the range stay.
        let below = (from < to && leaf.first(from) < first).then(|| leaf.item(from));
        let above = (from < to && leaf.last(to - 1) > last).then(|| leaf.item(to - 1));
        if let Some(below) = below {
            push(Item {
                last: first - 1,
                ..below
            });
        }
        if let Some(new) = new {
            push(new);
        }
        if let Some(mut above) = above {
            if let Some(divided) = divided {
                (above.slot.ptr, above.stamp) = (divided.slot.ptr, divided.stamp);
            }
            above.slot.word = last + 1;
            push(above);
        }
        let taken = from + usize::from(below.is_some())..to - usize::from(above.is_some());
        for i in taken {
            self.displace(leaf, i);
        }
        let shrinks = to == leaf.len() && above.is_none() && new.is_none();
        self.splice(path, bottom, from, to, &items[..n]);
        if shrinks {
            self.refresh(first);
        }
    }

    /// Replaces the entries of the path's leaf from the path's slot to `last` by `new`, which
    /// ascend and lie in their place.
    pub(crate) fn exchange(&mut self, path: &mut Path<E::Stamp>, last: u64, new: &[Item<E::Stamp>]) {
        let (from, to) = overlap(path, last);
        let bottom = path.bottom();
        self.own_path(path, bottom + 1);
        let leaf = path.leaf();
        let end = leaf.last(to.max(1) - 1);
        for i in from..to {
            self.displace(leaf, i);
        }
        let next = new
            .last()
            .map_or(path.at(bottom).lower, |item| item.last.wrapping_add(1));
        // The gap after a leaf belongs to the next one.
        let shrinks = from < to && to == leaf.len() && next <= end;
        self.splice(path, bottom, from, to, new);
        if shrinks {
            self.refresh(end);
        }
    }

    /// Returns whether an entry that holds an index of `first..=last`, to which the path goes,
    /// holds one outside of it too.
    pub(crate) fn reaches_out(&self, path: &Path<E::Stamp>, first: u64, last: u64) -> bool {
        if path.is_within_leaf(last) {
            let (from, to) = overlap(path, last);
            let leaf = path.leaf();
            return from < to && (leaf.first(from) < first || leaf.last(to - 1) > last);
        }
        let below = self.view.find(first).is_some_and(|(range, _)| *range.start() < first);
        below
            || self
                .view
                .find(last)
                .is_some_and(|(range, _)| *range.start() <= last && *range.end() > last)
    }

    /// Puts an entry into a gap: at the path's slot, or into an empty tree if it has none.
    #[inline]
    pub(crate) fn put(&mut self, path: &mut Path<E::Stamp>, item: Item<E::Stamp>) {
        if path.height > 0 {
            let (bottom, slot) = (path.bottom(), path.at(path.bottom()).slot);
            self.own_path(path, bottom + 1);
            self.splice(path, bottom, slot, slot, &[item]);
        } else {
            let root = self.make();
            // SAFETY: just made.
            unsafe { &mut *root }.fill(&[item]);
            self.view.version = Version { node: root, height: 1 };
        }
    }

    /// Takes everything out of `first..=last`: leaf by leaf at its ends, by whole subtrees
    /// between.
    ///
    /// An entry that is cut keeps its other part; the upper of two such parts gets `divided`.
    pub(crate) fn clear(&mut self, first: u64, last: u64, divided: Option<Item<E::Stamp>>) {
        let before = self.displaced.len();
        let mut path = Path::unset();
        while self.seek(&mut path, first) {
            if let Some((level, from, to)) = covered(&path, first, last) {
                let inner = path.inner(level);
                (from..to).for_each(|i| self.displace_tree(inner.version(i)));
                self.own_path(&mut path, level + 1);
                self.splice(&path, level, from, to, &[]);
            } else if path.is_occupied(last) {
                let within = path.is_within_leaf(last);
                self.replace(&mut path, (first, last), None, divided);
                if within {
                    break;
                }
            } else {
                break;
            }
        }
        self.refresh(first);
        // Subtrees went before the leaves next to them.
        self.displaced[before..].sort_unstable_by_key(|taken| taken.first);
    }
}

/// Returns the highest node on the path to `first` with slots that answer only for indexes of
/// `first..=last`, and these slots.
fn covered<S: Stamp>(path: &Path<S>, first: u64, last: u64) -> Option<(usize, usize, usize)> {
    (0..path.bottom()).find_map(|level| {
        let (node, slot) = (path.node(level), path.at(level).slot);
        let from = slot + usize::from(path.at(level + 1).lower < first);
        let covered = (from..node.len()).take_while(|&i| node.last(i) <= last).count();
        (covered > 0).then_some((level, from, from + covered))
    })
}
