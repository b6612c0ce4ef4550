//! The root: the one word that readers load and writers store. No other file publishes or retires.
//!
//! The word is the root node's address with the tree's height in its lowest bits: null and zero
//! for an empty tree. Readers load it with Acquire, the writer stores it with Release: all nodes
//! below were initialised, and stamped, before. The nodes that a version replaced are retired
//! after that store, each with the era in which it was published.

use core::marker::PhantomData;
use core::ptr::NonNull;

use vmaple_rcu::pool::Pool;
use vmaple_rcu::{Retired, Update};

use crate::entry::Entry;
use crate::node::{Kind, Node, Version};
use crate::primitive::{AtomicPtr, Ordering, own_load};
use crate::stamp::Stamp;

/// The published word.
pub(crate) struct Root<E: Entry> {
    word: AtomicPtr<()>,
    /// Holds entries of this type exactly.
    owns: PhantomData<fn(E) -> E>,
}

impl<E: Entry> Root<E> {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicPtr::new(core::ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// Loads the word; for readers, inside of a section that protects it.
    #[inline]
    pub(crate) fn load(&self) -> *mut () {
        // Pairs with the Release in `publish`.
        self.word.load(Ordering::Acquire)
    }

    /// Returns the version of a word that `load` has returned.
    #[inline]
    pub(crate) fn version(word: *mut ()) -> Version<E::Stamp> {
        Version::from_word(word)
    }

    /// Returns the version that the writer itself stored.
    pub(crate) fn current(&self) -> Version<E::Stamp> {
        Version::from_word(own_load(&self.word))
    }

    /// Publishes a version: from now on readers find it.
    pub(crate) fn publish(&self, version: Version<E::Stamp>) {
        // Pairs with the Acquire in `load`: nodes and entries are initialised and stamped.
        self.word.store(version.to_word(), Ordering::Release);
    }
}

/// Retires a node that the published version does not reach any more.
///
/// # Safety
/// It is from a pool, was published, is unlinked by `publish` before this call, and is retired
/// once. `update` has room.
pub(crate) unsafe fn retire_node<S: Stamp>(update: &mut impl Update, node: *mut Node<S>) {
    let retired = Retired {
        object: node.cast(),
        // SAFETY: called once, when no reader holds the node any more.
        free: |node| unsafe { Pool::<Node<S>>::give_back(node.cast()) },
        // SAFETY: the node stays until it is freed.
        birth: unsafe { &*node }.birth(),
        bytes: size_of::<Node<S>>(),
    };
    // SAFETY: versions are immutable, and no word of the published version holds the node. Words
    // of unlinked nodes that do are read only by sections that began with such a version, which
    // the interval of this node's life covers.
    let done = unsafe { update.retire(retired) };
    debug_assert!(done.is_ok(), "reserved");
}

/// Retires an entry that the published version does not hold any more.
///
/// # Safety
/// As for [`retire_node`]; `stamp` is the one that was noted for it.
pub(crate) unsafe fn retire_entry<E: Entry>(update: &mut impl Update, raw: NonNull<()>, stamp: E::Stamp) {
    if !E::OWNS {
        return;
    }
    let retired = Retired {
        object: raw.as_ptr(),
        free: free_entry::<E>,
        // SAFETY: the entry stays until it is freed.
        birth: unsafe { E::birth(raw, stamp) },
        bytes: E::BYTES,
    };
    // SAFETY: as in `retire_node`.
    let done = unsafe { update.retire(retired) };
    debug_assert!(done.is_ok(), "reserved");
}

/// Drops an entry. A drop that panics ends the process: half of a tree cannot be left.
///
/// # Safety
/// `raw` is from [`Entry::into_raw`], is freed once, and no code borrows it.
unsafe fn free_entry<E: Entry>(raw: *mut ()) {
    struct NotUnwinding;
    impl Drop for NotUnwinding {
        fn drop(&mut self) {
            panic!("the drop of an entry has panicked");
        }
    }
    let Some(raw) = NonNull::new(raw) else { return };
    let guard = NotUnwinding;
    // SAFETY: by this function's contract.
    drop(unsafe { E::from_raw(raw) });
    // A second panic while the first unwinds ends the process, which a forgotten guard does not.
    core::mem::forget(guard);
}

/// Retires a whole tree as one object; its free frees all that it holds.
///
/// It counts as born in era 0, so it waits for every section that is open.
///
/// # Safety
/// `version` was published and is so no more. No node or entry of it was retired or is in another
/// version. `update` has room.
pub(crate) unsafe fn retire_tree<E: Entry>(update: &mut impl Update, version: Version<E::Stamp>) {
    if version.height == 0 {
        return;
    }
    let retired = Retired {
        object: version.to_word(),
        // SAFETY: called once, when no reader holds the tree any more.
        free: |word| unsafe { free_tree::<E>(Version::from_word(word)) },
        birth: 0,
        bytes: size_of::<Node<E::Stamp>>(),
    };
    // SAFETY: by this function's contract.
    let done = unsafe { update.retire(retired) };
    debug_assert!(done.is_ok(), "reserved");
}

/// Frees a tree's entries and nodes.
///
/// # Safety
/// No other code holds them; they are freed once.
pub(crate) unsafe fn free_tree<E: Entry>(version: Version<E::Stamp>) {
    if version.height == 0 {
        return;
    }
    // SAFETY: the tree is this function's alone.
    match unsafe { version.typed() }.kind() {
        Kind::Inner(inner) => (0..inner.len()).for_each(|i| {
            // SAFETY: the child goes with its parent.
            unsafe { free_tree::<E>(inner.version(i)) };
        }),
        Kind::Leaf(leaf) if E::OWNS => (0..leaf.len()).for_each(|i| {
            // SAFETY: the entry goes with its leaf.
            unsafe { free_entry::<E>(leaf.pointer(i)) };
        }),
        Kind::Leaf(_) => {}
    }
    // SAFETY: the node is in no tree now.
    unsafe { Pool::give_back(version.node) };
}
