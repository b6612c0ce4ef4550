//! The entries that a transaction took out, lent until it is published.

use crate::edit::Displaced as Taken;
use crate::entry::Entry;
use crate::view::RangeEntry;

/// The entries that an edit took out, ascending, with the ranges that they held.
///
/// They stay readable while the transaction is not published.
pub struct Displaced<'w, E: Entry> {
    pub(super) taken: core::slice::Iter<'w, Taken<E>>,
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

pub(super) fn lend<E: Entry>(taken: &Taken<E>) -> RangeEntry<'_, E> {
    // SAFETY: a displaced entry stays until the transaction is published, during which nothing may
    // borrow it.
    (taken.first..=taken.last, unsafe { E::borrow(taken.raw) })
}
