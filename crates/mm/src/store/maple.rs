//! The cure: VMAs in a maple tree, freed by RCU. No thread waits for a reader.

use core::fmt;

use lock_api::RawMutex;
use maple_tree::{DefaultLock, Displaced, ReadGuard, Reader, Snapshot};
use vmaple_rcu::{AllocError, RcuDomain};

use super::tree::{VmaEntry, VmaTree, VmaTreeWrite};
use super::{Call, Sealed, Shortage, SnapshotStore, VmaRead, VmaStore, VmaWrite};
use crate::addr::{VirtAddr, VirtRange};
use crate::mm::MmState;
use crate::vma::Vma;

/// VMAs in a maple tree. Readers hold a read-side section and nothing else. `L` is the lock of the
/// writers.
///
/// A writer waits for the writer before it. No thread waits for a reader, wherever it is stopped.
pub struct MapleStore<L: RawMutex = DefaultLock> {
    vmas: VmaTree<Vma, L>,
}

impl<L: RawMutex> MapleStore<L> {
    /// Returns the RCU domain that frees its memory, with the counts of what is deferred and for
    /// which reader.
    pub fn rcu(&self) -> &RcuDomain {
        self.vmas.tree.rcu()
    }
}

/// A reader's handle.
pub struct MapleReader<'s>(Reader<'s, VmaEntry>);

/// Implements reading by the view that the type derefs to.
macro_rules! reads_as_its_view {
    ($($type:ty),*) => { $(
        impl VmaRead for $type {
            #[inline]
            fn find(&self, addr: VirtAddr) -> Option<&Vma> {
                VmaRead::find(&**self, addr)
            }

            fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
                VmaRead::find_prev(&**self, addr)
            }

            #[inline]
            fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
                VmaRead::iter_from(&**self, addr)
            }
        }
    )* };
}

reads_as_its_view!(ReadGuard<'_, VmaEntry>, Snapshot<VmaEntry>);

impl<L: RawMutex> Sealed for MapleStore<L> {}

impl<L: RawMutex> Sealed for MapleWrite<'_, L> {}

impl<L: RawMutex + Send + Sync + 'static> VmaStore for MapleStore<L> {
    type Reader<'s> = MapleReader<'s>;
    type Section<'r> = ReadGuard<'r, VmaEntry>;
    type Write<'s> = MapleWrite<'s, L>;

    fn new(state: MmState) -> Result<Self, AllocError> {
        Ok(Self {
            vmas: VmaTree::new(state)?,
        })
    }

    fn reader(&self) -> Result<MapleReader<'_>, AllocError> {
        self.vmas.tree.reader().map(MapleReader)
    }

    #[inline]
    fn read_lock<'r>(reader: &'r MapleReader<'_>) -> ReadGuard<'r, VmaEntry> {
        reader.0.read_lock()
    }

    fn renew<'r>(reader: &'r MapleReader<'_>, section: ReadGuard<'r, VmaEntry>) -> ReadGuard<'r, VmaEntry> {
        drop(section);
        reader.0.read_lock()
    }

    fn write(&self, vmas: usize, _: &Call) -> Result<MapleWrite<'_, L>, AllocError> {
        let ((), write) = self.vmas.write(vmas, || ())?;
        Ok(MapleWrite(write))
    }

    fn trim(&self, _: &Call) {
        self.vmas.trim();
    }
}

impl<L: RawMutex + Send + Sync + 'static> SnapshotStore for MapleStore<L> {
    type Snapshot = Snapshot<VmaEntry>;

    fn snapshot(&self, _: &Call) -> Result<Snapshot<VmaEntry>, AllocError> {
        self.vmas.tree.snapshot()
    }
}

/// The tree's lock, held, with a transaction.
pub struct MapleWrite<'s, L: RawMutex = DefaultLock>(VmaTreeWrite<'s, Vma, L>);

impl<L: RawMutex> VmaRead for MapleWrite<'_, L> {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        VmaRead::find(&*self.0.write, addr)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        VmaRead::find_prev(&*self.0.write, addr)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        VmaRead::iter_from(&*self.0.write, addr)
    }
}

impl<L: RawMutex> VmaWrite for MapleWrite<'_, L> {
    fn state(&self) -> &MmState {
        self.0.state()
    }

    fn state_mut(&mut self) -> &mut MmState {
        self.0.state_mut()
    }

    fn empty_area(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        let start = self.0.write.empty_area(size, limits.start.0..limits.end.0, align);
        start.map(VirtAddr)
    }

    fn empty_area_rev(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        let start = self.0.write.empty_area_rev(size, limits.start.0..limits.end.0, align);
        start.map(VirtAddr)
    }

    fn replace(&mut self, range: VirtRange, vmas: &mut [Option<Vma>; 3]) -> Result<(), Shortage> {
        self.0.replace(range, vmas, |vma| vma)
    }

    fn has_room(&mut self, vmas: usize) -> bool {
        self.0.has_room(vmas)
    }

    fn commit(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        // Superseded after no reader can find them any more, and before pages follow: a fault that
        // has one looks again and finds another.
        let supersede = |displaced: Displaced<'_, VmaEntry>| {
            displaced.for_each(|(_, vma)| vma.supersede());
            after();
        };
        self.0.write.commit_with(|_| before(), supersede);
    }

    fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        self.0.write.iter().for_each(|(_, vma)| vma.supersede());
        self.0.clear(before, after);
    }
}

impl<L: RawMutex> fmt::Debug for MapleStore<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapleStore").finish_non_exhaustive()
    }
}

impl fmt::Debug for MapleReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapleReader").finish_non_exhaustive()
    }
}

/// The mappings that it sees.
impl<L: RawMutex> fmt::Debug for MapleWrite<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter_from(VirtAddr(0))).finish()
    }
}
