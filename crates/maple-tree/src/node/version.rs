//! A version of the tree: its root node and height, raw; and a node of one that stays, typed.

use core::ops::Deref;

use crate::node::{HEIGHT, Inner, Leaf, Node};
use crate::stamp::Stamp;

/// A version of the tree, or of what is below one of its nodes: a node and its height.
pub(crate) struct Version<S> {
    /// Null if and only if the height is zero.
    pub(crate) node: *mut Node<S>,
    /// Levels of nodes, the leaves' included.
    pub(crate) height: usize,
}

impl<S> Clone for Version<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Version<S> {}

impl<S> Version<S> {
    pub(crate) const EMPTY: Self = Self {
        node: core::ptr::null_mut(),
        height: 0,
    };

    /// Packs the version into one word: the node's address with the height in its lowest bits.
    pub(crate) fn to_word(self) -> *mut () {
        const { assert!(HEIGHT < align_of::<Node<S>>()) };
        self.node.cast::<()>().map_addr(|address| address | self.height)
    }

    /// Unpacks what [`to_word`](Self::to_word) packed.
    pub(crate) fn from_word(word: *mut ()) -> Self {
        let mask = align_of::<Node<S>>() - 1;
        Self {
            node: word.map_addr(|address| address & !mask).cast(),
            height: word.addr() & mask,
        }
    }

    /// Borrows the node, with all below it.
    ///
    /// # Safety
    /// The version is not empty. For `'v` its nodes stay, and no thread writes those that are
    /// looked at.
    #[inline(always)]
    pub(crate) unsafe fn typed<'v>(self) -> NodeRef<'v, S> {
        NodeRef {
            // SAFETY: by this function's contract.
            node: unsafe { &*self.node },
            height: self.height,
        }
    }
}

/// A node that is a leaf or an inner one, as its height tells ([`kind`](Self::kind)): two words,
/// to be passed on.
///
/// # Invariants
/// The node stays for `'v`, as all that is below it does. It has `height` levels, its own
/// included.
pub(crate) struct NodeRef<'v, S> {
    node: &'v Node<S>,
    height: usize,
}

impl<S> Clone for NodeRef<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for NodeRef<'_, S> {}

/// A node, typed.
pub(crate) enum Kind<'v, S> {
    Leaf(Leaf<'v, S>),
    Inner(Inner<'v, S>),
}

impl<'v, S> NodeRef<'v, S> {
    #[inline(always)]
    pub(crate) fn is_leaf(self) -> bool {
        self.height == 1
    }

    /// Returns the node, typed.
    #[inline(always)]
    pub(crate) fn kind(self) -> Kind<'v, S> {
        // INVARIANT: leaves are on the lowest level; what is below an inner node stays as it does.
        if self.is_leaf() {
            Kind::Leaf(Leaf { node: self.node })
        } else {
            Kind::Inner(Inner {
                node: self.node,
                below: self.height - 1,
            })
        }
    }
}

impl<S> Deref for NodeRef<'_, S> {
    type Target = Node<S>;

    #[inline(always)]
    fn deref(&self) -> &Node<S> {
        self.node
    }
}

impl<S: Stamp> NodeRef<'_, S> {
    /// Returns the largest gap of a node that answers for `lower..=upper`.
    pub(crate) fn largest_gap(self, lower: u64, upper: u64) -> u64 {
        match self.kind() {
            Kind::Leaf(leaf) => leaf.largest_gap(lower, upper),
            Kind::Inner(inner) => inner.largest_gap(),
        }
    }
}
