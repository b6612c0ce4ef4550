//! Replaces slots of one node, and rebalances those next to it and above: only this code changes a
//! tree's form.

use crate::edit::Edit;
use crate::entry::Entry;
use crate::node::{Item, MOST, Node, Version, fewest};
use crate::stamp::Stamp;
use crate::view::path::Path;

/// Room for the slots of an overfull node and its neighbour's.
const SPREAD: usize = 2 * MOST + 3;

impl<E: Entry, const FANOUT: usize> Edit<E, FANOUT> {
    pub(crate) const FEWEST: usize = fewest(FANOUT);
    /// The most slots of two neighbours that become one node. A few less than it holds, so that
    /// the next insertion does not split it again.
    const MERGE: usize = FANOUT - FANOUT / 5;
    /// The most slots of two neighbours that stay two; with more they become three.
    const SHARE: usize = 2 * FANOUT - FANOUT / 5;

    /// Makes the first `levels` nodes of a path the transaction's own.
    pub(crate) fn own_path(&mut self, path: &mut Path<E::Stamp>, levels: usize) {
        for level in 0..levels {
            let old = path.at(level).node;
            let node = self.own(old);
            if node == old {
                continue;
            }
            path.set_node(level, node);
            if level == 0 {
                self.view.version.node = node;
            } else {
                Self::mutable(path, level - 1).set_child(path.at(level - 1).slot, node);
            }
        }
    }

    /// Returns a node of an owned path, to change it.
    fn mutable<'a>(path: &Path<E::Stamp>, level: usize) -> &'a mut Node<E::Stamp> {
        // SAFETY: the node is this transaction's own, and no caller keeps a reference to it.
        unsafe { &mut *path.at(level).node }
    }

    /// Replaces the slots `from..to` of the node on `level` of an owned path, and updates the
    /// nodes above.
    pub(crate) fn splice(
        &mut self,
        path: &Path<E::Stamp>,
        level: usize,
        from: usize,
        to: usize,
        items: &[Item<E::Stamp>],
    ) {
        let was = path.node(level).len();
        let len = was - (to - from) + items.len();
        if len > FANOUT {
            return self.spread(path, level, from, to, items);
        }
        let upper = path.upper(level);
        let edge = items.is_empty() && to == was && level < path.bottom() && upper == u64::MAX;
        if level == 0 {
            Self::mutable(path, level).splice(from, to, items);
            self.shrink_root();
        } else if len == 0 {
            let slot = path.at(level - 1).slot;
            self.discard(path.at(level).node);
            self.splice(path, level - 1, slot, slot + 1, &[]);
        } else {
            let largest = path.inner(level - 1).gap(path.at(level - 1).slot);
            let gap = if level == path.bottom() {
                let lower = path.at(level).lower;
                let before = path.leaf().gaps(from, to, lower, upper);
                Self::mutable(path, level).splice(from, to, items);
                let leaf = path.leaf();
                let now = leaf.gaps(from, from + items.len(), lower, upper);
                changed(largest, before, now, || leaf.largest_gap(lower, upper))
            } else {
                let inner = path.inner(level);
                let before = (from..to).fold(0, |gap, i| inner.gap(i).max(gap));
                Self::mutable(path, level).splice(from, to, items);
                let now = items.iter().fold(0, |gap, item| item.slot.word.max(gap));
                changed(largest, before, now, || path.inner(level).largest_gap())
            };
            if len < Self::FEWEST && items.len() < to - from {
                self.merge(path, level, gap);
            } else {
                Self::refit(path, level, gap);
            }
        }
        if edge {
            self.mend_edge();
        }
    }

    /// Removes levels that have one slot, or none.
    fn shrink_root(&mut self) {
        while self.view.version.height > 0 {
            let Version { node, height } = self.view.version;
            // SAFETY: the edit's version is there.
            let root = unsafe { &*node };
            self.view.version = match root.len() {
                0 => Version::EMPTY,
                1 if height > 1 => Version {
                    node: root.child_pointer(0),
                    height: height - 1,
                },
                _ => return,
            };
            self.discard(node);
        }
    }

    /// Updates the slots above the node on `level`, whose largest gap is `gap`, as far up as they
    /// differ.
    fn refit(path: &Path<E::Stamp>, mut level: usize, mut gap: u64) {
        while level > 0 {
            let (node, slot) = (path.node(level), path.at(level - 1).slot);
            let parent = path.inner(level - 1);
            let (upper, was) = (parent.last(slot), parent.gap(slot));
            let end = if upper == u64::MAX { upper } else { node.end() };
            if upper == end && was == gap {
                return;
            }
            let parent = Self::mutable(path, level - 1);
            parent.set_last(slot, end);
            parent.set_word(slot, gap);
            level -= 1;
            if level > 0 {
                let largest = path.inner(level - 1).gap(path.at(level - 1).slot);
                gap = changed(largest, was, gap, || path.inner(level).largest_gap());
            }
        }
    }

    /// Distributes `items` over `nodes`: `firsts` to the first one if given, the rest evenly;
    /// returns the slots for the parent.
    ///
    /// The nodes answer for `lower..=upper`.
    fn distribute<const N: usize>(
        path: &Path<E::Stamp>,
        level: usize,
        items: &[Item<E::Stamp>],
        nodes: [*mut Node<E::Stamp>; N],
        firsts: Option<usize>,
        (mut lower, upper): (u64, u64),
    ) -> [Item<E::Stamp>; N] {
        let mut rest = items;
        core::array::from_fn(|i| {
            let share = firsts.filter(|_| i == 0).unwrap_or(rest.len().div_ceil(N - i));
            let (mine, others) = rest.split_at(share);
            rest = others;
            // SAFETY: the node is this transaction's own, and no other code has a reference to it.
            let node = unsafe { &mut *nodes[i] };
            node.fill(mine);
            let at_edge = i + 1 == N && upper == u64::MAX;
            let last = if at_edge { upper } else { node.end() };
            let edge = if at_edge { upper } else { 0 };
            let version = Version {
                node: nodes[i],
                height: path.height - level,
            };
            // SAFETY: as above; it has the levels below that belong to its own.
            let word = unsafe { version.typed() }.largest_gap(lower, edge);
            lower = last.wrapping_add(1);
            Item::of(last, word, nodes[i].cast(), E::Stamp::default())
        })
    }

    /// Splices a node that would hold too many slots: spreads them over a neighbour, or into one
    /// more node.
    #[cold]
    fn spread(&mut self, path: &Path<E::Stamp>, level: usize, from: usize, to: usize, items: &[Item<E::Stamp>]) {
        let node = path.at(level).node;
        let len = path.node(level).len();
        let mut all = [Item::blank(E::Stamp::default()); SPREAD];
        let mut n = gather(&mut all, 0, path.node(level), 0, from);
        all[n..n + items.len()].copy_from_slice(items);
        n = gather(&mut all, n + items.len(), path.node(level), to, len);
        // A node that grows at its end is left full.
        let (lower, upper) = (path.at(level).lower, path.upper(level));
        let firsts = (upper == u64::MAX && to == len && from + 1 >= len).then_some(FANOUT);
        if level == 0 {
            let nodes = [node, self.make()];
            let pieces = Self::distribute(path, level, &all[..n], nodes, firsts, (0, upper));
            let root = self.make();
            // SAFETY: just made.
            unsafe { &mut *root }.fill(&pieces);
            self.view.version = Version {
                node: root,
                height: path.height + 1,
            };
            return;
        }
        let slot = path.at(level - 1).slot;
        let neighbour = Self::neighbour(path, level).filter(|_| firsts.is_none());
        let Some(left) = neighbour else {
            let nodes = [node, self.make()];
            let pieces = Self::distribute(path, level, &all[..n], nodes, firsts, (lower, upper));
            return self.splice(path, level - 1, slot, slot + 1, &pieces);
        };
        let (nodes, n, bounds) = self.with_neighbour(path, level, left, &mut all, n);
        if n <= Self::SHARE {
            let pieces = Self::distribute(path, level, &all[..n], nodes, None, bounds);
            self.splice(path, level - 1, left, left + 2, &pieces);
        } else {
            let nodes = [nodes[0], nodes[1], self.make()];
            let pieces = Self::distribute(path, level, &all[..n], nodes, None, bounds);
            self.splice(path, level - 1, left, left + 2, &pieces);
        }
    }

    /// Merges a node with few slots, whose largest gap is `gap`, with a neighbour, or shares with
    /// it.
    #[cold]
    fn merge(&mut self, path: &Path<E::Stamp>, level: usize, gap: u64) {
        let Some(left) = Self::neighbour(path, level) else {
            return Self::refit(path, level, gap);
        };
        let node = path.node(level);
        let mut all = [Item::blank(E::Stamp::default()); SPREAD];
        let n = gather(&mut all, 0, node, 0, node.len());
        let (nodes, n, bounds) = self.with_neighbour(path, level, left, &mut all, n);
        if n <= Self::MERGE {
            self.discard(nodes[1]);
            let pieces = Self::distribute(path, level, &all[..n], [nodes[0]], None, bounds);
            self.splice(path, level - 1, left, left + 2, &pieces);
        } else {
            let pieces = Self::distribute(path, level, &all[..n], nodes, None, bounds);
            self.splice(path, level - 1, left, left + 2, &pieces);
        }
    }

    /// Returns the slot of the left one of a node and its smaller neighbour; `None` for an only
    /// child.
    fn neighbour(path: &Path<E::Stamp>, level: usize) -> Option<usize> {
        let (parent, slot) = (path.node(level - 1), path.at(level - 1).slot);
        // SAFETY: the edit's version is there.
        let len = |slot| unsafe { &*parent.child_pointer(slot) }.len();
        let left = slot.checked_sub(1);
        let right = Some(slot).filter(|slot| slot + 1 < parent.len());
        match (left, right) {
            (Some(left), Some(right)) if len(right + 1) < len(left) => Some(right),
            (Some(left), _) => Some(left),
            (None, right) => right,
        }
    }

    /// Adds a neighbour's slots to the first `n` of `all`, which are the node's.
    ///
    /// Returns the two nodes to fill, the number of slots, and the range that the two answer for.
    #[expect(clippy::type_complexity)]
    fn with_neighbour(
        &mut self,
        path: &Path<E::Stamp>,
        level: usize,
        left: usize,
        all: &mut [Item<E::Stamp>; SPREAD],
        n: usize,
    ) -> ([*mut Node<E::Stamp>; 2], usize, (u64, u64)) {
        let (parent, node, slot) = (path.node(level - 1), path.at(level).node, path.at(level - 1).slot);
        let is_left = left < slot;
        let other = parent.child_pointer(if is_left { left } else { slot + 1 });
        // SAFETY: the edit's version is there.
        let neighbour = unsafe { &*other };
        let total = n + neighbour.len();
        if is_left {
            all.copy_within(..n, neighbour.len());
            gather(all, 0, neighbour, 0, neighbour.len());
        } else {
            gather(all, n, neighbour, 0, neighbour.len());
        }
        let lower = if left > 0 {
            parent.last(left - 1) + 1
        } else {
            path.at(level - 1).lower
        };
        let upper = parent.last(left + 1);
        let other = self.blank(other);
        let nodes = if is_left { [other, node] } else { [node, other] };
        (nodes, total, (lower, upper))
    }

    /// Makes the nodes at the right edge answer for all indexes up to the last one.
    ///
    /// After the last slots of the tree were taken out, or all were put in.
    pub(crate) fn mend_edge(&mut self) {
        if self.view.version.height <= 1 {
            return;
        }
        let mut path = Path::unset();
        // SAFETY: not empty, and the edit's version is there.
        unsafe { path.seek_last(self.view.version) };
        let bottom = path.bottom();
        self.own_path(&mut path, bottom);
        for level in 0..bottom {
            Self::mutable(&path, level).set_last(path.at(level).slot, u64::MAX);
        }
        let gap = path.leaf().largest_gap(path.at(bottom).lower, u64::MAX);
        Self::refit(&path, bottom, gap);
    }

    /// Updates the gap around `index`, which has grown because entries below it were taken out of
    /// another leaf.
    pub(crate) fn refresh(&mut self, index: u64) {
        if self.view.version.height <= 1 {
            return;
        }
        let mut path = Path::unset();
        // SAFETY: as in `mend_edge`.
        unsafe { path.seek(self.view.version, index) };
        let bottom = path.bottom();
        let gap = path.leaf().largest_gap(path.at(bottom).lower, path.upper(bottom));
        if path.inner(bottom - 1).gap(path.at(bottom - 1).slot) != gap {
            self.own_path(&mut path, bottom);
            Self::refit(&path, bottom, gap);
        }
    }
}

/// Returns a node's largest gap, which was `largest`, after the gaps `before` became `now`; `all`
/// looks at every one.
#[inline]
fn changed(largest: u64, before: u64, now: u64, all: impl FnOnce() -> u64) -> u64 {
    if now >= largest {
        now
    } else if before < largest {
        largest
    } else {
        all()
    }
}

/// Copies the slots `from..to` of a node to the place `at` of `all`; returns where they end.
fn gather<S: Stamp>(all: &mut [Item<S>; SPREAD], at: usize, node: &Node<S>, from: usize, to: usize) -> usize {
    for i in from..to {
        all[at + i - from] = node.item(i);
    }
    at + to - from
}
