//! An edit that replaces all entries of a range by up to three others.

use core::ops::{RangeBounds, RangeInclusive};

use lock_api::RawMutex;
use vmaple_rcu::Reclaim;

use crate::entry::Entry;
use crate::error::{InsertError, InsertErrorKind};
use crate::node::Item;
use crate::range::first_last;
use crate::tree::State;
use crate::view::path::Path;
use crate::write::{Displaced, Write};

/// Up to `N` entries and their ranges.
pub type Entries<E, const N: usize> = [Option<(RangeInclusive<u64>, E)>; N];

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    /// Replaces all entries of a range, none of which reaches out of it, by up to three over parts
    /// of it.
    ///
    /// One edit, where the range is in one leaf.
    ///
    /// # Errors
    /// With the entries given back: [`InvalidRequest`](InsertErrorKind::InvalidRequest) if a range
    /// is empty, or the entries' do not ascend or are not in `range`;
    /// [`Occupied`](InsertErrorKind::Occupied) if an entry reaches out of it;
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

    /// Does all of an exchange that can fail. Sets the path to the first index, if the tree is not
    /// empty.
    fn try_exchange<const N: usize>(
        &mut self,
        range: Option<(u64, u64)>,
        entries: &Entries<E, N>,
        path: &mut Path<E::Stamp>,
    ) -> Result<(u64, u64), InsertErrorKind> {
        let (first, last) = range.ok_or(InsertErrorKind::InvalidRequest)?;
        // The lowest index that an entry may have; `None` if there is no higher one.
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
}
