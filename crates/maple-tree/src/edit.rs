//! Edits: what a transaction does to its own version, before anybody else sees it.
//!
//! The first time that an edit comes to a node it copies it; from then on the copy is the transaction's own and is changed in
//! place. All of it goes through [`Edit::splice`], which replaces slots of one node and leaves the tree as the invariants in
//! [`node`](crate::node) want it, up to the root: too many slots are spread over a neighbour, or two nodes become three; too
//! few are merged with a neighbour's.
//!
//! An edit takes all memory before it changes anything: nothing here fails half-way.

use alloc::vec::Vec;
use core::ptr::{self, NonNull};

use vmaple_rcu::{AllocError, Update};

use crate::entry::Entry;
use crate::node::{HEIGHT, Item, MOST, Node, Slot, fewest};
use crate::pool::Pool;
use crate::root::{Root, Version, retire_entry, retire_node};
use crate::view::View;

/// A way down, and the bounds of what each node on it answers for.
pub(crate) struct Way<S> {
    nodes: [*mut Node<S>; HEIGHT],
    slots: [u8; HEIGHT],
    /// The first index that each node answers for.
    lowers: [u64; HEIGHT],
    /// The last index that the leaf answers for.
    upper: u64,
    height: usize,
}

impl<S> Way<S> {
    fn leaf(&self) -> usize {
        self.height - 1
    }

    fn slot(&self, level: usize) -> usize {
        usize::from(self.slots[level])
    }
}

/// An entry that a transaction has taken out, and where it was.
pub(crate) struct Displaced<E: Entry> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) raw: NonNull<()>,
    stamp: E::Stamp,
}

/// Room for the slots of an overfull node, its neighbour's, and what a cut adds.
const SPREAD: usize = 2 * MOST + 2;

/// The writer's side of a tree.
///
/// # Invariants
/// `made` links the nodes that this transaction took from the pool, each marked with `id`, or with 0 if it is not used any
/// more; `replaced` the published nodes that `view` does not reach any more. `view` reaches no other nodes than published ones
/// and those in `made`.
pub(crate) struct Edit<E: Entry, const FANOUT: usize> {
    /// The transaction's version.
    pub(crate) view: View<E>,
    pub(crate) pool: Pool<E::Stamp>,
    /// The transaction's number; never 0.
    id: u64,
    made: *mut Node<E::Stamp>,
    replaced: *mut Node<E::Stamp>,
    replaced_len: usize,
    /// Entries that this transaction brought: dropped if it is undone.
    inserted: Vec<NonNull<()>>,
    /// Entries that it took out: retired when it is published.
    pub(crate) displaced: Vec<Displaced<E>>,
}

// SAFETY: it owns its nodes and entries, which are Send.
unsafe impl<E: Entry, const FANOUT: usize> Send for Edit<E, FANOUT> {}

impl<E: Entry, const FANOUT: usize> Edit<E, FANOUT> {
    const FEWEST: usize = fewest(FANOUT);
    /// Two neighbours with at most so many slots become one node: a few less than it holds, so that the next insertion does
    /// not part them again.
    const MERGE: usize = FANOUT - FANOUT / 5;
    /// Two neighbours with at most so many slots stay two; with more they become three.
    const SHARE: usize = 2 * FANOUT - FANOUT / 5;

    pub(crate) fn new() -> Result<Self, AllocError> {
        const { assert!(3 <= FANOUT && FANOUT <= MOST, "the fan-out is 3 to 15") };
        Ok(Self {
            // SAFETY: an empty version has no nodes.
            view: unsafe { View::new(Version::EMPTY) },
            pool: Pool::new()?,
            id: 1,
            made: ptr::null_mut(),
            replaced: ptr::null_mut(),
            replaced_len: 0,
            inserted: Vec::new(),
            displaced: Vec::new(),
        })
    }

    // ---- memory ----

    /// Takes all memory for an edit that changes up to `nodes` nodes beside what it takes out: `entries` and the nodes above
    /// them.
    pub(crate) fn reserve(
        &mut self,
        update: &mut impl Update,
        nodes: usize,
        entries: usize,
        nodes_above: usize,
    ) -> Result<(), AllocError> {
        if self.view.version.height == HEIGHT {
            return Err(AllocError);
        }
        self.pool.reserve(nodes)?;
        self.displaced.try_reserve(entries).map_err(|_| AllocError)?;
        if E::OWNS {
            self.inserted.try_reserve(2).map_err(|_| AllocError)?;
        }
        let displaced = if E::OWNS { self.displaced.len() + entries } else { 0 };
        // And one for the tree, when it is dropped.
        update.reserve(self.replaced_len + nodes + nodes_above + displaced + 1)
    }

    /// Nodes that an edit of one leaf takes at most: its way, a neighbour and a third node on each level, the way to the leaf
    /// behind it, one more level.
    pub(crate) fn nodes_for_a_leaf(&self) -> usize {
        5 * self.view.version.height + 2
    }

    /// Nodes that clearing any range takes at most: twice on every level something is cut, and each cut may be one of a leaf's.
    pub(crate) fn nodes_for_a_range(&self) -> usize {
        (2 * self.view.version.height + 3) * self.nodes_for_a_leaf()
    }

    /// Entries with an index in `first..=last`, and the nodes on all ways to them.
    pub(crate) fn weigh(&self, first: u64, last: u64) -> (usize, usize) {
        fn below<E: Entry>(version: Version<E::Stamp>, first: u64, last: u64) -> (usize, usize) {
            // SAFETY: the edit's version is there.
            let node = unsafe { &*version.node };
            let from = node.position(first);
            if version.height == 1 {
                let held = (from..node.len()).take_while(|&i| node.slot(i).word <= last);
                return (held.count(), 1);
            }
            let (mut entries, mut nodes) = (0, 1);
            for i in from..node.len() {
                if i > 0 && node.last(i - 1) >= last {
                    break;
                }
                let (node, height) = (node.child(i), version.height - 1);
                let (e, n) = below::<E>(Version { node, height }, first, last);
                (entries, nodes) = (entries + e, nodes + n);
            }
            (entries, nodes)
        }
        if self.view.is_empty() {
            return (0, 0);
        }
        below::<E>(self.view.version, first, last)
    }

    // ---- nodes ----

    /// A node to be filled; reserved before.
    pub(crate) fn make(&mut self) -> *mut Node<E::Stamp> {
        let node = self.pool.take();
        // SAFETY: the pool gave it away.
        let this = unsafe { &*node };
        this.set_made_by(self.id);
        // INVARIANT: made, and marked.
        this.set_link(self.made);
        self.made = node;
        node
    }

    /// This transaction's own copy of a node.
    fn own(&mut self, node: *mut Node<E::Stamp>) -> *mut Node<E::Stamp> {
        // SAFETY: the edit's version is there.
        if unsafe { &*node }.made_by() == self.id {
            return node;
        }
        let copy = self.make();
        // SAFETY: both are nodes, and the copy is this transaction's alone.
        unsafe { Node::copy(node, copy) };
        self.discard(node);
        copy
    }

    /// Takes note that the version does not reach a node any more.
    fn discard(&mut self, node: *mut Node<E::Stamp>) {
        // SAFETY: the node was in the edit's version.
        let this = unsafe { &*node };
        if this.made_by() == self.id {
            this.set_made_by(0);
        } else {
            // INVARIANT: published, and not reached any more.
            this.set_link(self.replaced);
            self.replaced = node;
            self.replaced_len += 1;
        }
    }

    /// A node in the place of `node`, whose content is not wanted any more.
    fn blank(&mut self, node: *mut Node<E::Stamp>) -> *mut Node<E::Stamp> {
        // SAFETY: the node is in the edit's version.
        if unsafe { &*node }.made_by() == self.id {
            return node;
        }
        self.discard(node);
        self.make()
    }

    // ---- ways ----

    /// The way to the leaf that answers for `index`. The version must not be empty.
    pub(crate) fn way(&self, index: u64) -> Way<E::Stamp> {
        let height = self.view.version.height;
        let mut way = Way {
            nodes: [ptr::null_mut(); HEIGHT],
            slots: [0; HEIGHT],
            lowers: [0; HEIGHT],
            upper: u64::MAX,
            height,
        };
        let mut node = self.view.version.node;
        for level in 0..height {
            // SAFETY: the edit's version is there.
            let this = unsafe { &*node };
            let position = this.position(index);
            way.nodes[level] = node;
            way.slots[level] = position as u8;
            if level + 1 < height {
                way.lowers[level + 1] = if position > 0 {
                    this.last(position - 1) + 1
                } else {
                    way.lowers[level]
                };
                way.upper = this.last(position);
                node = this.child(position);
            }
        }
        way
    }

    /// Makes the first `levels` nodes of a way the transaction's own.
    fn own_way(&mut self, way: &mut Way<E::Stamp>, levels: usize) {
        for level in 0..levels {
            let node = self.own(way.nodes[level]);
            way.nodes[level] = node;
            if level == 0 {
                self.view.version.node = node;
            } else {
                Self::mutable(way, level - 1).set_child(way.slot(level - 1), node);
            }
        }
    }

    fn node<'a>(way: &Way<E::Stamp>, level: usize) -> &'a Node<E::Stamp> {
        // SAFETY: the edit's version is there.
        unsafe { &*way.nodes[level] }
    }

    /// A node of a way that is owned.
    fn mutable<'a>(way: &Way<E::Stamp>, level: usize) -> &'a mut Node<E::Stamp> {
        // SAFETY: the node is this transaction's own, and no caller keeps a reference to it.
        unsafe { &mut *way.nodes[level] }
    }

    /// The last index that the node on `level` answers for: `u64::MAX` at the right edge only, or if it is held.
    fn upper(way: &Way<E::Stamp>, level: usize) -> u64 {
        if level == 0 {
            u64::MAX
        } else {
            Self::node(way, level - 1).last(way.slot(level - 1))
        }
    }

    // ---- slots ----

    /// Replaces the slots `from..to` of the node on `level` of an owned way, and sees to the nodes above.
    fn splice(&mut self, way: &Way<E::Stamp>, level: usize, from: usize, to: usize, items: &[Item<E::Stamp>]) {
        let node = Self::mutable(way, level);
        let len = node.len() - (to - from) + items.len();
        if len > FANOUT {
            return self.spread(way, level, from, to, items);
        }
        let edge = items.is_empty() && to == node.len() && level < way.leaf() && Self::upper(way, level) == u64::MAX;
        node.splice(from, to, items);
        if level == 0 {
            self.shrink_root();
        } else if len == 0 {
            self.discard(way.nodes[level]);
            let slot = way.slot(level - 1);
            self.splice(way, level - 1, slot, slot + 1, &[]);
        } else if len < Self::FEWEST && Self::node(way, level - 1).len() > 1 {
            self.merge(way, level);
        } else {
            self.refit(way, level);
        }
        if edge {
            self.mend_edge();
        }
    }

    /// Takes levels away that have one slot, or none.
    fn shrink_root(&mut self) {
        loop {
            let Version { node, height } = self.view.version;
            // SAFETY: the edit's version is there.
            let root = unsafe { &*node };
            self.view.version = match root.len() {
                0 => Version::EMPTY,
                1 if height > 1 => Version {
                    node: root.child(0),
                    height: height - 1,
                },
                _ => return,
            };
            self.discard(node);
            if self.view.is_empty() {
                return;
            }
        }
    }

    /// The largest gap of a node of `level` that answers for `lower..=upper`.
    fn gap(way: &Way<E::Stamp>, level: usize, node: &Node<E::Stamp>, lower: u64, upper: u64) -> u64 {
        if level == way.leaf() {
            node.leaf_gap(lower, upper)
        } else {
            node.inner_gap()
        }
    }

    /// Writes anew what the nodes above say about the node on `level`, as far up as it differs.
    fn refit(&mut self, way: &Way<E::Stamp>, level: usize) {
        for level in (1..=level).rev() {
            let (node, parent, slot) = (
                Self::node(way, level),
                Self::mutable(way, level - 1),
                way.slot(level - 1),
            );
            let upper = parent.last(slot);
            let end = if upper == u64::MAX { upper } else { node.end() };
            let gap = Self::gap(way, level, node, way.lowers[level], upper);
            if upper == end && parent.slot(slot).word == gap {
                return;
            }
            parent.set_last(slot, end);
            parent.set_word(slot, gap);
        }
    }

    /// Fills `nodes` with `items`, the first of them with `firsts` if that is given, else as evenly as can be; returns what
    /// the node above is to say about them. They answer for `lower..=upper`.
    fn deal<const N: usize>(
        way: &Way<E::Stamp>,
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
            // SAFETY: the node is this transaction's own, and nobody has a reference to it.
            let node = unsafe { &mut *nodes[i] };
            node.fill(mine);
            let at_edge = i + 1 == N && upper == u64::MAX;
            let last = if at_edge { upper } else { node.end() };
            let edge = if at_edge { upper } else { 0 };
            let word = Self::gap(way, level, node, lower, edge);
            lower = last.wrapping_add(1);
            Item {
                last,
                slot: Slot {
                    word,
                    ptr: nodes[i].cast(),
                },
                stamp: E::Stamp::default(),
            }
        })
    }

    /// [`splice`](Self::splice) of a node that would hold too many slots: over a neighbour, or into one more node.
    #[cold]
    fn spread(&mut self, way: &Way<E::Stamp>, level: usize, from: usize, to: usize, items: &[Item<E::Stamp>]) {
        let node = way.nodes[level];
        let len = Self::node(way, level).len();
        let mut all = [Item::blank(E::Stamp::default()); SPREAD];
        let mut n = gather(&mut all, 0, Self::node(way, level), 0, from);
        all[n..n + items.len()].copy_from_slice(items);
        n = gather(&mut all, n + items.len(), Self::node(way, level), to, len);
        // What grows at its end is left full.
        let upper = Self::upper(way, level);
        let firsts = (upper == u64::MAX && to == len && from + 1 >= len).then_some(FANOUT);
        if level == 0 {
            let nodes = [node, self.make()];
            let pieces = Self::deal(way, level, &all[..n], nodes, firsts, (0, upper));
            let root = self.make();
            // SAFETY: just made.
            unsafe { &mut *root }.fill(&pieces);
            self.view.version = Version {
                node: root,
                height: way.height + 1,
            };
            return;
        }
        let slot = way.slot(level - 1);
        let neighbour = if firsts.is_some() {
            None
        } else {
            Self::neighbour(way, level)
        };
        let Some(left) = neighbour else {
            let nodes = [node, self.make()];
            let pieces = Self::deal(way, level, &all[..n], nodes, firsts, (way.lowers[level], upper));
            return self.splice(way, level - 1, slot, slot + 1, &pieces);
        };
        let (nodes, n, bounds) = self.with_neighbour(way, level, left, &mut all, n);
        if n <= Self::SHARE {
            let pieces = Self::deal(way, level, &all[..n], nodes, None, bounds);
            self.splice(way, level - 1, left, left + 2, &pieces);
        } else {
            let nodes = [nodes[0], nodes[1], self.make()];
            let pieces = Self::deal(way, level, &all[..n], nodes, None, bounds);
            self.splice(way, level - 1, left, left + 2, &pieces);
        }
    }

    /// Joins a node with few slots with a neighbour, or shares with it.
    #[cold]
    fn merge(&mut self, way: &Way<E::Stamp>, level: usize) {
        let Some(left) = Self::neighbour(way, level) else {
            return self.refit(way, level);
        };
        let node = Self::node(way, level);
        let mut all = [Item::blank(E::Stamp::default()); SPREAD];
        let n = gather(&mut all, 0, node, 0, node.len());
        let (nodes, n, bounds) = self.with_neighbour(way, level, left, &mut all, n);
        if n <= Self::MERGE {
            self.discard(nodes[1]);
            let pieces = Self::deal(way, level, &all[..n], [nodes[0]], None, bounds);
            self.splice(way, level - 1, left, left + 2, &pieces);
        } else {
            let pieces = Self::deal(way, level, &all[..n], nodes, None, bounds);
            self.splice(way, level - 1, left, left + 2, &pieces);
        }
    }

    /// The neighbour with fewer slots, told by the slot of the left one of the two; `None` for an only child.
    fn neighbour(way: &Way<E::Stamp>, level: usize) -> Option<usize> {
        let (parent, slot) = (Self::node(way, level - 1), way.slot(level - 1));
        // SAFETY: the edit's version is there.
        let len = |slot| unsafe { &*parent.child(slot) }.len();
        let left = slot.checked_sub(1);
        let right = Some(slot).filter(|slot| slot + 1 < parent.len());
        match (left, right) {
            (Some(left), Some(right)) if len(right + 1) < len(left) => Some(right),
            (Some(left), _) => Some(left),
            (None, right) => right,
        }
    }

    /// Puts a neighbour's slots beside the first `n` of `all`, which are the node's, and returns the two nodes to fill, the
    /// number of slots and what the two answer for.
    #[expect(clippy::type_complexity)]
    fn with_neighbour(
        &mut self,
        way: &Way<E::Stamp>,
        level: usize,
        left: usize,
        all: &mut [Item<E::Stamp>; SPREAD],
        n: usize,
    ) -> ([*mut Node<E::Stamp>; 2], usize, (u64, u64)) {
        let (parent, node, slot) = (Self::node(way, level - 1), way.nodes[level], way.slot(level - 1));
        let is_left = left < slot;
        let other = parent.child(if is_left { left } else { slot + 1 });
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
            way.lowers[level - 1]
        };
        let upper = parent.last(left + 1);
        let other = self.blank(other);
        let nodes = if is_left { [other, node] } else { [node, other] };
        (nodes, total, (lower, upper))
    }

    /// After the last slots of the tree were taken out: the nodes that are now at the right edge answer for all indexes up to
    /// the last.
    pub(crate) fn mend_edge(&mut self) {
        let height = self.view.version.height;
        if height <= 1 {
            return;
        }
        let mut way = Way {
            nodes: [ptr::null_mut(); HEIGHT],
            slots: [0; HEIGHT],
            lowers: [0; HEIGHT],
            upper: u64::MAX,
            height,
        };
        let mut node = self.view.version.node;
        for level in 0..height {
            way.nodes[level] = node;
            // SAFETY: the edit's version is there.
            let this = unsafe { &*node };
            let slot = this.len() - 1;
            way.slots[level] = slot as u8;
            if level + 1 < height {
                node = this.child(slot);
                way.lowers[level + 1] = if slot > 0 {
                    this.last(slot - 1) + 1
                } else {
                    way.lowers[level]
                };
            }
        }
        self.own_way(&mut way, height - 1);
        for level in 0..height - 1 {
            Self::mutable(&way, level).set_last(way.slot(level), u64::MAX);
        }
        self.refit(&way, height - 1);
    }

    /// Sees to the gap around `index`, which has grown because something below was taken out of another leaf.
    fn refresh(&mut self, index: u64) {
        if self.view.version.height <= 1 {
            return;
        }
        let mut way = self.way(index);
        let level = way.leaf();
        let (leaf, parent) = (Self::node(&way, level), Self::node(&way, level - 1));
        let gap = leaf.leaf_gap(way.lowers[level], way.upper);
        if parent.slot(way.slot(level - 1)).word != gap {
            self.own_way(&mut way, level);
            self.refit(&way, level);
        }
    }

    // ---- operations; memory was reserved ----

    /// An entry on its way into a leaf.
    pub(crate) fn new_item(
        &mut self,
        update: &mut impl Update,
        (first, last): (u64, u64),
        raw: NonNull<()>,
    ) -> Item<E::Stamp> {
        let stamp = if E::OWNS {
            self.inserted.push(raw);
            // SAFETY: not published yet.
            unsafe { E::note_birth(raw, update.birth(E::BYTES)) }
        } else {
            E::Stamp::default()
        };
        Item {
            last,
            slot: Slot {
                word: first,
                ptr: raw.as_ptr(),
            },
            stamp,
        }
    }

    /// Takes note of an entry that is taken out.
    fn displace(&mut self, leaf: &Node<E::Stamp>, i: usize) {
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

    /// Takes out all that is below a node.
    fn displace_tree(&mut self, version: Version<E::Stamp>) {
        // SAFETY: the edit's version is there.
        let node = unsafe { &*version.node };
        for i in 0..node.len() {
            if version.height > 1 {
                let (node, height) = (node.child(i), version.height - 1);
                self.displace_tree(Version { node, height });
            } else {
                self.displace(node, i);
            }
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

    /// The slots of the way's leaf that hold an index of `..=last`, from the way's slot on.
    fn overlap(way: &Way<E::Stamp>, last: u64) -> (usize, usize) {
        let (leaf, from) = (Self::node(way, way.leaf()), way.slot(way.leaf()));
        let held = (from..leaf.len()).take_while(|&i| leaf.slot(i).word <= last).count();
        (from, from + held)
    }

    /// The entry that a store over `first..=last` would cut in two.
    pub(crate) fn cut_in_two(&self, way: &Way<E::Stamp>, first: u64, last: u64) -> Option<E::Borrowed<'_>> {
        let (leaf, i) = (Self::node(way, way.leaf()), way.slot(way.leaf()));
        let cut = i < leaf.len() && leaf.slot(i).word < first && leaf.last(i) > last;
        // SAFETY: the entry is in the version, which is borrowed.
        NonNull::new(leaf.slot(i.min(MOST - 1)).ptr)
            .filter(|_| cut)
            .map(|raw| unsafe { E::borrow(raw) })
    }

    /// Whether an entry holds an index of `first..=last`, of which `way` is the way to `first`.
    pub(crate) fn is_occupied(way: &Way<E::Stamp>, last: u64) -> bool {
        let (from, to) = Self::overlap(way, last);
        from < to
    }

    /// The range of the entry that holds `index`, to which `way` is the way.
    pub(crate) fn held(way: &Way<E::Stamp>, index: u64) -> Option<(u64, u64)> {
        let (from, to) = Self::overlap(way, index);
        let leaf = Self::node(way, way.leaf());
        (from < to).then(|| (leaf.slot(from).word, leaf.last(from)))
    }

    /// Whether an entry at the way's slot or behind may hold an index of `..=last`; certain if all of that is in its leaf.
    pub(crate) fn may_hold(way: &Way<E::Stamp>, last: u64) -> bool {
        Self::is_occupied(way, last) || !Self::is_within_leaf(way, last)
    }

    /// Whether all that holds an index of `..=last` from the way's slot on is in its leaf.
    pub(crate) fn is_within_leaf(way: &Way<E::Stamp>, last: u64) -> bool {
        let (_, to) = Self::overlap(way, last);
        to < Self::node(way, way.leaf()).len() || way.upper >= last
    }

    /// Replaces what `first..=last` holds in the leaf of an unowned way by `new`; what is cut keeps its entry, and the upper of
    /// two parts has `divided`.
    pub(crate) fn replace(
        &mut self,
        mut way: Way<E::Stamp>,
        (first, last): (u64, u64),
        new: Option<Item<E::Stamp>>,
        divided: Option<Item<E::Stamp>>,
    ) {
        let (from, to) = Self::overlap(&way, last);
        let level = way.leaf();
        let height = way.height;
        self.own_way(&mut way, height);
        let leaf = Self::node(&way, level);
        let mut items = [Item::blank(E::Stamp::default()); 3];
        let mut n = 0;
        let mut push = |item| {
            items[n] = item;
            n += 1;
        };
        // What is below and above the range stays.
        let below = (from < to && leaf.slot(from).word < first).then(|| leaf.item(from));
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
        let taken_from = from + usize::from(below.is_some());
        let taken_to = to - usize::from(above.is_some());
        for i in taken_from..taken_to {
            self.displace(leaf, i);
        }
        let shrinks = to == leaf.len() && above.is_none() && new.is_none();
        self.splice(&way, level, from, to, &items[..n]);
        if shrinks {
            self.refresh(first);
        }
    }

    /// Puts an entry where nothing is; `way` is the way to its first index, or there is none.
    pub(crate) fn put(&mut self, way: Option<Way<E::Stamp>>, item: Item<E::Stamp>) {
        match way {
            Some(mut way) => {
                let (level, slot) = (way.leaf(), way.slot(way.leaf()));
                let height = way.height;
                self.own_way(&mut way, height);
                self.splice(&way, level, slot, slot, &[item]);
            }
            None => {
                let root = self.make();
                // SAFETY: just made.
                unsafe { &mut *root }.fill(&[item]);
                self.view.version = Version { node: root, height: 1 };
            }
        }
    }

    /// Takes everything out of `first..=last`, leaf by leaf at its ends and by whole subtrees between. What is cut stays; the
    /// upper of two parts has `divided`.
    pub(crate) fn clear(&mut self, first: u64, last: u64, divided: Option<Item<E::Stamp>>) {
        let before = self.displaced.len();
        while !self.view.is_empty() {
            let mut way = self.way(first);
            if let Some((level, from, to)) = Self::covered(&way, first, last) {
                let height = way.height - 1 - level;
                for i in from..to {
                    let node = Self::node(&way, level).child(i);
                    self.displace_tree(Version { node, height });
                }
                self.own_way(&mut way, level + 1);
                self.splice(&way, level, from, to, &[]);
            } else if Self::is_occupied(&way, last) {
                let within = Self::is_within_leaf(&way, last);
                self.replace(way, (first, last), None, divided);
                if within {
                    break;
                }
            } else {
                break;
            }
        }
        if !self.view.is_empty() {
            self.refresh(first);
        }
        // Subtrees went before the leaves beside them.
        self.displaced[before..].sort_unstable_by_key(|taken| taken.first);
    }

    /// The highest node on the way to `first` with slots that answer for nothing outside of `first..=last`.
    fn covered(way: &Way<E::Stamp>, first: u64, last: u64) -> Option<(usize, usize, usize)> {
        (0..way.leaf()).find_map(|level| {
            let (node, slot) = (Self::node(way, level), way.slot(level));
            let from = slot + usize::from(way.lowers[level + 1] < first);
            let covered = (from..node.len()).take_while(|&i| node.last(i) <= last).count();
            (covered > 0).then_some((level, from, from + covered))
        })
    }

    // ---- the end ----

    /// Publishes the version, and retires what it does not reach any more. Cannot fail.
    pub(crate) fn commit(&mut self, root: &Root<E>, update: &mut impl Update) {
        let mut node = core::mem::replace(&mut self.made, ptr::null_mut());
        while let Some(this) = NonNull::new(node) {
            // SAFETY: made by this transaction, so its own, and nobody has a reference to it.
            let this = unsafe { &mut *this.as_ptr() };
            let next = this.link();
            if this.made_by() == 0 {
                self.pool.put(node);
            } else {
                this.set_birth(update.birth(size_of::<Node<E::Stamp>>()));
            }
            node = next;
        }
        root.publish(self.view.version);
        let mut node = core::mem::replace(&mut self.replaced, ptr::null_mut());
        while !node.is_null() {
            // SAFETY: a replaced node stays until it is retired, and freed.
            let next = unsafe { &*node }.link();
            // SAFETY: by the type's invariant the version that has just been published does not reach it.
            unsafe { retire_node(update, node) };
            node = next;
        }
        self.replaced_len = 0;
        for Displaced { raw, stamp, .. } in self.displaced.drain(..) {
            // SAFETY: as for nodes.
            unsafe { retire_entry::<E>(update, raw, stamp) };
        }
        self.inserted.clear();
        self.id += 1;
    }

    /// What was made and inserted up to now.
    pub(crate) fn mark(&self) -> (*mut Node<E::Stamp>, usize) {
        (self.made, self.inserted.len())
    }

    /// Takes back what was made and inserted after `mark`, none of which the version reaches.
    pub(crate) fn undo_to(&mut self, (made, inserted): (*mut Node<E::Stamp>, usize)) {
        while self.made != made {
            let node = self.made;
            // SAFETY: made by this transaction.
            self.made = unsafe { &*node }.link();
            self.pool.put(node);
        }
        for raw in self.inserted.drain(inserted..) {
            // SAFETY: brought by this transaction, and never published.
            drop(unsafe { E::from_raw(raw) });
        }
    }

    /// Takes all edits back.
    pub(crate) fn undo(&mut self, root: &Root<E>) {
        self.replaced = ptr::null_mut();
        self.replaced_len = 0;
        self.view.version = root.current();
        self.displaced.clear();
        self.undo_to((ptr::null_mut(), 0));
        self.id += 1;
    }

    /// Whether there is anything to publish.
    pub(crate) fn is_changed(&self, root: &Root<E>) -> bool {
        !self.made.is_null() || self.view.version.node != root.current().node
    }
}

/// Copies the slots `from..to` of a node to the place `at` of `all`; returns where they end.
fn gather<S: crate::node::Stamp>(
    all: &mut [Item<S>; SPREAD],
    at: usize,
    node: &Node<S>,
    from: usize,
    to: usize,
) -> usize {
    for i in from..to {
        all[at + i - from] = node.item(i);
    }
    at + to - from
}
