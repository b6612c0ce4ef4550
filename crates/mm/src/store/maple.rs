//! The cure: VMAs in a maple tree, freed by RCU. Readers hold a read-side section, for which nobody waits.
//!
//! VMAs come from a slab of the store's own and go back there when no reader can hold them: neither writers nor readers use
//! the global allocator once the store is warm.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lock_api::RawMutex;
use maple_tree::{DefaultLock, Displaced, Entry, InsertErrorKind, MapleTree, ReadGuard, Reader, Snapshot, View, Write};
use vmaple_rcu::{AllocError, RcuDomain};

use super::{Call, Shortage, SnapshotStore, VmaRead, VmaStore, VmaWrite};
use crate::slab::{NewSlab, Slab, SlabBox, Slot};
use crate::state::MmState;
use crate::vma::Vma;

/// A VMA, and the era in which it was published.
struct Node {
    birth: AtomicU64,
    vma: Vma,
}

/// What the tree owns.
pub struct VmaEntry(SlabBox<Node>);

// SAFETY: a box is a pointer, and lends shared references; the birth is noted once, before it is published.
unsafe impl Entry for VmaEntry {
    type Stamp = ();
    type Borrowed<'a> = &'a Vma;
    const BYTES: usize = size_of::<Slot<Node>>();

    fn into_raw(self) -> NonNull<()> {
        self.0.into_raw()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: the same contract.
        Self(unsafe { SlabBox::from_raw(raw) })
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> &'a Vma {
        // SAFETY: the same contract.
        &unsafe { SlabBox::<Node>::borrow(raw) }.vma
    }

    unsafe fn note_birth(raw: NonNull<()>, birth: u64) {
        // SAFETY: the same contract.
        let node = unsafe { SlabBox::<Node>::borrow(raw) };
        // Relaxed: the tree's publishing store comes after.
        node.birth.store(birth, Ordering::Relaxed);
    }

    unsafe fn birth(raw: NonNull<()>, (): ()) -> u64 {
        // SAFETY: the same contract.
        let node = unsafe { SlabBox::<Node>::borrow(raw) };
        // Relaxed: the writers' lock orders it.
        node.birth.load(Ordering::Relaxed)
    }
}

/// What the tree's lock protects besides.
struct Protected {
    vmas: Slab<Node>,
    state: MmState,
}

/// VMAs in a maple tree, for readers that hold nothing but a read-side section. `L` is the lock of the writers.
///
/// Who waits: a writer for the writer before it. Nobody for a reader, wherever it is stopped.
///
/// # Invariants
/// `protected` is only touched by the holder of the tree's lock.
pub struct MapleStore<L: RawMutex = DefaultLock> {
    tree: MapleTree<VmaEntry, RcuDomain, L>,
    protected: UnsafeCell<Protected>,
    /// Whether the next writer is to bring memory for VMAs.
    is_slab_low: AtomicBool,
}

// SAFETY: by the type's invariant the cell is under a lock; the tree is Sync itself.
unsafe impl<L: RawMutex + Send + Sync> Sync for MapleStore<L> {}

impl<L: RawMutex> MapleStore<L> {
    /// What frees for it, with the counts of what is deferred and for whom.
    pub fn rcu(&self) -> &RcuDomain {
        self.tree.rcu()
    }
}

impl VmaRead for View<VmaEntry> {
    #[inline]
    fn find(&self, addr: u64) -> Option<&Vma> {
        Self::find(self, addr).map(|(_, vma)| vma)
    }

    fn find_prev(&self, addr: u64) -> Option<&Vma> {
        self.find_rev(addr.checked_sub(1)?).map(|(_, vma)| vma)
    }

    #[inline]
    fn iter_from(&self, addr: u64) -> impl Iterator<Item = &Vma> {
        self.range(addr..).map(|(_, vma)| vma)
    }
}

/// Reads as the view that a type leads to does.
macro_rules! reads_as_its_view {
    ($($type:ty),*) => { $(
        impl VmaRead for $type {
            #[inline]
            fn find(&self, addr: u64) -> Option<&Vma> {
                VmaRead::find(&**self, addr)
            }

            fn find_prev(&self, addr: u64) -> Option<&Vma> {
                VmaRead::find_prev(&**self, addr)
            }

            #[inline]
            fn iter_from(&self, addr: u64) -> impl Iterator<Item = &Vma> {
                VmaRead::iter_from(&**self, addr)
            }
        }
    )* };
}

reads_as_its_view!(ReadGuard<'_, VmaEntry>, Snapshot<VmaEntry>);

impl<L: RawMutex + Send + Sync + 'static> VmaStore for MapleStore<L> {
    type Reader<'s> = Reader<'s, VmaEntry>;
    type Section<'r> = ReadGuard<'r, VmaEntry>;
    type Write<'s> = MapleWrite<'s, L>;

    fn new(state: MmState) -> Result<Self, AllocError> {
        let vmas = Slab::new()?;
        Ok(Self {
            tree: MapleTree::new()?,
            protected: UnsafeCell::new(Protected { vmas, state }),
            is_slab_low: AtomicBool::new(true),
        })
    }

    fn reader(&self) -> Result<Reader<'_, VmaEntry>, AllocError> {
        self.tree.reader()
    }

    #[inline]
    fn read_lock<'r>(reader: &'r Reader<'_, VmaEntry>) -> ReadGuard<'r, VmaEntry> {
        reader.read_lock()
    }

    fn renew<'r>(reader: &'r Reader<'_, VmaEntry>, section: ReadGuard<'r, VmaEntry>) -> ReadGuard<'r, VmaEntry> {
        drop(section);
        reader.read_lock()
    }

    fn write(&self, vmas: usize, _: &Call) -> Result<MapleWrite<'_, L>, AllocError> {
        let mut chunks = Vec::new();
        // Relaxed: a hint. Memory is taken without the lock; where there is none the writer that needs it will say so.
        if self.is_slab_low.load(Ordering::Relaxed) {
            let _ = fetch(&mut chunks, 1);
        }
        loop {
            let mut write = MapleWrite {
                store: self,
                write: self.tree.write(),
            };
            let slab = &mut write.protected_mut().vmas;
            chunks.drain(..).for_each(|chunk| slab.add(chunk));
            // Relaxed: a hint.
            self.is_slab_low.store(slab.is_low(), Ordering::Relaxed);
            if !slab.is_below(vmas) {
                return Ok(write);
            }
            drop(write);
            fetch(&mut chunks, vmas)?;
        }
    }

    fn trim(&self, call: &Call) {
        while self.tree.rcu().reap() {}
        self.tree.trim();
        // For none it does not fail.
        if let Ok(mut write) = self.write(0, call) {
            write.protected_mut().vmas.trim();
        }
    }
}

/// Takes memory for so many VMAs.
fn fetch(chunks: &mut Vec<NewSlab<Node>>, vmas: usize) -> Result<(), AllocError> {
    for _ in 0..vmas.div_ceil(Slab::<Node>::OF_A_CHUNK) {
        chunks.try_reserve(1).map_err(|_| AllocError)?;
        chunks.push(NewSlab::new()?);
    }
    Ok(())
}

impl<L: RawMutex + Send + Sync + 'static> SnapshotStore for MapleStore<L> {
    type Snapshot = Snapshot<VmaEntry>;

    fn snapshot(&self, _: &Call) -> Result<Snapshot<VmaEntry>, AllocError> {
        self.tree.snapshot()
    }
}

/// The tree's lock, held, with a transaction.
pub struct MapleWrite<'s, L: RawMutex = DefaultLock> {
    store: &'s MapleStore<L>,
    write: Write<'s, VmaEntry, RcuDomain, L>,
}

impl<L: RawMutex> MapleWrite<'_, L> {
    fn protected(&self) -> &Protected {
        // SAFETY: this holds the lock, and lends it mutably by `&mut self` only.
        unsafe { &*self.store.protected.get() }
    }

    fn protected_mut(&mut self) -> &mut Protected {
        // SAFETY: as above.
        unsafe { &mut *self.store.protected.get() }
    }
}

impl<L: RawMutex> VmaRead for MapleWrite<'_, L> {
    fn find(&self, addr: u64) -> Option<&Vma> {
        VmaRead::find(&*self.write, addr)
    }

    fn find_prev(&self, addr: u64) -> Option<&Vma> {
        VmaRead::find_prev(&*self.write, addr)
    }

    fn iter_from(&self, addr: u64) -> impl Iterator<Item = &Vma> {
        VmaRead::iter_from(&*self.write, addr)
    }
}

impl<L: RawMutex> VmaWrite for MapleWrite<'_, L> {
    fn state(&self) -> &MmState {
        &self.protected().state
    }

    fn state_mut(&mut self) -> &mut MmState {
        &mut self.protected_mut().state
    }

    fn empty_area(&self, size: u64, limits: Range<u64>, align: u64) -> Option<u64> {
        self.write.empty_area(size, limits, align)
    }

    fn empty_area_rev(&self, size: u64, limits: Range<u64>, align: u64) -> Option<u64> {
        self.write.empty_area_rev(size, limits, align)
    }

    fn replace(&mut self, range: Range<u64>, vmas: [Option<Vma>; 3]) -> Result<(), Shortage> {
        if !self.has_room(vmas.len()) {
            return Err(Shortage::Vmas(vmas.len()));
        }
        let slab = &mut self.protected_mut().vmas;
        let entries = vmas.map(|vma| {
            let vma = vma?;
            let last = vma.range().end - 1;
            let range = vma.range().start..=last;
            let birth = AtomicU64::new(0);
            let Ok(node) = slab.put(Node { birth, vma }) else {
                unreachable!("there is room");
            };
            Some((range, VmaEntry(node)))
        });
        let exchanged = self.write.exchange(range, entries).map(|_| ());
        exchanged.map_err(|error| {
            // The VMAs are in the range, and nothing reaches out of it.
            debug_assert!(error.cause == InsertErrorKind::AllocError);
            Shortage::Memory
        })
    }

    fn has_room(&mut self, vmas: usize) -> bool {
        !self.protected_mut().vmas.is_below(vmas)
    }

    fn commit(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        // Superseded before they are unreachable: who finds such a one in the tree looks again, or waits for the lock.
        let supersede = |displaced: Displaced<'_, VmaEntry>| {
            displaced.for_each(|(_, vma)| vma.supersede());
            before();
        };
        self.write.commit_with(supersede, |_| after());
    }

    fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        self.write.iter().for_each(|(_, vma)| vma.supersede());
        before();
        self.write.destroy();
        after();
        // SAFETY: it stays in its place, and there is no edit under way.
        unsafe { self.write.updater() }.flush();
    }
}
