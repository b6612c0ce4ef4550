//! Edits: what a transaction does to its own version, before any other thread sees it.
//!
//! The first edit that comes to a node copies it. From then on the copy is the transaction's own
//! and is changed in place. All changes go through [`Edit::splice`], which replaces slots of one
//! node and restores the invariants of [`node`](crate::node), up to the root. Too many slots are
//! spread over a neighbour, or two nodes become three; too few are merged with a neighbour's.
//!
//! An edit takes all memory before it changes anything: nothing here fails half-way.

mod build;
mod splice;
mod store;

use alloc::vec::Vec;
use core::ptr::{self, NonNull};

use vmaple_rcu::pool::{Pool, Pooled};
use vmaple_rcu::{AllocError, Update};

use crate::entry::Entry;
use crate::node::{HEIGHT, Kind, MOST, Node, NodeRef, Version};
use crate::root::{Root, retire_entry, retire_node};
use crate::stamp::Stamp;
use crate::view::View;

/// An entry that a transaction has taken out, and its range.
pub(crate) struct Displaced<E: Entry> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) raw: NonNull<()>,
    pub(crate) stamp: E::Stamp,
}

/// A point in a transaction: the node that it made last, and the number of entries that it has
/// brought.
pub(crate) type Mark<E> = (*mut Node<<E as Entry>::Stamp>, usize);

/// The writer's side of a tree.
///
/// # Invariants
/// `made` links the nodes that this transaction took from the pool, each marked with `id`, or with
/// 0 if it is not used any more. `replaced` links the published nodes that `view` does not reach
/// any more. `view` reaches no other nodes than published ones and those in `made`.
pub(crate) struct Edit<E: Entry, const FANOUT: usize> {
    /// The transaction's version.
    pub(crate) view: View<E>,
    pub(crate) pool: Pool<Node<E::Stamp>>,
    /// The transaction's number; never 0.
    id: u64,
    made: *mut Node<E::Stamp>,
    made_len: usize,
    replaced: *mut Node<E::Stamp>,
    /// The last node of that list, which was replaced first.
    replaced_end: *mut Node<E::Stamp>,
    replaced_len: usize,
    /// Entries that this transaction brought: dropped if it is undone.
    pub(crate) inserted: Vec<NonNull<()>>,
    /// Entries that it took out: retired when it is published.
    pub(crate) displaced: Vec<Displaced<E>>,
}

// SAFETY: it owns its nodes and entries, which are Send.
unsafe impl<E: Entry, const FANOUT: usize> Send for Edit<E, FANOUT> {}

#[inline]
fn has_room<T>(list: &Vec<T>, more: usize) -> bool {
    list.capacity() - list.len() >= more
}

/// Returns a larger list for one that has no room for `more`.
fn larger<T>(list: &Vec<T>, more: usize) -> Result<Option<Vec<T>>, AllocError> {
    if has_room(list, more) {
        return Ok(None);
    }
    let wanted = list.len().checked_add(more).ok_or(AllocError)?;
    let mut larger = Vec::new();
    // At least twice as large, so that a growing list is seldom copied.
    larger
        .try_reserve_exact(wanted.max(2 * list.capacity()))
        .map_err(|_| AllocError)?;
    Ok(Some(larger))
}

fn grow<T>(list: &mut Vec<T>, larger: Option<Vec<T>>) {
    if let Some(mut larger) = larger {
        larger.append(list);
        *list = larger;
    }
}

impl<E: Entry, const FANOUT: usize> Edit<E, FANOUT> {
    pub(crate) fn new() -> Result<Self, AllocError> {
        const { assert!(3 <= FANOUT && FANOUT <= MOST, "the fan-out is 3 to 15") };
        Ok(Self {
            // SAFETY: an empty version has no nodes.
            view: unsafe { View::new(Version::EMPTY) },
            pool: Pool::new()?,
            id: 1,
            made: ptr::null_mut(),
            made_len: 0,
            replaced: ptr::null_mut(),
            replaced_end: ptr::null_mut(),
            replaced_len: 0,
            inserted: Vec::new(),
            displaced: Vec::new(),
        })
    }

    /// Takes all memory for an edit that changes up to `nodes` nodes and takes out `entries` with
    /// `nodes_above` nodes above them.
    ///
    /// Where there is not enough, nothing is kept of what was taken.
    pub(crate) fn reserve(
        &mut self,
        update: &mut impl Update,
        nodes: usize,
        entries: usize,
        nodes_above: usize,
    ) -> Result<(), AllocError> {
        let displaced = if E::OWNS { self.displaced.len() } else { 0 };
        let to_retire = [nodes, nodes_above, if E::OWNS { entries } else { 0 }, displaced]
            .into_iter()
            // And one for the tree, when it is dropped.
            .try_fold(self.replaced_len + 1, usize::checked_add)
            .ok_or(AllocError)?;
        // The stored entry, and the upper part of one that it cuts in two; or what is reserved for
        // later edits.
        let inserted = if E::OWNS { entries.max(2) } else { 0 };
        if has_room(&self.displaced, entries) && has_room(&self.inserted, inserted) && !self.pool.is_below(nodes) {
            return update.reserve(to_retire);
        }
        self.take_more(update, nodes, (entries, inserted), to_retire)
    }

    #[cold]
    fn take_more(
        &mut self,
        update: &mut impl Update,
        nodes: usize,
        (displaced, inserted): (usize, usize),
        to_retire: usize,
    ) -> Result<(), AllocError> {
        // What is unavailable is most likely refused here already, where all is asked for at once.
        let more_displaced = larger(&self.displaced, displaced)?;
        let more_inserted = larger(&self.inserted, inserted)?;
        let chunks = self.pool.chunks_for(nodes)?;
        update.reserve(to_retire)?;
        // Up to here all that was taken goes back if there is not enough; from here on nothing
        // fails.
        grow(&mut self.displaced, more_displaced);
        grow(&mut self.inserted, more_inserted);
        chunks.for_each(|chunk| self.pool.add(chunk));
        Ok(())
    }

    /// Takes all memory for an edit of one leaf that puts an entry in.
    pub(crate) fn reserve_to_grow(&mut self, update: &mut impl Update) -> Result<(), AllocError> {
        if self.view.version.height == HEIGHT {
            return Err(AllocError);
        }
        self.reserve(update, self.nodes_for_a_leaf(), MOST, 0)
    }

    /// Takes all memory for `edits` successive edits of one leaf, each of which puts an entry in,
    /// or two if it cuts one.
    pub(crate) fn reserve_for_edits(&mut self, update: &mut impl Update, edits: usize) -> Result<(), AllocError> {
        // The tree may get that much higher by then, and the last edit wants nodes for all of its
        // levels.
        let levels = edits.checked_ilog(Self::FEWEST).unwrap_or(0) as usize;
        let nodes = self.nodes_for_a_leaf().checked_mul(edits).ok_or(AllocError)?;
        // The entries that each brings, and those that the last one may displace.
        let entries = edits.checked_mul(2).ok_or(AllocError)?.saturating_add(MOST);
        self.reserve(update, nodes.saturating_add(5 * levels), entries, 0)
    }

    /// Returns the most nodes that an edit of one leaf takes.
    ///
    /// Its path, a neighbour and a third node on each level, the path to the leaf after it or at
    /// the edge, and one more level.
    pub(crate) fn nodes_for_a_leaf(&self) -> usize {
        5 * self.view.version.height + 2
    }

    /// Returns the most nodes that clearing any range takes, and putting an entry there.
    ///
    /// Two paths, a neighbour and a third node on each level for each cut that reaches it, twice
    /// on every level.
    pub(crate) fn nodes_for_a_range(&self) -> usize {
        let height = self.view.version.height;
        height * height + 9 * height + 4
    }

    /// Returns the number of entries with an index in `first..=last`, and of the nodes on all
    /// paths to them.
    pub(crate) fn weigh(&self, first: u64, last: u64) -> (usize, usize) {
        fn below<S: Stamp>(node: NodeRef<'_, S>, first: u64, last: u64) -> (usize, usize) {
            match node.kind() {
                Kind::Leaf(leaf) => {
                    let from = leaf.position(first);
                    let held = (from..leaf.len()).take_while(|&i| leaf.first(i) <= last);
                    (held.count(), 1)
                }
                Kind::Inner(inner) => {
                    let (mut entries, mut nodes) = (0, 1);
                    for i in inner.position(first)..inner.len() {
                        if i > 0 && inner.last(i - 1) >= last {
                            break;
                        }
                        let (e, n) = below(inner.child(i), first, last);
                        (entries, nodes) = (entries + e, nodes + n);
                    }
                    (entries, nodes)
                }
            }
        }
        self.view.root().map_or((0, 0), |root| below(root, first, last))
    }

    /// Takes a node to fill from the pool, where it was reserved before.
    pub(crate) fn make(&mut self) -> *mut Node<E::Stamp> {
        let Some(node) = self.pool.take() else {
            unreachable!("reserved");
        };
        let node = node.as_ptr();
        // SAFETY: the pool gave it away.
        let this = unsafe { &mut *node };
        this.begin();
        this.set_made_by(self.id);
        // INVARIANT: made, and marked.
        this.set_link(self.made);
        self.made = node;
        self.made_len += 1;
        node
    }

    /// Returns this transaction's own copy of a node.
    #[inline]
    pub(crate) fn own(&mut self, node: *mut Node<E::Stamp>) -> *mut Node<E::Stamp> {
        // SAFETY: the edit's version is there.
        if unsafe { &*node }.made_by() == self.id {
            return node;
        }
        let copy = self.make();
        // SAFETY: both are nodes, and the copy is this transaction's alone.
        unsafe { Node::copy(node, copy) };
        self.replace_published(node);
        copy
    }

    /// Notes that the version does not reach a node any more.
    pub(crate) fn discard(&mut self, node: *mut Node<E::Stamp>) {
        // SAFETY: the node was in the edit's version.
        let this = unsafe { &*node };
        if this.made_by() == self.id {
            this.set_made_by(0);
        } else {
            self.replace_published(node);
        }
    }

    /// Notes that the version does not reach a published node any more.
    #[inline]
    fn replace_published(&mut self, node: *mut Node<E::Stamp>) {
        if self.replaced.is_null() {
            self.replaced_end = node;
        }
        // SAFETY: the node was in the edit's version.
        // INVARIANT: published, and not reached any more.
        unsafe { &*node }.set_link(self.replaced);
        self.replaced = node;
        self.replaced_len += 1;
    }

    /// Returns a node to replace `node`, whose content is not wanted any more.
    pub(crate) fn blank(&mut self, node: *mut Node<E::Stamp>) -> *mut Node<E::Stamp> {
        // SAFETY: the node is in the edit's version.
        if unsafe { &*node }.made_by() == self.id {
            return node;
        }
        self.replace_published(node);
        self.make()
    }

    /// Stamps what is new, and publishes the version. Cannot fail.
    ///
    /// [`retire`](Self::retire) must follow; in between, what was displaced is still there.
    pub(crate) fn publish(&mut self, root: &Root<E>, update: &mut impl Update, before: impl FnOnce(&[Displaced<E>])) {
        // Stamped together, but not more than an era's share at once.
        const TOGETHER: usize = 64;
        if E::OWNS && E::Stamp::IS_ELSEWHERE {
            for entries in self.inserted.chunks(TOGETHER) {
                let birth = update.birth(entries.len() * E::BYTES);
                for &raw in entries {
                    // SAFETY: brought by this transaction, and not published yet.
                    unsafe { E::note_birth(raw, birth) };
                }
            }
        }
        // Nodes in use stay in the list, as `before` may unwind: then they are undone with the
        // transaction.
        let mut node = core::mem::replace(&mut self.made, ptr::null_mut());
        let mut birth = 0;
        for left in (1..=core::mem::take(&mut self.made_len)).rev() {
            if birth == 0 || left % TOGETHER == 0 {
                birth = update.birth(left.min(TOGETHER) * size_of::<Node<E::Stamp>>());
            }
            // SAFETY: made by this transaction, so its own, and no other code has a reference to
            // it.
            let this = unsafe { &mut *node };
            let next = this.link();
            if this.made_by() == 0 {
                // SAFETY: it was never published, and is this pool's.
                unsafe { self.pool.put(node) };
            } else {
                this.set_birth(birth);
                this.set_link(self.made);
                self.made = node;
                self.made_len += 1;
            }
            node = next;
        }
        before(&self.displaced);
        root.publish(self.view.version);
        // From here on nothing of it is this transaction's own, even if something unwinds.
        (self.made, self.made_len) = (ptr::null_mut(), 0);
        self.inserted.clear();
        self.id += 1;
    }

    /// Retires what the published version does not reach any more. Cannot fail.
    pub(crate) fn retire(&mut self, update: &mut impl Update) {
        let mut node = core::mem::replace(&mut self.replaced, ptr::null_mut());
        let len = core::mem::take(&mut self.replaced_len);
        let held_until = if len > 0 { update.held_until() } else { 0 };
        // Most of the time no section is open: then these nodes are the next to be made.
        if len > 0 && held_until == 0 {
            // SAFETY: the list's nodes are this pool's, of these ends and length, and no reader
            // holds them any more.
            unsafe { self.pool.put_list(node, self.replaced_end, len) };
            node = ptr::null_mut();
        }
        while !node.is_null() {
            // SAFETY: a replaced node stays until it is retired, and freed.
            let this = unsafe { &*node };
            let next = this.link();
            // Readers that stand still hold what was there when they began, not what has come
            // since.
            if this.birth() > held_until {
                // SAFETY: this pool's, and no reader holds it any more.
                unsafe { self.pool.put(node) };
            } else {
                // SAFETY: by the type's invariant the version that has just been published does not
                // reach it.
                unsafe { retire_node(update, node) };
            }
            node = next;
        }
        for Displaced { raw, stamp, .. } in self.displaced.drain(..) {
            // SAFETY: as for nodes.
            unsafe { retire_entry::<E>(update, raw, stamp) };
        }
    }

    /// Returns the present point of the transaction.
    pub(crate) fn mark(&self) -> Mark<E> {
        (self.made, self.inserted.len())
    }

    /// Undoes what was made and inserted after `mark`, none of which the version reaches.
    pub(crate) fn undo_to(&mut self, (made, inserted): Mark<E>) {
        while self.made != made {
            let node = self.made;
            // SAFETY: made by this transaction.
            self.made = unsafe { &*node }.link();
            self.made_len -= 1;
            // SAFETY: it was never published, and is this pool's.
            unsafe { self.pool.put(node) };
        }
        for raw in self.inserted.drain(inserted..) {
            // SAFETY: brought by this transaction, and never published.
            drop(unsafe { E::from_raw(raw) });
        }
    }

    /// Undoes all edits.
    pub(crate) fn undo(&mut self, root: &Root<E>) {
        self.replaced = ptr::null_mut();
        self.replaced_len = 0;
        self.view.version = root.current();
        self.displaced.clear();
        self.undo_to((ptr::null_mut(), 0));
        self.id += 1;
    }

    /// Returns whether there is anything to publish.
    pub(crate) fn is_changed(&self, root: &Root<E>) -> bool {
        !self.made.is_null() || self.view.version.node != root.current().node
    }
}
