//! An inner node: a slot is a child with the largest gap below it.

use core::ops::Deref;

use crate::node::{MOST, Node, NodeRef, Slot, Version};
use crate::stamp::Stamp;

/// An inner node.
///
/// # Invariants
/// The node is an inner one, with `below` levels of nodes below it. It stays for `'v`, as all that
/// is below it does.
pub(crate) struct Inner<'v, S> {
    pub(super) node: &'v Node<S>,
    pub(super) below: usize,
}

impl<S> Clone for Inner<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Inner<'_, S> {}

impl<S> Deref for Inner<'_, S> {
    type Target = Node<S>;

    #[inline(always)]
    fn deref(&self) -> &Node<S> {
        self.node
    }
}

impl<'v, S: Stamp> Inner<'v, S> {
    /// Types a node as an inner one.
    ///
    /// # Safety
    /// The node is an inner one, with `below` levels of nodes below it. It stays for `'v`, as all
    /// that is below it does.
    #[inline(always)]
    pub(crate) unsafe fn new(node: *const Node<S>, below: usize) -> Self {
        // INVARIANT: by this function's contract.
        Self {
            // SAFETY: by this function's contract.
            node: unsafe { &*node },
            below,
        }
    }

    /// Returns the `i`th child, which there must be.
    #[inline]
    pub(crate) fn child(&self, i: usize) -> NodeRef<'v, S> {
        debug_assert!(i < self.len());
        // SAFETY: by the type's invariants the child stays, and has `below` levels.
        unsafe { self.version(i).typed() }
    }

    /// Returns the `i`th child, raw.
    #[inline]
    pub(crate) fn version(&self, i: usize) -> Version<S> {
        Version {
            node: self.child_pointer(i),
            height: self.below,
        }
    }

    /// Returns the largest gap below the `i`th slot.
    #[inline]
    pub(crate) fn gap(&self, i: usize) -> u64 {
        self.slots[i].word
    }

    /// Returns the largest gap below the node.
    pub(crate) fn largest_gap(&self) -> u64 {
        // Two at a time: each comparison waits for the one before.
        let slots = &self.slots[..self.len()];
        let pairs = slots.chunks_exact(2);
        let odd = pairs.remainder().first().map_or(0, |slot| slot.word);
        let larger = |(a, b): (u64, u64), pair: &[Slot]| (pair[0].word.max(a), pair[1].word.max(b));
        let (a, b) = pairs.fold((odd, 0), larger);
        a.max(b)
    }

    /// Returns which slots have a gap of `size` indexes below: bit `i` for slot `i`.
    #[inline]
    pub(crate) fn large_gaps(&self, size: u64) -> u32 {
        let large = (0..MOST).fold(0, |large, i| large | u32::from(self.gap(i) >= size) << i);
        large & ((1 << self.len()) - 1)
    }
}
