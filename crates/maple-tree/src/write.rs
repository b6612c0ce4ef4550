//! Transactions: many edits, one publication.

use core::ops::{Deref, RangeBounds, RangeInclusive};
use core::ptr::NonNull;

use lock_api::{MutexGuard, RawMutex};
use vmaple_rcu::{AllocError, RcuDomain, Reclaim, Update};

use crate::edit::{Displaced as Taken, Edit};
use crate::entry::{Divide, Entry};
use crate::error::{BuildError, InsertError, InsertErrorKind};
use crate::lock::DefaultLock;
use crate::node::{Item, MOST};
use crate::path::Path;
use crate::primitive::Ordering;
use crate::range::first_last;
use crate::root::{Version, retire_tree};
use crate::tree::{MapleTree, State};
use crate::view::{RangeEntry, View};

/// Fewer nodes than this in the pool, and the next writer brings a chunk.
pub(crate) const LOW: usize = 64;

/// The writers' lock of a tree, held, with a transaction: edits that nobody sees until [`commit`](Self::commit) publishes all
/// of them with one store. Dropping it undoes what was not published, and gives up the lock.
///
/// It reads ([`View`]) as the tree with its edits. An edit that fails changes nothing, and the transaction may go on: memory
/// is taken before anything is changed, so `commit` cannot fail.
///
/// ```
/// let tree = maple_tree::MapleTree::<u32>::new()?;
/// let mut write = tree.write();
/// write.store_range(0..100, 1)?;
/// write.store_range(40..60, 2)?;
/// assert_eq!(write.load(50), Some(2));
/// assert!(tree.snapshot()?.is_empty()); // nobody else sees it
/// write.commit();
/// drop(write);
/// assert_eq!(tree.snapshot()?.iter().count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it undoes the edits"]
pub struct Write<'t, E: Entry, R: Reclaim = RcuDomain, L: RawMutex = DefaultLock, const FANOUT: usize = MOST> {
    pub(crate) tree: &'t MapleTree<E, R, L, FANOUT>,
    /// There until it is dropped.
    pub(crate) state: Option<MutexGuard<'t, L, State<E, R::Update, FANOUT>>>,
}

/// Up to `N` entries and their ranges.
pub type Entries<E, const N: usize> = [Option<(RangeInclusive<u64>, E)>; N];

/// The entries that an edit took out, ascending, with the ranges that they held. They stay readable while the transaction
/// is not published.
pub struct Displaced<'w, E: Entry> {
    taken: core::slice::Iter<'w, Taken<E>>,
}

impl<E: Entry> Clone for Displaced<'_, E> {
    fn clone(&self) -> Self {
        let taken = self.taken.clone();
        Self { taken }
    }
}

impl<'w, E: Entry> Iterator for Displaced<'w, E> {
    type Item = RangeEntry<'w, E>;

    fn next(&mut self) -> Option<Self::Item> {
        self.taken.next().map(lend)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.taken.size_hint()
    }
}

impl<E: Entry> ExactSizeIterator for Displaced<'_, E> {}

fn lend<E: Entry>(taken: &Taken<E>) -> RangeEntry<'_, E> {
    // SAFETY: what is displaced stays until the transaction is published, for which nothing may be borrowed of it.
    (taken.first..=taken.last, unsafe { E::borrow(taken.raw) })
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Deref for Write<'_, E, R, L, FANOUT> {
    type Target = View<E>;

    fn deref(&self) -> &View<E> {
        match &self.state {
            Some(state) => &state.edit.view,
            None => unreachable!("there until it is dropped"),
        }
    }
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    pub(crate) fn state(&mut self) -> &mut State<E, R::Update, FANOUT> {
        match &mut self.state {
            Some(state) => &mut *state,
            None => unreachable!("there until it is dropped"),
        }
    }

    fn edit(&mut self) -> &mut Edit<E, FANOUT> {
        &mut self.state().edit
    }

    /// The writer's handle of the tree's RCU, for what else the lock protects.
    ///
    /// To be used before the first edit or after [`commit`](Self::commit): what is retired or flushed between takes the room
    /// that the edits have reserved, and where memory is short what they replaced would leak.
    ///
    /// # Safety
    /// It stays in its place: the handle of another RCU would not protect this tree's readers.
    pub unsafe fn updater(&mut self) -> &mut R::Update {
        &mut self.state().update
    }

    /// Takes memory for so many edits to come in this transaction, each of one entry and within one leaf, so that none of them has to.
    ///
    /// # Errors
    /// [`AllocError`] if there is not enough for all of them; nothing of it is kept then.
    #[doc(alias = "mas_preallocate")]
    #[doc(alias = "mas_expected_entries")]
    pub fn reserve(&mut self, entries: usize) -> Result<(), AllocError> {
        let State { edit, update } = self.state();
        edit.reserve_for_edits(update, entries)
    }

    /// Inserts an entry at one index.
    ///
    /// # Errors
    /// As for [`insert_range`](Self::insert_range).
    #[doc(alias = "mtree_insert")]
    pub fn insert(&mut self, index: u64, entry: E) -> Result<(), InsertError<E>> {
        self.insert_range(index..=index, entry)
    }

    /// Inserts an entry over a range of which nothing is held yet.
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

    /// All of an insertion that can fail; sets the path to the place.
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

    /// Puts an entry over a range, whatever is there: entries inside of the range are displaced, entries that stick out of it
    /// are cut and keep the rest, in both parts if it is in the middle of one.
    ///
    /// # Errors
    /// With the entry given back: [`InvalidRequest`](InsertErrorKind::InvalidRequest) if the range is empty,
    /// [`AllocError`](InsertErrorKind::AllocError) if there is no memory.
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

    /// Puts up to three entries over parts of a range in the place of all entries there, none of which reaches out of it. One
    /// edit, where the range is in one leaf.
    ///
    /// # Errors
    /// With the entries given back: [`InvalidRequest`](InsertErrorKind::InvalidRequest) if a range is empty, or the entries' do not
    /// ascend or are not in `range`; [`Occupied`](InsertErrorKind::Occupied) if an entry reaches out of it;
    /// [`AllocError`](InsertErrorKind::AllocError) if there is no memory.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// let mut write = tree.write();
    /// write.insert_range(0..=99, 1)?;
    /// write.exchange(0..=99, [Some((0..=39, 2)), Some((60..=99, 3))])?;
    /// assert_eq!(write.iter().collect::<Vec<_>>(), [(0..=39, 2), (60..=99, 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exchange<const N: usize>(
        &mut self,
        range: impl RangeBounds<u64>,
        entries: Entries<E, N>,
    ) -> Result<Displaced<'_, E>, InsertError<Entries<E, N>>> {
        const { assert!(N <= 3, "at most three") };
        let before = self.edit().displaced.len();
        let mut path = Path::unset();
        let (first, last) = match self.try_exchange(first_last(&range), &entries, &mut path) {
            Ok(range) => range,
            Err(cause) => {
                let value = entries;
                return Err(InsertError { value, cause });
            }
        };
        let State { edit, update } = self.state();
        let mut items = [Item::blank(E::Stamp::default()); N];
        let mut n = 0;
        for (range, entry) in entries.into_iter().flatten() {
            items[n] = edit.new_item(update, range.into_inner(), entry.into_raw());
            n += 1;
        }
        if path.height > 0 && path.is_within_leaf(last) {
            edit.exchange(&mut path, last, &items[..n]);
        } else {
            edit.clear(first, last, None);
            for &item in &items[..n] {
                path = Path::unset();
                edit.seek(&mut path, item.slot.word);
                edit.put(&mut path, item);
            }
        }
        Ok(self.displaced_from(before))
    }

    /// All of an exchange that can fail. Sets the path to the first index, if the tree is not empty.
    fn try_exchange<const N: usize>(
        &mut self,
        range: Option<(u64, u64)>,
        entries: &Entries<E, N>,
        path: &mut Path<E::Stamp>,
    ) -> Result<(u64, u64), InsertErrorKind> {
        let (first, last) = range.ok_or(InsertErrorKind::InvalidRequest)?;
        // The lowest index that an entry may have; none, if there is no higher one.
        let mut next = Some(first);
        for (range, _) in entries.iter().flatten() {
            if range.is_empty() || next.is_none_or(|next| *range.start() < next) || *range.end() > last {
                return Err(InsertErrorKind::InvalidRequest);
            }
            next = range.end().checked_add(1);
        }
        let State { edit, update } = self.state();
        edit.reserve_to_grow(update)?;
        if edit.seek_own(path, first) {
            if !path.is_within_leaf(last) {
                let (entries, nodes) = edit.weigh(first, last);
                // Each of them may make the tree higher.
                let more = N * (edit.nodes_for_a_leaf() + 5 * N);
                edit.reserve(update, edit.nodes_for_a_range() + more, entries.max(N), nodes)?;
            }
            if edit.reaches_out(path, first, last) {
                return Err(InsertErrorKind::Occupied);
            }
        }
        Ok((first, last))
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

    /// All of a store or an erasure that can fail. Sets the path to `first`, if the tree is not empty; gives what the upper part
    /// of an entry that is cut in two is to hold.
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

    /// Takes the entry out that holds `index`, with its whole range, and lends it.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    #[doc(alias = "mas_erase")]
    pub fn erase(&mut self, index: u64) -> Result<Option<RangeEntry<'_, E>>, AllocError> {
        Ok(self.take(index, None)?.ok())
    }

    /// Puts an entry in the place of the one that holds `index`, over the same range, and lends the old one.
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

    /// Takes the entry at `index` out, and puts `new` in its place; `Err(())` if there is none.
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

    /// Finds the lowest gap of `size` indexes in `limits`, at a multiple of `align`, and puts an entry there. Returns its first
    /// index.
    ///
    /// # Errors
    /// With the entry given back: [`Full`](InsertErrorKind::Full) if there is no such gap,
    /// [`InvalidRequest`](InsertErrorKind::InvalidRequest) for a size of zero, empty limits or an alignment that is not a power of
    /// two, [`AllocError`](InsertErrorKind::AllocError) if there is no memory.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// assert_eq!(tree.alloc_range(0x3000, 0x1000.., 0x1000, 7)?, 0x1000);
    /// assert_eq!(tree.alloc_range(0x1000, 0x1000.., 0x1000, 8)?, 0x4000);
    /// assert_eq!(tree.alloc_range_rev(0x1000, ..0x10000, 0x1000, 9)?, 0xf000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alloc_range(
        &mut self,
        size: u64,
        limits: impl RangeBounds<u64>,
        align: u64,
        entry: E,
    ) -> Result<u64, InsertError<E>> {
        let first = self.empty_area(size, bounds(&limits), align);
        self.alloc_at(first, size, &limits, align, entry)
    }

    /// The same with the highest gap.
    ///
    /// # Errors
    /// As for [`alloc_range`](Self::alloc_range).
    pub fn alloc_range_rev(
        &mut self,
        size: u64,
        limits: impl RangeBounds<u64>,
        align: u64,
        entry: E,
    ) -> Result<u64, InsertError<E>> {
        let first = self.empty_area_rev(size, bounds(&limits), align);
        self.alloc_at(first, size, &limits, align, entry)
    }

    fn alloc_at(
        &mut self,
        first: Option<u64>,
        size: u64,
        limits: &impl RangeBounds<u64>,
        align: u64,
        value: E,
    ) -> Result<u64, InsertError<E>> {
        if size == 0 || !align.is_power_of_two() || first_last(limits).is_none() {
            let cause = InsertErrorKind::InvalidRequest;
            return Err(InsertError { value, cause });
        }
        let Some(first) = first else {
            let cause = InsertErrorKind::Full;
            return Err(InsertError { value, cause });
        };
        self.insert_range(first..=first + (size - 1), value)?;
        Ok(first)
    }

    /// Replaces the whole content by ranges that ascend and do not overlap. O(n).
    ///
    /// # Errors
    /// [`BuildError`]; nothing has changed then, and the entries that came are dropped.
    pub fn build<B: RangeBounds<u64>>(&mut self, ranges: impl IntoIterator<Item = (B, E)>) -> Result<(), BuildError> {
        self.try_build(ranges.into_iter().map(|(range, entry)| Ok((first_last(&range), entry))))
    }

    /// Replaces the whole content by the ranges of another tree's version, with another one of each of its entries. O(n).
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory; nothing has changed then.
    #[doc(alias = "__mt_dup")]
    pub fn build_copy(&mut self, view: &View<E>) -> Result<(), AllocError>
    where
        E: Divide,
    {
        let copies = view
            .iter()
            .map(|(range, entry)| Ok((Some(range.into_inner()), E::divide(entry)?)));
        // Ranges of a tree are sorted.
        self.try_build(copies).map_err(|_| AllocError)
    }

    fn try_build(
        &mut self,
        ranges: impl Iterator<Item = Result<(Option<(u64, u64)>, E), BuildError>>,
    ) -> Result<(), BuildError> {
        let State { edit, update } = self.state();
        edit.build(update, ranges)
    }

    /// Publishes the edits with one store: readers see all of them or none. The lock stays held, and another transaction may
    /// follow.
    pub fn commit(&mut self) {
        self.commit_with(|_| (), |_| ());
    }

    /// [`commit`](Self::commit) that lends what the transaction displaced, in the order of its edits, to `before`, right before
    /// the publishing store, and to `after`, right after it and before anything of it is retired. Where there is nothing to
    /// publish neither is called.
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

    /// Takes everything out, undoes what the transaction did, publishes that, and retires the whole tree as one object: without
    /// memory, and so without failing. It waits for every section that is open, and is freed by one call of `reap`.
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
        // Room for it was reserved when the tree was made, and after every edit; of an empty tree there is nothing.
        // SAFETY: it was published and is no more, and nothing of it is in another version.
        unsafe { retire_tree::<E>(update, version) };
        // For the next one. Where there is no memory for it, the edit that comes before asks again.
        let _ = update.reserve(1);
    }

    fn displaced_from(&self, from: usize) -> Displaced<'_, E> {
        let all = self.state.as_ref().map_or(&[][..], |state| &state.edit.displaced);
        Displaced {
            taken: all[from..].iter(),
        }
    }
}

/// A transaction that is published: what it replaced is retired in any case.
struct Published<'w, E: Entry, U: Update, const FANOUT: usize> {
    edit: &'w mut Edit<E, FANOUT>,
    update: &'w mut U,
}

impl<E: Entry, U: Update, const FANOUT: usize> Drop for Published<'_, E, U, FANOUT> {
    fn drop(&mut self) {
        self.edit.retire(self.update);
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (core::ops::Bound<u64>, core::ops::Bound<u64>) {
    (range.start_bound().cloned(), range.end_bound().cloned())
}

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Drop for Write<'_, E, R, L, FANOUT> {
    /// Undoes what was not published, gives up the lock, and then frees some of what was retired, if it is time.
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
