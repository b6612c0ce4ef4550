//! A path: the way from a version's root to one slot of a leaf, and steps from there to its neighbours.

use core::ptr;

use crate::node::{HEIGHT, Node, Stamp};
use crate::root::Version;

/// A slot of a leaf, and the way there.
///
/// # Invariants
/// `nodes[..height]` are the nodes of one version from the root to a leaf, each the child in the slot before it; they stay
/// while the path is used.
#[derive(Clone)]
pub(crate) struct Path<S> {
    nodes: [*const Node<S>; HEIGHT],
    slots: [u8; HEIGHT],
    height: usize,
}

impl<S: Stamp> Path<S> {
    /// The way to the first slot of the leaf that answers for `index` which ends at `index` or above; behind the last slot of
    /// the tree's last leaf if there is none.
    ///
    /// # Safety
    /// The version is not empty; its nodes stay while the path is used.
    pub(crate) unsafe fn to(version: Version<S>, index: u64) -> Self {
        let mut path = Self {
            nodes: [ptr::null(); HEIGHT],
            slots: [0; HEIGHT],
            height: version.height,
        };
        let mut node = version.node.cast_const();
        for level in 0..version.height {
            // SAFETY: by this function's contract.
            let this = unsafe { &*node };
            let position = this.position(index);
            // INVARIANT: `node` is the root, or the child in the slot before.
            path.nodes[level] = node;
            path.slots[level] = position as u8;
            if level + 1 < version.height {
                node = this.child(position);
            }
        }
        path
    }

    fn node(&self, level: usize) -> &Node<S> {
        // SAFETY: by the type's invariant.
        unsafe { &*self.nodes[level] }
    }

    #[inline]
    pub(crate) fn leaf(&self) -> *const Node<S> {
        self.nodes[self.height - 1]
    }

    #[inline]
    pub(crate) fn position(&self) -> usize {
        usize::from(self.slots[self.height - 1])
    }

    /// Goes on to the first slot of the next leaf; says whether there is one.
    pub(crate) fn next_leaf(&mut self) -> bool {
        let up = (0..self.height - 1).rev();
        let Some(level) = up
            .into_iter()
            .find(|&level| usize::from(self.slots[level]) + 1 < self.node(level).len())
        else {
            return false;
        };
        self.slots[level] += 1;
        self.descend(level, |_| 0);
        true
    }

    /// Goes back behind the last slot of the leaf before; says whether there is one.
    pub(crate) fn prev_leaf(&mut self) -> bool {
        let Some(level) = (0..self.height - 1).rev().find(|&level| self.slots[level] > 0) else {
            return false;
        };
        self.slots[level] -= 1;
        self.descend(level, |node| node.len() as u8 - 1);
        self.slots[self.height - 1] += 1;
        true
    }

    fn descend(&mut self, from: usize, slot: impl Fn(&Node<S>) -> u8) {
        for level in from + 1..self.height {
            let child = self.node(level - 1).child(usize::from(self.slots[level - 1]));
            // INVARIANT: the child in the slot before.
            self.nodes[level] = child;
            self.slots[level] = slot(self.node(level));
        }
    }
}
