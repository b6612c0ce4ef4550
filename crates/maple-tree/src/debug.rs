//! `Debug` of a tree and its handles: ranges and entries, as of a map; `{:x?}` prints hexadecimal
//! numbers.

use core::fmt;

use lock_api::RawMutex;
use vmaple_rcu::{OwnedSections, Reclaim};

use crate::entry::Entry;
use crate::lock::DefaultLock;
use crate::read::{ReadGuard, Reader, Snapshot};
use crate::tree::MapleTree;
use crate::view::Cursor;
use crate::view::Iter;
use crate::view::View;
use crate::view::{Dump, DumpDot};
use crate::write::{Displaced, Write};

impl<E: Entry> fmt::Debug for View<E>
where
    for<'a> E::Borrowed<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// Prints the current version, read in a section of its own.
impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> fmt::Debug for MapleTree<E, R, L, FANOUT>
where
    for<'a> E::Borrowed<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reader() {
            Ok(reader) => fmt::Debug::fmt(&*reader.read_lock(), f),
            Err(_) => f.write_str("<no memory for one more reader>"),
        }
    }
}

/// Prints the current version.
impl<E: Entry, R: Reclaim, T> fmt::Debug for Reader<'_, E, R, T>
where
    for<'a> E::Borrowed<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&*self.read_lock()).finish()
    }
}

impl<'r, E: Entry, R: Reclaim + 'r> fmt::Debug for ReadGuard<'r, E, R>
where
    for<'a> E::Borrowed<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<E: Entry, R: OwnedSections> fmt::Debug for Snapshot<E, R>
where
    for<'a> E::Borrowed<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Prints the tree with the transaction's edits.
impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> fmt::Debug for Write<'_, E, R, L, FANOUT>
where
    for<'a> E::Borrowed<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Prints what is left.
impl<'v, E: Entry> fmt::Debug for Iter<'v, E>
where
    E::Borrowed<'v>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Prints what is left.
impl<'w, E: Entry> fmt::Debug for Displaced<'w, E>
where
    E::Borrowed<'w>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'v, E: Entry> fmt::Debug for Cursor<'v, E>
where
    E::Borrowed<'v>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("range", &self.range())
            .field("entry", &self.entry())
            .finish()
    }
}

impl<E: Entry> fmt::Debug for Dump<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: Entry> fmt::Debug for DumpDot<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for DefaultLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_locked() { "locked" } else { "unlocked" };
        f.debug_tuple("DefaultLock").field(&format_args!("{state}")).finish()
    }
}
