//! The tree: its root for readers, its writer's side under a lock.

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ops::{RangeBounds, RangeInclusive};

use lock_api::RawMutex;
use vmaple_rcu::pool::Chunk;
use vmaple_rcu::{AllocError, Fences, RcuDomain, Reclaim, Update};

use crate::edit::Edit;
use crate::entry::{Divide, Entry};
use crate::error::{BuildError, InsertError};
use crate::lock::DefaultLock;
use crate::node::MOST;
use crate::primitive::{AtomicBool, Ordering};
use crate::read::Reader;
use crate::root::{Root, retire_tree};
use crate::view::View;
use crate::write::{LOW, Write};

/// What the writer's lock protects.
pub(crate) struct State<E: Entry, U, const FANOUT: usize> {
    pub(crate) edit: Edit<E, FANOUT>,
    pub(crate) update: U,
}

/// A map of non-overlapping ranges of `u64` indexes to entries, for one writer at a time and any number of readers that hold
/// nothing.
///
/// `E` is what it holds ([`Entry`]): `Box<T>`, `Arc<T>`, [`RcuBox<T>`](vmaple_rcu::RcuBox), small numbers. `R` frees what
/// readers may still hold; `L` is the writers' lock. `FANOUT`, 3 to 15, is the most slots of a node: fewer than 15 make high
/// trees of few entries, for tests.
///
/// Methods here are transactions of one edit; [`write`](Self::write) makes one of many.
pub struct MapleTree<E: Entry, R: Reclaim = RcuDomain, L: RawMutex = DefaultLock, const FANOUT: usize = MOST> {
    pub(crate) root: Root<E>,
    /// Whether the pool is to get a chunk before the lock is taken.
    pub(crate) is_pool_low: AtomicBool,
    pub(crate) state: lock_api::Mutex<L, State<E, R::Update, FANOUT>>,
    pub(crate) rcu: R,
}

impl<E: Entry, L: RawMutex, const FANOUT: usize> MapleTree<E, RcuDomain, L, FANOUT> {
    /// An empty tree with an RCU domain of its own, with [`Fences::Symmetric`]: writers then know for the price of a fence that
    /// nobody reads, and use the nodes that they replace again at once. Readers pay a fence for each section; where sections
    /// are as short as one lookup, [`with_rcu`](Self::with_rcu) takes a domain with the other fences.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new() -> Result<Self, AllocError> {
        let (rcu, update) = RcuDomain::with_fences(Fences::Symmetric)?;
        Self::with_rcu(rcu, update)
    }

    /// A tree of ranges that ascend and do not overlap, with an RCU domain of its own. O(n); all nodes are full but the last
    /// ones.
    ///
    /// # Errors
    /// [`BuildError`]; all entries are dropped then.
    ///
    /// ```
    /// let ranges = (0..100_u32).map(|i| (u64::from(i) * 10..u64::from(i) * 10 + 5, i));
    /// let tree = maple_tree::MapleTree::<u32>::from_sorted(ranges)?;
    /// assert_eq!(tree.reader()?.read_lock().load(994), Some(99));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_sorted<B: RangeBounds<u64>>(ranges: impl IntoIterator<Item = (B, E)>) -> Result<Self, BuildError> {
        Self::filled(|write| write.build(ranges))
    }

    /// A tree with the same ranges and another one of each entry, with an RCU domain of its own. O(n), much less than
    /// storing them again.
    ///
    /// Nodes are not shared: each domain could free them under the other's readers.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    #[doc(alias = "mtree_dup")]
    #[doc(alias = "__mt_dup")]
    pub fn dup(view: &View<E>) -> Result<Self, AllocError>
    where
        E: Divide,
    {
        Self::filled(|write| write.build_copy(view))
    }

    fn filled<Error: From<AllocError>>(
        fill: impl FnOnce(&mut Write<'_, E, RcuDomain, L, FANOUT>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let tree = Self::new()?;
        tree.once(fill)?;
        Ok(tree)
    }

    /// Lends `work` the version of now, by a reader of the calling thread's own, which is registered at the first call.
    /// [`reader`](Self::reader) is some nanoseconds faster.
    ///
    /// # Errors
    /// As for [`RcuDomain::read`].
    #[cfg(feature = "std")]
    pub fn read<T>(&self, work: impl FnOnce(&View<E>) -> T) -> Result<T, AllocError> {
        self.rcu.read(|guard| {
            let word = guard.protect(|| self.root.load());
            // SAFETY: the guard protects the version while `work` runs.
            work(&unsafe { View::new(Root::<E>::version(word)) })
        })
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> MapleTree<E, R, L, FANOUT> {
    /// An empty tree whose nodes and entries are freed by `rcu`, of which `update` is the writer's handle.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    ///
    /// # Panics
    /// If `update` is another one's: nothing would protect this tree's readers.
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

    /// What frees for this tree.
    pub fn rcu(&self) -> &R {
        &self.rcu
    }

    /// Registers a reader, for one thread at a time.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more; writers never notice.
    pub fn reader(&self) -> Result<Reader<'_, E, R>, AllocError> {
        Ok(Reader {
            root: &raw const self.root,
            keeps: PhantomData,
            tree: None,
            reader: self.rcu.reader()?,
        })
    }

    /// A reader that keeps the tree.
    ///
    /// # Errors
    /// As for [`reader`](Self::reader).
    pub fn owned_reader(self: &Arc<Self>) -> Result<Reader<'static, E, R, Self>, AllocError> {
        Ok(Reader {
            root: &raw const self.root,
            keeps: PhantomData,
            tree: Some(Arc::clone(self)),
            reader: self.rcu.reader()?,
        })
    }

    /// Takes the writers' lock and begins a transaction.
    #[doc(alias = "mtree_lock")]
    pub fn write(&self) -> Write<'_, E, R, L, FANOUT> {
        // Relaxed: a hint. Memory is taken without the lock; where there is none the edit that needs it will say so.
        let chunk = if self.is_pool_low.load(Ordering::Relaxed) {
            Chunk::new().ok()
        } else {
            None
        };
        let mut state = self.state.lock();
        if let Some(chunk) = chunk.filter(|_| state.edit.pool.is_below(LOW)) {
            state.edit.pool.add(chunk);
        }
        self.is_pool_low.store(state.edit.pool.is_below(LOW), Ordering::Relaxed);
        state.edit.view.version = self.root.current();
        Write {
            tree: self,
            state: Some(state),
        }
    }

    /// Takes memory for `nodes` nodes, so that edits find it without asking the system: one of one range takes up to five on
    /// each level, and where somebody reads, what was retired comes back only after a grace period.
    ///
    /// # Errors
    /// [`AllocError`] if there is not enough for all of them; nothing of it is kept then. With `std` the system is asked for a large amount
    /// at once, before any of it is taken.
    pub fn reserve(&self, nodes: usize) -> Result<(), AllocError> {
        let mut write = self.write();
        let state = write.state();
        state.edit.reserve(&mut state.update, nodes, nodes, 0)
    }

    /// Gives chunks of memory back of which no node is in use; returns their bytes. Nothing else does, before the tree is
    /// dropped: writers never pay for it. O(free nodes), under the writers' lock.
    pub fn trim(&self) -> usize {
        self.state.lock().edit.pool.trim()
    }

    /// Bytes of memory that the tree has taken for nodes, used or not.
    pub fn node_bytes(&self) -> usize {
        self.state.lock().edit.pool.bytes()
    }

    /// A transaction of one edit, undone if it fails.
    #[inline]
    fn once<T, Error>(
        &self,
        edit: impl FnOnce(&mut Write<'_, E, R, L, FANOUT>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut write = self.write();
        let done = edit(&mut write)?;
        write.commit();
        Ok(done)
    }

    /// [`Write::insert`] as a transaction of its own.
    ///
    /// # Errors
    /// As there.
    pub fn insert(&self, index: u64, entry: E) -> Result<(), InsertError<E>> {
        self.insert_range(index..=index, entry)
    }

    /// [`Write::insert_range`] as a transaction of its own.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mtree_insert_range")]
    pub fn insert_range(&self, range: impl RangeBounds<u64>, entry: E) -> Result<(), InsertError<E>> {
        self.once(|write| write.insert_range(range, entry))
    }

    /// [`Write::store_range`] as a transaction of its own; says how many entries were displaced.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mtree_store_range")]
    pub fn store_range(&self, range: impl RangeBounds<u64>, entry: E) -> Result<usize, InsertError<E>>
    where
        E: Divide,
    {
        self.once(|write| Ok(write.store_range(range, entry)?.len()))
    }

    /// [`Write::replace`] as a transaction of its own; gives the range.
    ///
    /// # Errors
    /// As there.
    pub fn replace(&self, index: u64, entry: E) -> Result<RangeInclusive<u64>, InsertError<E>> {
        self.once(|write| Ok(write.replace(index, entry)?.0))
    }

    /// [`Write::erase`] as a transaction of its own; gives the range.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mtree_erase")]
    pub fn erase(&self, index: u64) -> Result<Option<RangeInclusive<u64>>, AllocError> {
        let mut write = self.write();
        let erased = write.erase(index)?.map(|(range, _)| range);
        if erased.is_some() {
            write.commit();
        }
        Ok(erased)
    }

    /// [`Write::erase_range`] as a transaction of its own; says how many entries were displaced.
    ///
    /// # Errors
    /// As there.
    pub fn erase_range(&self, range: impl RangeBounds<u64>) -> Result<usize, AllocError>
    where
        E: Divide,
    {
        self.once(|write| Ok(write.erase_range(range)?.len()))
    }

    /// [`Write::alloc_range`] as a transaction of its own.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mtree_alloc_range")]
    pub fn alloc_range(
        &self,
        size: u64,
        limits: impl RangeBounds<u64>,
        align: u64,
        entry: E,
    ) -> Result<u64, InsertError<E>> {
        self.once(|write| write.alloc_range(size, limits, align, entry))
    }

    /// [`Write::alloc_range_rev`] as a transaction of its own.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mtree_alloc_rrange")]
    pub fn alloc_range_rev(
        &self,
        size: u64,
        limits: impl RangeBounds<u64>,
        align: u64,
        entry: E,
    ) -> Result<u64, InsertError<E>> {
        self.once(|write| write.alloc_range_rev(size, limits, align, entry))
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Drop for MapleTree<E, R, L, FANOUT> {
    /// Retires all nodes and entries: they are freed when no section, snapshots included, is open any more.
    #[doc(alias = "mtree_destroy")]
    fn drop(&mut self) {
        let version = self.root.current();
        let state = self.state.get_mut();
        // Nothing to be done if not: it was reserved when the tree was made, and after every edit.
        let _ = state.update.reserve(1);
        // SAFETY: nobody can load the root any more, and this happens once.
        unsafe { retire_tree::<E>(&mut state.update, version) };
    }
}
