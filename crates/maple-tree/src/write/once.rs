//! Transactions of one edit.

use core::ops::{RangeBounds, RangeInclusive};

use lock_api::RawMutex;
use vmaple_rcu::{AllocError, RcuDomain, Reclaim};

use crate::entry::{Divide, Entry};
use crate::error::{BuildError, InsertError};
use crate::tree::MapleTree;
use crate::view::View;
use crate::write::Write;

impl<E: Entry, L: RawMutex, const FANOUT: usize> MapleTree<E, RcuDomain, L, FANOUT> {
    /// Returns a tree of ranges that ascend and do not overlap, with an RCU domain of its own.
    /// O(n).
    ///
    /// All nodes are full but the last ones.
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

    /// Returns a copy of a version, with an RCU domain of its own. O(n), much less than storing
    /// the ranges again.
    ///
    /// Each entry is divided ([`Divide::divide`]). Nodes are not shared: each domain could free
    /// them under the other's readers.
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
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> MapleTree<E, R, L, FANOUT> {
    /// Does a transaction of one edit, undone if it fails.
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

    /// Does [`Write::insert`] as a transaction of its own.
    ///
    /// # Errors
    /// As there.
    pub fn insert(&self, index: u64, entry: E) -> Result<(), InsertError<E>> {
        self.insert_range(index..=index, entry)
    }

    /// Does [`Write::insert_range`] as a transaction of its own.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mtree_insert_range")]
    pub fn insert_range(&self, range: impl RangeBounds<u64>, entry: E) -> Result<(), InsertError<E>> {
        self.once(|write| write.insert_range(range, entry))
    }

    /// Does [`Write::store_range`] as a transaction of its own; returns the number of displaced
    /// entries.
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

    /// Does [`Write::replace`] as a transaction of its own; returns the range.
    ///
    /// # Errors
    /// As there.
    pub fn replace(&self, index: u64, entry: E) -> Result<RangeInclusive<u64>, InsertError<E>> {
        self.once(|write| Ok(write.replace(index, entry)?.0))
    }

    /// Does [`Write::erase`] as a transaction of its own; returns the range.
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

    /// Does [`Write::erase_range`] as a transaction of its own; returns the number of displaced
    /// entries.
    ///
    /// # Errors
    /// As there.
    pub fn erase_range(&self, range: impl RangeBounds<u64>) -> Result<usize, AllocError>
    where
        E: Divide,
    {
        self.once(|write| Ok(write.erase_range(range)?.len()))
    }

    /// Does [`Write::alloc_range`] as a transaction of its own.
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

    /// Does [`Write::alloc_range_rev`] as a transaction of its own.
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
