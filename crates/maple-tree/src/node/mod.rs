//! The node: up to fifteen slots in ascending order, in whole cache lines.
//!
//! Leaves and inner nodes have one form. In a leaf a slot is an entry: its last index, its first
//! index, the entry. In an inner node a slot is a child: the last index that it answers for, the
//! largest gap below it, the child. The distance from the root tells which kind a node is:
//! [`NodeRef::kind`].
//!
//! # Invariants of a tree
//! - Slots ascend and do not overlap; a leaf holds no empty slots for gaps.
//! - An inner node's slot answers for the indexes above the slot before it, up to its own last
//!   index, both for the largest gap and for lookups. That last index is the last one of the last
//!   entry below ("tight"), except for the slots at the right edge of the tree, where it is
//!   `u64::MAX`. So a gap between two entries lies whole in the leaf of the second one, and the gap
//!   after all entries in the last leaf.
//! - Every node but the root and those at the right edge has at least [`fewest`] slots; the root,
//!   if it is an inner node, has two.
//!
//! # What is shared
//! A published node is never written again, except `link` and `made_by`, which readers do not look
//! at. A node that is not published yet is its writer's alone.

mod inner;
mod leaf;
mod version;

pub(crate) use inner::Inner;
pub(crate) use leaf::Leaf;
pub(crate) use version::{Kind, NodeRef, Version};

use core::ptr;
// Not from `primitive`: they order nothing, and are valid if zeroed.
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use vmaple_rcu::pool::Pooled;

use crate::primitive::Watch;
pub(crate) use crate::search::MOST;
use crate::search::{Portable, Search};
use crate::stamp::Stamp;

/// The greatest height: with the fewest slots everywhere such a tree would have 2^24 nodes, with
/// the usual ones 5^24.
pub(crate) const HEIGHT: usize = 24;

/// Returns the fewest slots of a node that is neither the root nor at the right edge.
pub(crate) const fn fewest(fanout: usize) -> usize {
    if fanout / 3 > 2 { fanout / 3 } else { 2 }
}

/// A slot without its last index.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// Leaf: the entry's first index. Inner: the largest gap below, in indexes.
    pub(crate) word: u64,
    /// Leaf: the entry. Inner: the child, a `Node`.
    pub(crate) ptr: *mut (),
}

/// A slot with all that belongs to it, on its way between nodes.
#[derive(Clone, Copy)]
pub(crate) struct Item<S> {
    pub(crate) last: u64,
    pub(crate) slot: Slot,
    pub(crate) stamp: S,
}

impl<S: Stamp> Item<S> {
    #[inline]
    pub(crate) const fn of(last: u64, word: u64, ptr: *mut (), stamp: S) -> Self {
        let slot = Slot { word, ptr };
        Self { last, slot, stamp }
    }

    #[inline]
    pub(crate) const fn blank(stamp: S) -> Self {
        Self::of(u64::MAX, 0, ptr::null_mut(), stamp)
    }
}

/// Prefetches a cache line.
#[inline(always)]
fn prefetch(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// A node.
///
/// # Invariants
/// At most [`MOST`] slots; beyond them the last indexes are `u64::MAX`, so that a search needs no
/// count.
#[repr(C, align(128))]
pub(crate) struct Node<S> {
    /// The last indexes, ascending, and in the sixteenth word the birth era (56 bits) and the
    /// number of slots.
    pub(crate) keys: [u64; MOST + 1],
    slots: [Slot; MOST],
    stamps: [S; MOST],
    /// The next node of the list that this one is in: free ones, those a transaction has made or
    /// replaced. Writers only.
    link: AtomicPtr<Node<S>>,
    /// The transaction that made it. Writers only.
    made_by: AtomicU64,
    watch: Watch,
}

impl<S> Node<S> {
    /// Prefetches the lines after the keys, one of which is read after the keys are searched: the
    /// two waits become one.
    #[inline(always)]
    pub(crate) fn prefetch(node: *const Self) {
        Self::prefetch_lines::<2>(node);
        #[cfg(loom)]
        // SAFETY: it is read now.
        unsafe { &*node }.watch.read();
    }

    /// Prefetches all of a node.
    #[inline(always)]
    pub(crate) fn prefetch_whole(node: *const Self) {
        Self::prefetch_lines::<0>(node);
    }

    #[inline(always)]
    fn prefetch_lines<const FROM: usize>(node: *const Self) {
        for line in FROM..6 {
            prefetch(node.cast::<u8>().wrapping_add(64 * line));
        }
    }

    /// Returns the child in slot `i` of an inner node.
    ///
    /// # Safety
    /// The node is there, and has such a slot.
    #[inline(always)]
    pub(crate) unsafe fn child_of(node: *const Self, i: usize) -> *const Self {
        // SAFETY: by this function's contract.
        let node = unsafe { &*node };
        // SAFETY: as above.
        unsafe { node.slots.get_unchecked(i) }.ptr.cast()
    }
}

impl<S: Stamp> Node<S> {
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        (self.keys[MOST] & 0xff) as usize
    }

    pub(crate) fn birth(&self) -> u64 {
        self.keys[MOST] >> 8
    }

    /// Begins the use of a node from the pool, before anything is written to it.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.watch.begin();
        self.watch.write();
    }

    pub(crate) fn set_birth(&mut self, birth: u64) {
        self.watch.write();
        self.keys[MOST] = birth << 8 | self.keys[MOST] & 0xff;
    }

    fn set_len(&mut self, len: usize) {
        self.keys[MOST] = self.keys[MOST] & !0xff | len as u64;
    }

    /// Returns the last index of the `i`th slot.
    pub(crate) fn last(&self, i: usize) -> u64 {
        debug_assert!(i < self.len());
        self.keys[i]
    }

    pub(crate) fn set_last(&mut self, i: usize, last: u64) {
        debug_assert!(i < self.len());
        self.keys[i] = last;
    }

    /// Returns the last index of the last slot.
    pub(crate) fn end(&self) -> u64 {
        self.last(self.len() - 1)
    }

    /// Returns the first slot whose last index is `index` or above; the number of slots if there
    /// is none.
    #[inline]
    pub(crate) fn position(&self, index: u64) -> usize {
        // SAFETY: this search needs nothing.
        unsafe { Portable::position(&self.keys, index) }
    }

    /// Returns the pointer in the `i`th slot: an entry in a leaf, a child in an inner node.
    #[inline]
    pub(crate) fn pointer(&self, i: usize) -> *mut () {
        self.slots[i].ptr
    }

    /// Returns the child in the `i`th slot of an inner node.
    #[inline]
    pub(crate) fn child_pointer(&self, i: usize) -> *mut Node<S> {
        self.pointer(i).cast()
    }

    pub(crate) fn set_child(&mut self, i: usize, child: *mut Node<S>) {
        self.slots[i].ptr = child.cast();
    }

    pub(crate) fn set_word(&mut self, i: usize, word: u64) {
        self.slots[i].word = word;
    }

    pub(crate) fn item(&self, i: usize) -> Item<S> {
        Item {
            last: self.last(i),
            slot: self.slots[i],
            stamp: self.stamps[i],
        }
    }

    fn put(&mut self, i: usize, item: &Item<S>) {
        self.keys[i] = item.last;
        self.slots[i] = item.slot;
        self.stamps[i] = item.stamp;
    }

    /// Copies the slots and the count; the writers' fields stay the copy's own.
    ///
    /// # Safety
    /// Both are nodes. No thread writes `from`, and no other code uses `to`.
    pub(crate) unsafe fn copy(from: *const Self, to: *mut Self) {
        const { assert!(core::mem::offset_of!(Self, keys) == 0) };
        // SAFETY: the same contract; the fields before `link` are plain data.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), core::mem::offset_of!(Self, link)) };
    }

    /// Replaces the slots `from..to` by `items`, which must fit.
    pub(crate) fn splice(&mut self, from: usize, to: usize, items: &[Item<S>]) {
        self.watch.write();
        let len = self.len();
        let end = from + items.len();
        self.keys.copy_within(to..len, end);
        self.slots.copy_within(to..len, end);
        self.stamps.copy_within(to..len, end);
        for (i, item) in items.iter().enumerate() {
            self.put(from + i, item);
        }
        let now = len - (to - from) + items.len();
        // INVARIANT: padded where slots were and are none now.
        self.keys[now..len.max(now)].fill(u64::MAX);
        self.set_len(now);
    }

    /// Fills the node with `items` and nothing else.
    pub(crate) fn fill(&mut self, items: &[Item<S>]) {
        for (i, item) in items.iter().enumerate() {
            self.put(i, item);
        }
        // INVARIANT: padded.
        self.keys[items.len()..MOST].fill(u64::MAX);
        self.set_len(items.len());
    }

    pub(crate) fn made_by(&self) -> u64 {
        // Relaxed as in `link`.
        self.made_by.load(Ordering::Relaxed)
    }

    pub(crate) fn set_made_by(&self, transaction: u64) {
        // Relaxed as in `link`.
        self.made_by.store(transaction, Ordering::Relaxed);
    }
}

// SAFETY: zeros are a node without slots, and so is any content that a node had. Only these
// functions write the link.
unsafe impl<S: Stamp> Pooled for Node<S> {
    fn link(&self) -> *mut Self {
        // Relaxed: writers only, ordered by their lock, or by the exchange that hands a list over.
        self.link.load(Ordering::Relaxed)
    }

    fn set_link(&self, next: *mut Self) {
        // Relaxed as in `link`.
        self.link.store(next, Ordering::Relaxed);
    }
}
