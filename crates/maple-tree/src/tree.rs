//! The tree: its root for readers, its writer's side under a lock.

use lock_api::RawMutex;
use vmaple_rcu::{AllocError, Fences, RcuDomain, Reclaim, Update};

use crate::edit::Edit;
use crate::entry::Entry;
use crate::lock::DefaultLock;
use crate::node::MOST;
use crate::primitive::AtomicBool;
use crate::root::{Root, retire_tree};

/// The writer's side, which the lock protects.
pub(crate) struct State<E: Entry, U, const FANOUT: usize> {
    pub(crate) edit: Edit<E, FANOUT>,
    pub(crate) update: U,
}

/// A map of non-overlapping ranges of `u64` indexes to entries, for one writer at a time and any
/// number of readers that hold nothing.
///
/// `E` is the type of its entries ([`Entry`]): `Box<T>`, `Arc<T>`,
/// [`RcuBox<T>`](vmaple_rcu::RcuBox), small numbers. `R` frees what readers may still hold; `L` is
/// the writers' lock. `FANOUT`, 3 to 15, is the most slots of a node: fewer than 15 make high
/// trees of few entries, for tests.
///
/// Methods here are transactions of one edit; [`write`](Self::write) makes one of many.
pub struct MapleTree<E: Entry, R: Reclaim = RcuDomain, L: RawMutex = DefaultLock, const FANOUT: usize = MOST> {
    pub(crate) root: Root<E>,
    /// Whether the pool needs a chunk before the lock is taken.
    pub(crate) is_pool_low: AtomicBool,
    pub(crate) state: lock_api::Mutex<L, State<E, R::Update, FANOUT>>,
    pub(crate) rcu: R,
}

impl<E: Entry, L: RawMutex, const FANOUT: usize> MapleTree<E, RcuDomain, L, FANOUT> {
    /// Returns an empty tree with an RCU domain of its own, with [`Fences::Symmetric`].
    ///
    /// With these, writers know for the price of a fence that no section is open, and use the
    /// nodes that they replace again at once. Readers pay a fence for each section. Where sections
    /// are as short as one lookup, pass a domain with the other fences to
    /// [`with_rcu`](Self::with_rcu).
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new() -> Result<Self, AllocError> {
        let (rcu, update) = RcuDomain::with_fences(Fences::Symmetric)?;
        Self::with_rcu(rcu, update)
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> MapleTree<E, R, L, FANOUT> {
    /// Returns an empty tree whose nodes and entries `rcu` frees; `update` is its writer's handle.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    ///
    /// # Panics
    /// If `update` belongs to another RCU: nothing would protect this tree's readers.
    pub fn with_rcu(rcu: R, mut update: R::Update) -> Result<Self, AllocError> {
        assert!(rcu.owns(&update), "the writer's handle of another RCU");
        // For the tree, when it is dropped.
        update.reserve(1)?;
        let edit = Edit::new()?;
        Ok(Self {
            root: Root::new(),
            is_pool_low: AtomicBool::new(true),
            state: lock_api::Mutex::new(State { edit, update }),
            rcu,
        })
    }

    /// Returns the RCU that frees for this tree.
    pub fn rcu(&self) -> &R {
        &self.rcu
    }

    /// Frees the chunks of memory of which no node is in use; returns their bytes.
    ///
    /// Nothing else does before the tree is dropped: writers never pay for it. O(free nodes),
    /// under the writers' lock.
    pub fn trim(&self) -> usize {
        self.state.lock().edit.pool.trim()
    }

    /// Returns the bytes of memory that the tree has taken for nodes, used or not.
    pub fn node_bytes(&self) -> usize {
        self.state.lock().edit.pool.bytes()
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Drop for MapleTree<E, R, L, FANOUT> {
    /// Retires all nodes and entries: they are freed after the last open section, snapshots
    /// included.
    #[doc(alias = "mtree_destroy")]
    fn drop(&mut self) {
        let version = self.root.current();
        let state = self.state.get_mut();
        // A failure changes nothing: room was reserved when the tree was made, and after every
        // edit.
        let _ = state.update.reserve(1);
        // SAFETY: no thread can load the root any more, and this happens once.
        unsafe { retire_tree::<E>(&mut state.update, version) };
    }
}
