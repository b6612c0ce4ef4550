//! A cursor: a place in a view, from which to go to neighbours, over gaps or from entry to entry.

use core::ops::RangeInclusive;

use crate::entry::Entry;
use crate::view::{RangeEntry, View};

/// A place in a view: the entry that holds an index, or the gap around it.
///
/// Like the kernel's `ma_state`, without its states: one view has one version, so a cursor cannot
/// become stale.
///
/// ```
/// let tree = maple_tree::MapleTree::<u32>::new()?;
/// tree.insert_range(10..=19, 1)?;
/// let reader = tree.reader()?;
/// let view = reader.read_lock();
/// let mut cursor = view.cursor(0);
/// assert_eq!((cursor.range(), cursor.entry()), (0..=9, None));
/// assert!(cursor.next_range());
/// assert_eq!((cursor.range(), cursor.entry()), (10..=19, Some(1)));
/// assert!(cursor.next_range());
/// assert_eq!((cursor.range(), cursor.entry()), (20..=u64::MAX, None));
/// assert!(!cursor.next_range());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cursor<'v, E: Entry> {
    view: &'v View<E>,
    first: u64,
    last: u64,
    entry: Option<E::Borrowed<'v>>,
}

impl<E: Entry> Clone for Cursor<'_, E> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'v, E: Entry> Cursor<'v, E> {
    pub(crate) fn new(view: &'v View<E>, index: u64) -> Self {
        let mut cursor = Self {
            view,
            first: 0,
            last: u64::MAX,
            entry: None,
        };
        cursor.seek(index);
        cursor
    }

    /// Returns the first and last index of the entry, or of the gap.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    /// Returns the entry; `None` in a gap.
    #[must_use]
    pub fn entry(&self) -> Option<E::Borrowed<'v>> {
        self.entry
    }

    /// Goes to the entry or gap that holds `index`. O(log n).
    #[doc(alias = "mas_set")]
    pub fn seek(&mut self, index: u64) {
        match self.view.find(index) {
            Some(found) if *found.0.start() <= index => self.stand_on(found),
            after => {
                let before = index.checked_sub(1).and_then(|below| self.view.find_rev(below));
                self.entry = None;
                // There is an index between: the requested one.
                self.first = before.map_or(0, |(range, _)| range.end() + 1);
                self.last = after.map_or(u64::MAX, |(range, _)| range.start() - 1);
            }
        }
    }

    fn stand_on(&mut self, (range, entry): RangeEntry<'v, E>) {
        (self.first, self.last) = range.into_inner();
        self.entry = Some(entry);
    }

    /// Goes to the entry or gap after this; returns whether there is one.
    #[doc(alias = "mas_next_range")]
    pub fn next_range(&mut self) -> bool {
        let next = self.last.checked_add(1);
        next.inspect(|&index| self.seek(index)).is_some()
    }

    /// Goes to the entry or gap before this; returns whether there is one.
    #[doc(alias = "mas_prev_range")]
    pub fn prev_range(&mut self) -> bool {
        let previous = self.first.checked_sub(1);
        previous.inspect(|&index| self.seek(index)).is_some()
    }

    /// Goes to the next entry; stays where it is if there is none.
    #[doc(alias = "mas_next")]
    #[doc(alias = "mt_next")]
    #[allow(clippy::should_implement_trait)] // an iterator could not go back
    pub fn next(&mut self) -> Option<RangeEntry<'v, E>> {
        let found = self.view.find(self.last.checked_add(1)?)?;
        self.stand_on(found.clone());
        Some(found)
    }

    /// Goes to the entry before; stays where it is if there is none.
    #[doc(alias = "mas_prev")]
    #[doc(alias = "mt_prev")]
    pub fn prev(&mut self) -> Option<RangeEntry<'v, E>> {
        let found = self.view.find_rev(self.first.checked_sub(1)?)?;
        self.stand_on(found.clone());
        Some(found)
    }
}

impl<E: Entry> View<E> {
    /// Returns a cursor at `index`, which goes over entries and gaps in both directions.
    #[doc(alias = "MA_STATE")]
    #[doc(alias = "ma_state")]
    #[must_use]
    pub fn cursor(&self, index: u64) -> Cursor<'_, E> {
        Cursor::new(self, index)
    }
}
