//! The end of a transaction: its publication, or that of an empty tree.

use lock_api::RawMutex;
use vmaple_rcu::{Reclaim, Update};

use crate::edit::Edit;
use crate::entry::Entry;
use crate::node::Version;
use crate::primitive::Ordering;
use crate::root::retire_tree;
use crate::tree::State;
use crate::write::{Displaced, LOW, Write};

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    /// Publishes the edits with one store: readers see all of them or none.
    ///
    /// The lock stays held, and another transaction may follow.
    pub fn commit(&mut self) {
        self.commit_with(|_| (), |_| ());
    }

    /// Commits, and lends what the transaction displaced to two closures, in the order of its
    /// edits.
    ///
    /// `before` runs right before the publishing store, `after` right after it and before any of
    /// it is retired. Where there is nothing to publish neither is called.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert(1, 10)?;
    /// let mut write = tree.write();
    /// write.erase(1)?;
    /// write.commit_with(|_| (), |mut gone| assert_eq!(gone.next(), Some((1..=1, 10))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit_with(&mut self, before: impl FnOnce(Displaced<'_, E>), after: impl FnOnce(Displaced<'_, E>)) {
        let tree = self.tree;
        let State { edit, update } = self.state();
        if edit.is_changed(&tree.root) {
            edit.publish(&tree.root, update, |taken| before(Displaced { taken: taken.iter() }));
            let published = Published { edit, update };
            after(Displaced {
                taken: published.edit.displaced.iter(),
            });
        }
        // Relaxed: a hint.
        tree.is_pool_low.store(edit.pool.is_below(LOW), Ordering::Relaxed);
    }

    /// Undoes the transaction, takes everything out, and retires the whole tree as one object.
    ///
    /// This needs no memory, and so cannot fail. The tree waits for every section that is open;
    /// one call of `reap` frees it.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert(1, 10)?;
    /// tree.write().destroy();
    /// assert!(tree.snapshot()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "mtree_destroy")]
    pub fn destroy(&mut self) {
        let tree = self.tree;
        let State { edit, update } = self.state();
        if edit.is_changed(&tree.root) {
            edit.undo(&tree.root);
        }
        let version = core::mem::replace(&mut edit.view.version, Version::EMPTY);
        tree.root.publish(Version::EMPTY);
        // Room for it was reserved when the tree was made, and after every edit; an empty tree
        // retires nothing.
        // SAFETY: it was published and is no more, and nothing of it is in another version.
        unsafe { retire_tree::<E>(update, version) };
        // For the next one. Where there is no memory for it, the edit that comes before asks
        // again.
        let _ = update.reserve(1);
    }
}

/// A published transaction: what it replaced is retired in any case.
struct Published<'w, E: Entry, U: Update, const FANOUT: usize> {
    edit: &'w mut Edit<E, FANOUT>,
    update: &'w mut U,
}

impl<E: Entry, U: Update, const FANOUT: usize> Drop for Published<'_, E, U, FANOUT> {
    fn drop(&mut self) {
        self.edit.retire(self.update);
    }
}
