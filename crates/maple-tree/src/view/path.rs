//! A path: the way from a version's root to one slot of a leaf, and steps from there to its
//! neighbours.

use core::mem::MaybeUninit;

use crate::node::{HEIGHT, Inner, Leaf, Node, Version};
use crate::search::{Search, search};
use crate::stamp::Stamp;

/// One node of a path.
pub(crate) struct Level<S> {
    pub(crate) node: *mut Node<S>,
    /// The slot that the path goes through.
    pub(crate) slot: usize,
    /// The first index that the node answers for.
    pub(crate) lower: u64,
}

impl<S> Clone for Level<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Level<S> {}

/// A slot of a leaf, and the way there.
///
/// # Invariants
/// The first `height` levels are set: the nodes of one version from the root to a leaf, each the
/// child in the slot before it. They stay while the path is used.
pub(crate) struct Path<S> {
    levels: [MaybeUninit<Level<S>>; HEIGHT],
    pub(crate) height: usize,
}

impl<S> Clone for Path<S> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

#[inline(always)]
fn seek_by<K: Search, S: Stamp>(path: &mut Path<S>, version: Version<S>, index: u64) {
    path.set(version, |node| {
        Node::prefetch(node);
        // SAFETY: the processor has what `search!` chose.
        unsafe { K::position(&node.keys, index) }
    });
}

impl<S: Stamp> Path<S> {
    /// Returns a path to nowhere, to be set.
    #[inline]
    pub(crate) fn unset() -> Self {
        Self {
            levels: [const { MaybeUninit::uninit() }; HEIGHT],
            height: 0,
        }
    }

    /// Goes to the first slot of the leaf that answers for `index` which ends at `index` or above.
    ///
    /// If there is none, goes to after the last slot of the tree's last leaf.
    ///
    /// # Safety
    /// The version is not empty; its nodes stay while the path is used.
    #[inline]
    pub(crate) unsafe fn seek(&mut self, version: Version<S>, index: u64) {
        search!(seek_by::<S>(self, version, index));
    }

    /// Seeks as [`seek`](Self::seek), and replaces each node by `own` of it, which has the same
    /// slots.
    ///
    /// This is the path of a writer that copies the nodes on its way, while it waits for the next
    /// one.
    ///
    /// # Safety
    /// As for [`seek`](Self::seek); `own` returns a node that is the caller's alone.
    #[inline]
    pub(crate) unsafe fn seek_own(
        &mut self,
        version: &mut Version<S>,
        index: u64,
        mut own: impl FnMut(*mut Node<S>) -> *mut Node<S>,
    ) {
        let (mut node, mut lower) = (version.node, 0);
        self.height = version.height;
        for level in 0..self.height {
            Node::prefetch(node);
            // SAFETY: by this function's contract.
            let this = unsafe { &*node };
            let slot = this.position(index);
            let copy = own(node);
            if let Some(above) = level.checked_sub(1) {
                let Level { node, slot, .. } = *self.at(above);
                // SAFETY: the copy above is the caller's alone.
                unsafe { &mut *node }.set_child(slot, copy);
            } else {
                version.node = copy;
            }
            // INVARIANT: the copy is the child in the slot of the one above.
            self.levels[level].write(Level {
                node: copy,
                slot,
                lower,
            });
            if level + 1 < self.height {
                lower = if slot > 0 { this.last(slot - 1) + 1 } else { lower };
                node = this.child_pointer(slot);
            }
        }
    }

    /// Goes to the last slot of the last leaf.
    ///
    /// # Safety
    /// As for [`seek`](Self::seek).
    pub(crate) unsafe fn seek_last(&mut self, version: Version<S>) {
        self.set(version, |node| node.len() - 1);
    }

    #[inline(always)]
    fn set(&mut self, version: Version<S>, slot: impl Fn(&Node<S>) -> usize) {
        self.levels[0].write(Level {
            node: version.node,
            slot: 0,
            lower: 0,
        });
        // INVARIANT: the levels below are set by `descend`; the callers promise the nodes.
        self.height = version.height;
        self.descend(0, slot);
    }

    /// Sets the slot of `from`, and the levels below.
    #[inline(always)]
    fn descend(&mut self, from: usize, slot: impl Fn(&Node<S>) -> usize) {
        for level in from..self.height {
            // SAFETY: set before the loop, or by the round before.
            let this = unsafe { self.levels[level].assume_init_mut() };
            // SAFETY: by the type's invariant.
            let node = unsafe { &*this.node };
            this.slot = slot(node);
            if level + 1 < self.height {
                self.step_down(level);
            }
        }
    }

    /// Sets the level below `level` to the child in its slot.
    #[inline(always)]
    fn step_down(&mut self, level: usize) {
        let Level { slot, lower, .. } = *self.at(level);
        let node = self.node(level);
        let below = Level {
            node: node.child_pointer(slot),
            slot: 0,
            lower: if slot > 0 { node.last(slot - 1) + 1 } else { lower },
        };
        // INVARIANT: the child in the slot.
        self.levels[level + 1].write(below);
    }

    #[inline]
    pub(crate) fn at(&self, level: usize) -> &Level<S> {
        debug_assert!(level < self.height);
        // SAFETY: by the type's invariant.
        unsafe { self.levels[level].assume_init_ref() }
    }

    /// Replaces a node by another one with the same slots.
    pub(crate) fn set_node(&mut self, level: usize, node: *mut Node<S>) {
        debug_assert!(level < self.height);
        // SAFETY: by the type's invariant.
        unsafe { self.levels[level].assume_init_mut() }.node = node;
    }

    #[inline]
    pub(crate) fn node<'a>(&self, level: usize) -> &'a Node<S> {
        // SAFETY: by the type's invariant.
        unsafe { &*self.at(level).node }
    }

    /// Returns the leaf.
    #[inline]
    pub(crate) fn leaf<'a>(&self) -> Leaf<'a, S> {
        // SAFETY: by the type's invariant; the last level is the leaf's.
        unsafe { Leaf::new(self.at(self.bottom()).node) }
    }

    /// Returns the node on `level`, which is above the leaf's.
    #[inline]
    pub(crate) fn inner<'a>(&self, level: usize) -> Inner<'a, S> {
        debug_assert!(level < self.bottom());
        // SAFETY: by the type's invariant; all levels but the last are of inner nodes.
        unsafe { Inner::new(self.at(level).node, self.bottom() - level) }
    }

    /// Returns the level of the leaf.
    #[inline]
    pub(crate) fn bottom(&self) -> usize {
        self.height - 1
    }

    /// Returns the last index that the node on `level` answers for: `u64::MAX` at the right edge,
    /// or if an entry holds it.
    #[inline]
    pub(crate) fn upper(&self, level: usize) -> u64 {
        if level == 0 {
            u64::MAX
        } else {
            self.node(level - 1).last(self.at(level - 1).slot)
        }
    }

    /// Goes to the first slot of the next leaf; returns whether there is one.
    pub(crate) fn next_leaf(&mut self) -> bool {
        let has_next = |&level: &usize| self.at(level).slot + 1 < self.node(level).len();
        let Some(level) = (0..self.bottom()).rev().find(has_next) else {
            return false;
        };
        let slot = self.at(level).slot + 1;
        self.go_from(level, slot, |_| 0);
        self.prefetch_ahead();
        true
    }

    /// How many leaves ahead a continuing reader prefetches: by then they are there.
    const AHEAD: usize = 4;

    fn prefetch_ahead(&self) {
        let above = self.bottom() - 1; // there was a next leaf
        let (node, slot) = (self.node(above), self.at(above).slot);
        let from = if slot == 0 { 1 } else { slot + Self::AHEAD };
        for i in from..node.len().min(slot + Self::AHEAD + 1) {
            Node::prefetch_whole(node.child_pointer(i));
        }
    }

    /// Returns the leaf, and those after it below the same node.
    #[inline]
    pub(crate) fn leaves<'a>(&self) -> impl Iterator<Item = Leaf<'a, S>> + use<'a, S> {
        let leaf = self.leaf();
        let above = self.bottom().checked_sub(1);
        let (node, slot) = above.map_or((self.node(0), usize::MAX), |above| {
            (self.node(above), self.at(above).slot)
        });
        let after = slot.saturating_add(1)..above.map_or(0, |_| node.len());
        let len = after.end;
        core::iter::once(&raw const *leaf).chain(after.map(move |i| {
            if i + Self::AHEAD < len {
                Node::prefetch_whole(node.child_pointer(i + Self::AHEAD));
            }
            node.child_pointer(i).cast_const()
        }))
        // SAFETY: by the type's invariant; what is below the node above a leaf are leaves.
        .map(|leaf| unsafe { Leaf::new(leaf) })
    }

    /// Goes to the last of [`leaves`](Self::leaves), without a slot.
    pub(crate) fn skip_leaves(&mut self) {
        if let Some(above) = self.bottom().checked_sub(1) {
            let last = self.node(above).len() - 1;
            // SAFETY: by the type's invariant.
            unsafe { self.levels[above].assume_init_mut() }.slot = last;
            self.step_down(above);
        }
    }

    /// Goes to after the last slot of the leaf before; returns whether there is one.
    pub(crate) fn prev_leaf(&mut self) -> bool {
        let Some(level) = (0..self.bottom()).rev().find(|&level| self.at(level).slot > 0) else {
            return false;
        };
        let slot = self.at(level).slot - 1;
        self.go_from(level, slot, |node| node.len() - 1);
        let bottom = self.bottom();
        // SAFETY: by the type's invariant.
        unsafe { self.levels[bottom].assume_init_mut() }.slot += 1;
        true
    }

    fn go_from(&mut self, level: usize, slot: usize, below: impl Fn(&Node<S>) -> usize) {
        // SAFETY: by the type's invariant.
        unsafe { self.levels[level].assume_init_mut() }.slot = slot;
        self.step_down(level);
        self.descend(level + 1, below);
    }
}
