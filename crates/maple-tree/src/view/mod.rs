//! A view: one version of the tree, as readers see it.
//!
//! All its methods only read, and none of their loops depends on what writers do: a walk takes as
//! many steps as the version is high.

mod cursor;
mod dump;
mod gap;
mod iter;
pub(crate) mod path;
mod validate;

pub use cursor::Cursor;
pub use dump::{Dump, DumpDot};
pub use iter::Iter;
pub use validate::{Census, Invalid};

use core::marker::PhantomData;
use core::ops::RangeInclusive;
use core::ptr::NonNull;

use crate::entry::Entry;
use crate::node::{Leaf, Node, NodeRef, Version};
use crate::search::{Search, search};
use crate::stamp::Stamp;
use crate::view::path::Path;

/// A range and the entry that holds it.
pub type RangeEntry<'v, E> = (RangeInclusive<u64>, <E as Entry>::Borrowed<'v>);

/// One version of a tree, for as long as its keeper is borrowed.
///
/// The keeper is a [`ReadGuard`](crate::ReadGuard), a [`Snapshot`](crate::Snapshot), or a
/// [`Write`](crate::Write) with its own changes in it.
///
/// A view is exactly one state that the tree was in, between two transactions, all the time that
/// it is borrowed. It shows no part of a transaction without the rest, and no later one.
///
/// # Invariants
/// All nodes and entries that the version reaches stay while the view does.
pub struct View<E: Entry> {
    pub(crate) version: Version<E::Stamp>,
    lends: PhantomData<E>,
}

// SAFETY: a view only reads nodes, which no thread writes, and lends what entries lend, which is
// Send and Sync.
unsafe impl<E: Entry> Send for View<E> {}
// SAFETY: as for Send.
unsafe impl<E: Entry> Sync for View<E> {}

/// Follows the path to the leaf that answers for `index`, and there to the first entry that ends
/// at `index` or above.
///
/// # Safety
/// The version is not empty, and its nodes stay for `'v`. The processor has what `K` needs.
#[inline(always)]
unsafe fn walk<'v, K: Search, S: Stamp>(version: Version<S>, index: u64) -> (Leaf<'v, S>, usize) {
    let mut node = version.node.cast_const();
    for _ in 1..version.height {
        // SAFETY: by this function's contract.
        let position = unsafe { search_in::<K, S>(node, index) };
        // SAFETY: an inner node's last key is at least as large as any index that it answers for,
        // so the position is one of its slots.
        node = unsafe { Node::child_of(node, position) };
    }
    // SAFETY: by this function's contract.
    let position = unsafe { search_in::<K, S>(node, index) };
    // SAFETY: by this function's contract; the lowest level's nodes are leaves.
    (unsafe { Leaf::new(node) }, position)
}

/// # Safety
/// The node is there, and the processor has what `K` needs.
#[inline(always)]
unsafe fn search_in<K: Search, S>(node: *const Node<S>, index: u64) -> usize {
    Node::prefetch(node);
    // SAFETY: by this function's contract.
    let node = unsafe { &*node };
    // SAFETY: as above.
    unsafe { K::position(&node.keys, index) }
}

#[inline(always)]
fn load<K: Search, E: Entry>(version: Version<E::Stamp>, index: u64) -> Option<NonNull<()>> {
    // SAFETY: `View::load` has checked that the version is not empty; a view keeps its nodes.
    let (leaf, position) = unsafe { walk::<K, _>(version, index) };
    if position >= leaf.len() {
        return None;
    }
    let (first, entry) = leaf.entry(position);
    NonNull::new(entry).filter(|_| first <= index)
}

#[inline(always)]
fn leaf<'v, K: Search, E: Entry>(version: Version<E::Stamp>, index: u64) -> (Leaf<'v, E::Stamp>, usize) {
    // SAFETY: as in `load`.
    unsafe { walk::<K, _>(version, index) }
}

impl<E: Entry> View<E> {
    /// # Safety
    /// The version's nodes and entries stay while the view does.
    pub(crate) unsafe fn new(version: Version<E::Stamp>) -> Self {
        Self {
            version,
            lends: PhantomData,
        }
    }

    /// Returns the root node; `None` if there are no entries.
    #[inline]
    pub(crate) fn root(&self) -> Option<NodeRef<'_, E::Stamp>> {
        // SAFETY: not empty; by the type's invariant its nodes stay while `self` is borrowed.
        (!self.is_empty()).then(|| unsafe { self.version.typed() })
    }

    /// Returns whether there are no entries.
    #[doc(alias = "mtree_empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.version.height == 0
    }

    /// Returns the number of levels of nodes: the steps of a lookup.
    #[must_use]
    pub fn height(&self) -> usize {
        self.version.height
    }

    /// Returns the entry whose range holds `index`. O(log n), without a loop that a writer could
    /// prolong.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert_range(10..=19, 1)?;
    /// let reader = tree.reader()?;
    /// let view = reader.read_lock();
    /// assert_eq!(view.load(15), Some(1));
    /// assert_eq!(view.load(20), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "mtree_load")]
    #[doc(alias = "mas_walk")]
    #[inline]
    #[must_use]
    pub fn load(&self, index: u64) -> Option<E::Borrowed<'_>> {
        if self.is_empty() {
            return None;
        }
        let raw = search!(load::<E>(self.version, index))?;
        // SAFETY: by the type's invariant the entry stays while `self` is borrowed.
        Some(unsafe { E::borrow(raw) })
    }

    /// Returns the entry whose range holds `index`, and that range.
    #[must_use]
    pub fn load_range(&self, index: u64) -> Option<RangeEntry<'_, E>> {
        self.find(index).filter(|(range, _)| range.contains(&index))
    }

    /// Returns the first entry that holds `index` or lies above it, and its range.
    #[doc(alias = "find_vma")]
    #[doc(alias = "mt_find")]
    #[doc(alias = "mas_find")]
    #[inline]
    #[must_use]
    pub fn find(&self, index: u64) -> Option<RangeEntry<'_, E>> {
        let (leaf, position) = self.leaf(index)?;
        // Only the last leaf of the tree may hold nothing at or above the index.
        (position < leaf.len()).then(|| self.entry(leaf, position))
    }

    /// Returns the last entry that holds `index` or lies below it, and its range.
    #[doc(alias = "mas_find_rev")]
    #[must_use]
    pub fn find_rev(&self, index: u64) -> Option<RangeEntry<'_, E>> {
        let (leaf, position) = self.leaf(index)?;
        if position < leaf.len() && leaf.first(position) <= index {
            Some(self.entry(leaf, position))
        } else if position > 0 {
            Some(self.entry(leaf, position - 1))
        } else {
            let mut path = Path::unset();
            // SAFETY: not empty, as there is a leaf; by the type's invariant its nodes stay while
            // `self` is borrowed.
            unsafe { path.seek(self.version, index) };
            // The leaf holds nothing at or below the index: what is below it ends the leaf before.
            path.prev_leaf().then(|| {
                let leaf = path.leaf();
                self.entry(leaf, leaf.len() - 1)
            })
        }
    }

    /// Returns the leaf that answers for `index`, and the first position there that ends at
    /// `index` or above.
    #[inline]
    fn leaf(&self, index: u64) -> Option<(Leaf<'_, E::Stamp>, usize)> {
        if self.is_empty() {
            return None;
        }
        Some(search!(leaf::<E>(self.version, index)))
    }

    /// Returns an entry of a leaf of this version, and its range.
    #[inline]
    fn entry<'v>(&'v self, leaf: Leaf<'v, E::Stamp>, position: usize) -> RangeEntry<'v, E> {
        let (first, raw) = leaf.entry(position);
        // SAFETY: slots of a leaf are not null.
        let raw = unsafe { NonNull::new_unchecked(raw) };
        // SAFETY: by the type's invariant the entry stays while `self` is borrowed.
        (first..=leaf.last(position), unsafe { E::borrow(raw) })
    }
}
