//! Readers: sections that take the root's version of their begin, and snapshots that outlive them.

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ops::Deref;

use lock_api::RawMutex;
use vmaple_rcu::{AllocError, OwnedSections, RcuDomain, Reclaim};

use crate::entry::Entry;
use crate::root::Root;
use crate::tree::MapleTree;
use crate::view::{Iter, RangeEntry, View};

/// A reader's handle of a tree: one for each thread or open file that reads.
pub struct Reader<'t, E: Entry, R: Reclaim = RcuDomain, T = ()> {
    /// The tree's root, which `'t` or `tree` keeps.
    pub(crate) root: *const Root<E>,
    pub(crate) keeps: PhantomData<&'t Root<E>>,
    /// Before the field that keeps the tree: it is dropped first.
    pub(crate) reader: R::Reader,
    #[expect(dead_code, reason = "keeps the tree")]
    pub(crate) tree: Option<Arc<T>>,
}

// SAFETY: the root is shared by design, and the handle may go to another thread.
unsafe impl<E: Entry, R: Reclaim, T: Send + Sync> Send for Reader<'_, E, R, T> {}

impl<E: Entry, R: Reclaim, T> Reader<'_, E, R, T> {
    fn root(&self) -> &Root<E> {
        // SAFETY: the tree is kept.
        unsafe { &*self.root }
    }

    /// Enters a read-side section with the current version.
    ///
    /// Two stores and a load, and a fence if the domain's fences are symmetric. The load is
    /// repeated at most 64 times, and only if a writer advances the era in between. Writers never
    /// wait for a section.
    #[doc(alias = "rcu_read_lock")]
    #[inline]
    pub fn read_lock(&self) -> ReadGuard<'_, E, R> {
        let (section, word) = R::read_lock_at(&self.reader, || self.root().load());
        ReadGuard {
            // SAFETY: the section protects the version.
            view: unsafe { View::new(Root::<E>::version(word)) },
            _section: section,
        }
    }

    /// Turns the handle into a snapshot of the current version.
    pub fn into_snapshot(self) -> Snapshot<E, R>
    where
        R: OwnedSections,
    {
        let root = self.root;
        // SAFETY: the tree is kept while the root is loaded; the section keeps what it leads to.
        let (section, word) = R::read_lock_owned(self.reader, || unsafe { &*root }.load());
        Snapshot {
            // SAFETY: the section protects the version.
            view: unsafe { View::new(Root::<E>::version(word)) },
            _section: section,
        }
    }
}

/// A read-side section with one version of the tree, of which everything is that is read through
/// it.
///
/// While it lives, what was in the tree when it began is not freed, whatever writers do. What they
/// add and take out later is freed.
#[must_use = "the section ends when the guard is dropped"]
pub struct ReadGuard<'r, E: Entry, R: Reclaim + 'r = RcuDomain> {
    view: View<E>,
    _section: R::Section<'r>,
}

impl<'r, E: Entry, R: Reclaim + 'r> Deref for ReadGuard<'r, E, R> {
    type Target = View<E>;

    #[inline]
    fn deref(&self) -> &View<E> {
        &self.view
    }
}

/// A version of the tree to keep: may go to another thread, and outlive guard, reader and tree.
///
/// It keeps what was in the tree when it was taken, no more. Drop it when it is not needed.
///
/// It is not `Clone`. A copy would be one more reader, for which there may be no memory, and
/// `clone` cannot return an error. Nor would it protect anything. A writer looks at readers one
/// after the other. So it may look for the copy before that is there, and for the original after
/// that is gone. An `Arc` of a snapshot shares it.
#[must_use = "a snapshot keeps memory until it is dropped"]
pub struct Snapshot<E: Entry, R: OwnedSections = RcuDomain> {
    view: View<E>,
    _section: R::OwnedSection,
}

impl<E: Entry, R: OwnedSections> Deref for Snapshot<E, R> {
    type Target = View<E>;

    fn deref(&self) -> &View<E> {
        &self.view
    }
}

impl<E: Entry, L: RawMutex, const FANOUT: usize> MapleTree<E, RcuDomain, L, FANOUT> {
    /// Lends the current version to `work`, by a reader of the calling thread's own.
    ///
    /// The first call registers that reader. [`reader`](Self::reader) is some nanoseconds faster.
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
    /// Registers a reader, for one thread at a time.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more. Writers never notice.
    pub fn reader(&self) -> Result<Reader<'_, E, R>, AllocError> {
        Ok(Reader {
            root: &raw const self.root,
            keeps: PhantomData,
            tree: None,
            reader: self.rcu.reader()?,
        })
    }

    /// Registers a reader that keeps the tree.
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
}

impl<E: Entry, R: OwnedSections, L: RawMutex, const FANOUT: usize> MapleTree<E, R, L, FANOUT> {
    /// Returns a snapshot of the current version, in O(1).
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more reader.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// tree.insert(1, 10)?;
    /// let snapshot = tree.snapshot()?;
    /// tree.erase(1)?;
    /// drop(tree);
    /// std::thread::spawn(move || assert_eq!(snapshot.load(1), Some(10))).join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot<E, R>, AllocError> {
        Ok(self.reader()?.into_snapshot())
    }
}

impl<'v, 'r, E: Entry, R: Reclaim + 'r> IntoIterator for &'v ReadGuard<'r, E, R> {
    type Item = RangeEntry<'v, E>;
    type IntoIter = Iter<'v, E>;

    fn into_iter(self) -> Iter<'v, E> {
        self.iter()
    }
}

impl<'v, E: Entry, R: OwnedSections> IntoIterator for &'v Snapshot<E, R> {
    type Item = RangeEntry<'v, E>;
    type IntoIter = Iter<'v, E>;

    fn into_iter(self) -> Iter<'v, E> {
        self.iter()
    }
}
