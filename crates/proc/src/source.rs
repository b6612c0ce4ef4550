//! What a reader of maps reads: an address space as it is, or one instant of it.

use vmaple_mm::{MmReader, MmSnapshot, SnapshotStore, VmaRead, VmaStore};

/// What a [`Maps`](crate::Maps) reads.
pub trait Source {
    /// A section, in which VMAs stay.
    type Section<'s>: VmaRead
    where
        Self: 's;

    /// Begins a section; nothing if the address space is gone.
    fn section(&self) -> Option<Self::Section<'_>>;
}

/// The address space as it is: each section has the state of the moment when it begins.
impl<S: VmaStore> Source for MmReader<S> {
    type Section<'s>
        = S::Section<'s>
    where
        Self: 's;

    #[inline]
    fn section(&self) -> Option<Self::Section<'_>> {
        self.read_lock()
    }
}

/// One instant: all sections have the same state, and it stays when the address space is gone.
impl<S: SnapshotStore> Source for MmSnapshot<S> {
    type Section<'s>
        = &'s Self
    where
        Self: 's;

    #[inline]
    fn section(&self) -> Option<Self::Section<'_>> {
        Some(self)
    }
}
