//! A leaf: a slot is an entry with its first index.

use core::ops::Deref;

use crate::node::{MOST, Node, Slot, prefetch};
use crate::stamp::Stamp;

/// A leaf.
///
/// # Invariants
/// The node is a leaf. It stays for `'v`, as the entries in it do.
pub(crate) struct Leaf<'v, S> {
    pub(super) node: &'v Node<S>,
}

impl<S> Clone for Leaf<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Leaf<'_, S> {}

impl<S> Deref for Leaf<'_, S> {
    type Target = Node<S>;

    #[inline(always)]
    fn deref(&self) -> &Node<S> {
        self.node
    }
}

impl<'v, S: Stamp> Leaf<'v, S> {
    /// Types a node as a leaf.
    ///
    /// # Safety
    /// The node is a leaf. It stays for `'v`, as the entries in it do.
    #[inline(always)]
    pub(crate) unsafe fn new(node: *const Node<S>) -> Self {
        // INVARIANT: by this function's contract.
        Self {
            // SAFETY: by this function's contract.
            node: unsafe { &*node },
        }
    }

    /// Returns the first index of the `i`th entry.
    #[inline]
    pub(crate) fn first(&self, i: usize) -> u64 {
        self.slots[i].word
    }

    /// Returns the `i`th entry and its first index; not null, if there is such an entry.
    #[inline]
    pub(crate) fn entry(&self, i: usize) -> (u64, *mut ()) {
        let Slot { word, ptr } = self.slots[i];
        (word, ptr)
    }

    /// Returns the largest of the gaps before the slots `from..=to`, for a leaf that answers for
    /// `lower..=upper`.
    ///
    /// The gap after the last slot is among them if `to` is the number of slots and the leaf
    /// answers for `u64::MAX`.
    #[inline]
    pub(crate) fn gaps(&self, from: usize, to: usize, lower: u64, upper: u64) -> u64 {
        let len = self.len();
        let mut largest = 0;
        let mut next = if from > 0 {
            self.keys[from - 1].wrapping_add(1)
        } else {
            lower
        };
        let range = from..len.min(to + 1);
        for (slot, last) in self.slots[range.clone()].iter().zip(&self.keys[range]) {
            largest = largest.max(slot.word.wrapping_sub(next));
            next = last.wrapping_add(1);
        }
        if to == len && upper == u64::MAX && len > 0 {
            largest = largest.max(u64::MAX - self.end());
        }
        largest
    }

    /// Returns the largest gap of a leaf that answers for `lower..=upper`.
    pub(crate) fn largest_gap(&self, lower: u64, upper: u64) -> u64 {
        self.gaps(0, self.len(), lower, upper)
    }

    /// Returns which gaps hold `size` indexes, for a leaf that answers for `lower..=upper`: bit
    /// `i` for the one before slot `i`.
    ///
    /// Without branches: the place of a wanted gap cannot be predicted.
    #[inline]
    pub(crate) fn large_gaps(&self, lower: u64, upper: u64, size: u64) -> u32 {
        let (mut large, mut next) = (0, lower);
        for i in 0..MOST {
            // Means nothing beyond the last slot, where it is masked.
            large |= u32::from(self.first(i).wrapping_sub(next) >= size) << i;
            next = self.keys[i].wrapping_add(1);
        }
        let len = self.len();
        let tail = upper.checked_sub(self.end()).is_some_and(|tail| tail >= size);
        large & ((1 << len) - 1) | u32::from(tail) << len
    }

    /// Prefetches the first lines of what the entries point to, `bytes` bytes each.
    pub(crate) fn prefetch_entries(&self, bytes: usize) {
        for slot in &self.slots[..self.len()] {
            prefetch(slot.ptr.cast());
            if bytes > 64 {
                prefetch(slot.ptr.cast::<u8>().wrapping_add(64));
            }
        }
    }
}
