//! What the files are read from: an address space as it is, or one instant of it.

use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{
    Error, Machine, MapleStore, MmReader, MmRef, MmSnapshot, SnapshotStore, Soft, VirtRange, Vma, VmaRead, VmaState,
    VmaStore,
};

use crate::open_file::sealed;

impl<S: VmaStore, M: Machine> sealed::Sealed for MmReader<S, M> {}
impl<S: SnapshotStore, M: Machine> sealed::Sealed for MmSnapshot<S, M> {}
impl<S: SnapshotStore, M: Machine> sealed::Sealed for SnapshotWithPages<S, M> {}

/// What a [`Maps`](crate::Maps) reads: an address space, or one instant of it. Sealed.
pub trait Source: sealed::Sealed {
    /// A section, in which VMAs stay.
    type Section<'s>: VmaRead
    where
        Self: 's;

    /// Begins a section; `None` if the address space is gone.
    fn section(&self) -> Option<Self::Section<'_>>;
}

/// What a [`Smaps`](crate::Smaps) reads. Sealed.
pub trait PageSource: Source {
    /// Renews the section between two records; `None` if the address space is gone.
    ///
    /// Where readers hold nothing that others wait for, it returns a newer section; else the same.
    fn renew<'s>(&'s self, section: Self::Section<'s>) -> Option<Self::Section<'s>>;

    /// Counts the pages of a VMA in `range`. Returns the counts, and whether all of the pages are
    /// its own.
    ///
    /// They are if the VMA was live all the while, and what had been mapped there before was gone.
    fn count(&self, vma: &Vma, range: VirtRange, by: CountBy) -> (PageCounts, bool);
}

/// The address space as it is: each section has the state of the moment when it begins.
impl<S: VmaStore, M: Machine> Source for MmReader<S, M> {
    type Section<'s>
        = S::Section<'s>
    where
        Self: 's;

    #[inline]
    fn section(&self) -> Option<Self::Section<'_>> {
        self.read_lock()
    }
}

impl<S: VmaStore, M: Machine> PageSource for MmReader<S, M> {
    fn renew<'s>(&'s self, section: Self::Section<'s>) -> Option<Self::Section<'s>> {
        self.renew(section)
    }

    /// Counts all that is mapped there, pages of the mapping before it or after it too.
    fn count(&self, vma: &Vma, range: VirtRange, by: CountBy) -> (PageCounts, bool) {
        let mut counts = PageCounts::default();
        let was_pending = self.mm().is_pending(range);
        self.walker().count(range, by, &mut counts);
        // The pages are read by Acquire loads, so the state is read after them.
        (counts, !was_pending && vma.state() == VmaState::Live)
    }
}

/// One instant: all sections have the same state, and it stays when the address space is gone.
impl<S: SnapshotStore, M: Machine> Source for MmSnapshot<S, M> {
    type Section<'s>
        = &'s Self
    where
        Self: 's;

    #[inline]
    fn section(&self) -> Option<Self::Section<'_>> {
        Some(self)
    }
}

/// The mappings of one instant, with the present pages.
#[derive(Debug)]
pub struct SnapshotWithPages<S: SnapshotStore = MapleStore, M: Machine = Soft> {
    snapshot: MmSnapshot<S, M>,
    reader: MmReader<S, M>,
}

impl<S: SnapshotStore, M: Machine> SnapshotWithPages<S, M> {
    pub(crate) fn new(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Ok(Self {
            snapshot: mm.snapshot()?,
            reader: mm.reader()?,
        })
    }
}

impl<S: SnapshotStore, M: Machine> Source for SnapshotWithPages<S, M> {
    type Section<'s>
        = &'s MmSnapshot<S, M>
    where
        Self: 's;

    fn section(&self) -> Option<Self::Section<'_>> {
        Some(&self.snapshot)
    }
}

impl<S: SnapshotStore, M: Machine> PageSource for SnapshotWithPages<S, M> {
    fn renew<'s>(&'s self, section: Self::Section<'s>) -> Option<Self::Section<'s>> {
        Some(section)
    }

    /// Returns no counts if some pages may be another mapping's.
    fn count(&self, vma: &Vma, range: VirtRange, by: CountBy) -> (PageCounts, bool) {
        match self.reader.count(vma, range, by) {
            (counts, true) => (counts, true),
            _ => (PageCounts::default(), false),
        }
    }
}
