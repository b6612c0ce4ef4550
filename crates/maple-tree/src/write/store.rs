//! Edits of a transaction: insert, store, replace, erase.

use core::ops::RangeBounds;
use core::ptr::NonNull;

use lock_api::RawMutex;
use vmaple_rcu::{AllocError, Reclaim};

use crate::entry::{Divide, Entry};
use crate::error::{InsertError, InsertErrorKind};
use crate::node::Item;
use crate::range::first_last;
use crate::tree::State;
use crate::view::RangeEntry;
use crate::view::path::Path;
use crate::write::{Displaced, Write, displaced::lend};

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    /// Inserts an entry at one index.
    ///
    /// # Errors
    /// As for [`insert_range`](Self::insert_range).
    #[doc(alias = "mtree_insert")]
    pub fn insert(&mut self, index: u64, entry: E) -> Result<(), InsertError<E>> {
        self.insert_range(index..=index, entry)
    }

    /// Inserts an entry over a range of which no index is held yet.
    ///
    /// # Errors
    /// With the entry given back: [`Occupied`](InsertErrorKind::Occupied) if an entry is there,
    /// [`InvalidRequest`](InsertErrorKind::InvalidRequest) if the range is empty,
    /// [`AllocError`](InsertErrorKind::AllocError) if there is no memory.
    pub fn insert_range(&mut self, range: impl RangeBounds<u64>, entry: E) -> Result<(), InsertError<E>> {
        let mut path = Path::unset();
        match self.try_insert(first_last(&range), &mut path) {
            Ok(range) => {
                let State { edit, update } = self.state();
                let item = edit.new_item(update, range, entry.into_raw());
                edit.put(&mut path, item);
                Ok(())
            }
            Err(cause) => Err(InsertError { value: entry, cause }),
        }
    }

    /// Does all of an insertion that can fail; sets the path to the place.
    #[inline]
    fn try_insert(
        &mut self,
        range: Option<(u64, u64)>,
        path: &mut Path<E::Stamp>,
    ) -> Result<(u64, u64), InsertErrorKind> {
        let (first, last) = range.ok_or(InsertErrorKind::InvalidRequest)?;
        let State { edit, update } = self.state();
        edit.reserve_to_grow(update)?;
        if edit.seek_own(path, first) && path.is_occupied(last) {
            return Err(InsertErrorKind::Occupied);
        }
        Ok((first, last))
    }

    /// Stores an entry over a range, whatever is there.
    ///
    /// Entries inside of the range are displaced. Entries that stick out of it are cut and keep
    /// the rest, in both parts if the range is in the middle of one.
    ///
    /// # Errors
    /// With the entry given back: [`InvalidRequest`](InsertErrorKind::InvalidRequest) if the range
    /// is empty, [`AllocError`](InsertErrorKind::AllocError) if there is no memory.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// let mut write = tree.write();
    /// write.store_range(0..=99, 1)?;
    /// write.store_range(10..=19, 2)?;
    /// let displaced = write.store_range(5..=50, 3)?;
    /// assert_eq!(displaced.collect::<Vec<_>>(), [(10..=19, 2)]);
    /// let now: Vec<_> = write.iter().collect();
    /// assert_eq!(now, [(0..=4, 1), (5..=50, 3), (51..=99, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "mas_store")]
    #[doc(alias = "mas_store_gfp")]
    #[doc(alias = "mtree_store")]
    pub fn store_range(&mut self, range: impl RangeBounds<u64>, entry: E) -> Result<Displaced<'_, E>, InsertError<E>>
    where
        E: Divide,
    {
        let Some((first, last)) = first_last(&range) else {
            let cause = InsertErrorKind::InvalidRequest;
            return Err(InsertError { value: entry, cause });
        };
        let before = self.edit().displaced.len();
        let mut path = Path::unset();
        let Ok(divided) = self.prepare(first, last, &mut path) else {
            let cause = InsertErrorKind::AllocError;
            return Err(InsertError { value: entry, cause });
        };
        let State { edit, update } = self.state();
        let item = edit.new_item(update, (first, last), entry.into_raw());
        if path.height == 0 {
            edit.put(&mut path, item);
        } else if path.is_within_leaf(last) {
            edit.replace(&mut path, (first, last), Some(item), divided);
        } else {
            edit.clear(first, last, divided);
            path = Path::unset();
            edit.seek(&mut path, first);
            edit.put(&mut path, item);
        }
        Ok(self.displaced_from(before))
    }

    /// Takes everything out of a range; entries that stick out of it are cut and keep the rest.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn erase_range(&mut self, range: impl RangeBounds<u64>) -> Result<Displaced<'_, E>, AllocError>
    where
        E: Divide,
    {
        let before = self.edit().displaced.len();
        if let Some((first, last)) = first_last(&range) {
            let mut path = Path::unset();
            // Where there is nothing to take out nothing is copied.
            let edit = self.edit();
            if edit.seek(&mut path, first) && (path.is_occupied(last) || !path.is_within_leaf(last)) {
                let divided = self.prepare(first, last, &mut path)?;
                self.edit().clear(first, last, divided);
            }
        }
        Ok(self.displaced_from(before))
    }

    /// Does all of a store or an erasure that can fail; returns the entry for the upper part of
    /// one that is cut in two.
    ///
    /// Sets the path to `first`, if the tree is not empty.
    fn prepare(
        &mut self,
        first: u64,
        last: u64,
        path: &mut Path<E::Stamp>,
    ) -> Result<Option<Item<E::Stamp>>, AllocError>
    where
        E: Divide,
    {
        let State { edit, update } = self.state();
        edit.reserve_to_grow(update)?;
        if edit.seek_own(path, first) && !path.is_within_leaf(last) {
            let (entries, nodes) = edit.weigh(first, last);
            edit.reserve(update, edit.nodes_for_a_range(), entries, nodes)?;
        }
        let cut = if path.height > 0 {
            path.cut_in_two(first, last)
        } else {
            None
        };
        // SAFETY: the entry is in the version, which stays until the end of this function.
        let divided = cut.map(|raw| E::divide(unsafe { E::borrow(raw) })).transpose()?;
        Ok(divided.map(|entry| edit.new_item(update, (0, 0), entry.into_raw())))
    }

    /// Takes out the entry that holds `index`, with its whole range, and lends it.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    #[doc(alias = "mas_erase")]
    pub fn erase(&mut self, index: u64) -> Result<Option<RangeEntry<'_, E>>, AllocError> {
        Ok(self.take(index, None)?.ok())
    }

    /// Replaces the entry that holds `index`, over the same range, and lends the old one.
    ///
    /// # Errors
    /// With the entry given back: [`Vacant`](InsertErrorKind::Vacant) if nothing holds the index,
    /// [`AllocError`](InsertErrorKind::AllocError) if there is no memory.
    pub fn replace(&mut self, index: u64, entry: E) -> Result<RangeEntry<'_, E>, InsertError<E>> {
        let raw = entry.into_raw();
        let cause = match self.take(index, Some(raw)) {
            Ok(Ok(taken)) => return Ok(taken),
            Ok(Err(())) => InsertErrorKind::Vacant,
            Err(AllocError) => InsertErrorKind::AllocError,
        };
        // SAFETY: the entry was not taken.
        let value = unsafe { E::from_raw(raw) };
        Err(InsertError { value, cause })
    }

    /// Takes out the entry at `index` and puts `new` in its place; `Err(())` if there is none.
    fn take(&mut self, index: u64, new: Option<NonNull<()>>) -> Result<Result<RangeEntry<'_, E>, ()>, AllocError> {
        let State { edit, update } = self.state();
        let mut path = Path::unset();
        edit.reserve(update, edit.nodes_for_a_leaf(), 1, 0)?;
        let found = edit.seek_own(&mut path, index);
        let Some(range) = found.then(|| path.held(index)).flatten() else {
            return Ok(Err(()));
        };
        let new = new.map(|raw| edit.new_item(update, range, raw));
        edit.replace(&mut path, range, new, None);
        let taken = edit.displaced.last();
        Ok(taken.map(lend).ok_or(()))
    }

    /// Takes everything out.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn clear(&mut self) -> Result<(), AllocError> {
        let State { edit, update } = self.state();
        let (entries, nodes) = edit.weigh(0, u64::MAX);
        edit.reserve(update, 0, entries, nodes)?;
        edit.displace_all();
        Ok(())
    }
}
