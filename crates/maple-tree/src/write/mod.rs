//! Transactions: many edits, one publication.

mod allocate;
mod bulk;
mod displaced;
mod exchange;
mod once;
mod publish;
mod store;

pub use displaced::Displaced;
pub use exchange::Entries;

use core::ops::Deref;

use lock_api::{MutexGuard, RawMutex};
use vmaple_rcu::pool::Chunk;
use vmaple_rcu::{AllocError, RcuDomain, Reclaim, Update};

use crate::edit::Edit;
use crate::entry::Entry;
use crate::lock::DefaultLock;
use crate::node::MOST;
use crate::primitive::Ordering;
use crate::tree::{MapleTree, State};
use crate::view::{Iter, RangeEntry, View};

/// The number of nodes in the pool below which the next writer brings a chunk.
const LOW: usize = 64;

/// The writers' lock of a tree, held, with a transaction.
///
/// [`commit`](Self::commit) publishes all its edits with one store; before that no reader sees
/// them. Dropping it undoes what was not published, and releases the lock.
///
/// It reads ([`View`]) as the tree with its edits. An edit that fails changes nothing, and the
/// transaction may go on. Memory is taken before anything is changed, so `commit` cannot fail.
///
/// ```
/// let tree = maple_tree::MapleTree::<u32>::new()?;
/// let mut write = tree.write();
/// write.store_range(0..100, 1)?;
/// write.store_range(40..60, 2)?;
/// assert_eq!(write.load(50), Some(2));
/// assert!(tree.snapshot()?.is_empty()); // no reader sees it yet
/// write.commit();
/// drop(write);
/// assert_eq!(tree.snapshot()?.iter().count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it undoes the edits"]
pub struct Write<'t, E: Entry, R: Reclaim = RcuDomain, L: RawMutex = DefaultLock, const FANOUT: usize = MOST> {
    pub(crate) tree: &'t MapleTree<E, R, L, FANOUT>,
    /// `Some` until it is dropped.
    pub(crate) state: Option<MutexGuard<'t, L, State<E, R::Update, FANOUT>>>,
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Deref for Write<'_, E, R, L, FANOUT> {
    type Target = View<E>;

    fn deref(&self) -> &View<E> {
        match &self.state {
            Some(state) => &state.edit.view,
            None => unreachable!("taken by `drop` alone"),
        }
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    pub(crate) fn state(&mut self) -> &mut State<E, R::Update, FANOUT> {
        match &mut self.state {
            Some(state) => &mut *state,
            None => unreachable!("taken by `drop` alone"),
        }
    }

    fn edit(&mut self) -> &mut Edit<E, FANOUT> {
        &mut self.state().edit
    }

    /// Returns the writer's handle of the tree's RCU, for what else the lock protects.
    ///
    /// Use it before the first edit or after [`commit`](Self::commit). What is retired or flushed
    /// in between takes the room that the edits have reserved. Where memory is short, what they
    /// replaced would then leak.
    ///
    /// # Safety
    /// It stays in its place: the handle of another RCU would not protect this tree's readers.
    pub unsafe fn updater(&mut self) -> &mut R::Update {
        &mut self.state().update
    }

    /// Takes memory for `entries` later edits of this transaction, so that none of them needs any.
    ///
    /// Each edit is of one entry and within one leaf.
    ///
    /// # Errors
    /// [`AllocError`] if there is not enough for all of them; nothing of it is kept then.
    #[doc(alias = "mas_preallocate")]
    #[doc(alias = "mas_expected_entries")]
    pub fn reserve(&mut self, entries: usize) -> Result<(), AllocError> {
        let State { edit, update } = self.state();
        edit.reserve_for_edits(update, entries)
    }

    fn displaced_from(&self, from: usize) -> Displaced<'_, E> {
        let all = self.state.as_ref().map_or(&[][..], |state| &state.edit.displaced);
        Displaced {
            taken: all[from..].iter(),
        }
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> MapleTree<E, R, L, FANOUT> {
    /// Takes the writers' lock and begins a transaction.
    #[doc(alias = "mtree_lock")]
    pub fn write(&self) -> Write<'_, E, R, L, FANOUT> {
        // Relaxed: a hint. Memory is taken without the lock; where there is none, the edit that
        // needs it returns the error.
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

    /// Takes memory for `nodes` nodes, so that edits find it without asking the system.
    ///
    /// An edit of one range takes up to five on each level. While sections are open, what was
    /// retired comes back only after a grace period.
    ///
    /// # Errors
    /// [`AllocError`] if there is not enough for all of them; nothing of it is kept then. With
    /// `std` a large amount is first asked for at once, before any of it is taken.
    pub fn reserve(&self, nodes: usize) -> Result<(), AllocError> {
        let mut write = self.write();
        let state = write.state();
        state.edit.reserve(&mut state.update, nodes, nodes, 0)
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Drop for Write<'_, E, R, L, FANOUT> {
    /// Undoes what was not published, releases the lock, and then frees some of what was retired,
    /// if it is time.
    fn drop(&mut self) {
        let tree = self.tree;
        let State { edit, update } = self.state();
        if edit.is_changed(&tree.root) {
            edit.undo(&tree.root);
        }
        let due = update.reap_due();
        self.state = None;
        if due {
            tree.rcu.reap();
        }
    }
}

impl<'v, E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> IntoIterator for &'v Write<'_, E, R, L, FANOUT> {
    type Item = RangeEntry<'v, E>;
    type IntoIter = Iter<'v, E>;

    fn into_iter(self) -> Iter<'v, E> {
        self.iter()
    }
}
