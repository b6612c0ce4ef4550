//! VMAs in a maple tree, freed by RCU: the part that two designs share.
//!
//! VMAs come from a slab of the store, and return there when no reader can hold them. So neither
//! writers nor readers use the global allocator after the store has warmed up.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lock_api::RawMutex;
use maple_tree::{Entry, InsertErrorKind, MapleTree, View, Write};
use vmaple_rcu::{AllocError, RcuDomain};

use super::slab::{NewSlab, Slab, SlabBox, Slot};
use super::{Shortage, VmaRead};
use crate::addr::{VirtAddr, VirtRange};
use crate::mm::MmState;
use crate::vma::Vma;

/// A value in the tree: a VMA, and whatever a design keeps with it.
pub(crate) trait Held: Send + Sync + 'static {
    fn vma(&self) -> &Vma;
}

impl Held for Vma {
    #[inline]
    fn vma(&self) -> &Vma {
        self
    }
}

/// A VMA, and the era in which it was published.
struct Node<T> {
    birth: AtomicU64,
    held: T,
}

/// An entry of the tree: an owned VMA.
pub struct VmaEntry<T = Vma>(SlabBox<Node<T>>);

impl<T: Held> fmt::Debug for VmaEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.held.vma().fmt(f)
    }
}

// SAFETY: a box is a pointer, and lends shared references; its birth is noted once, before it is
// published.
unsafe impl<T: Send + Sync + 'static> Entry for VmaEntry<T> {
    type Stamp = ();
    type Borrowed<'a> = &'a T;
    const BYTES: usize = size_of::<Slot<Node<T>>>();

    fn into_raw(self) -> NonNull<()> {
        self.0.into_raw()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: the same contract.
        Self(unsafe { SlabBox::from_raw(raw) })
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> &'a T {
        // SAFETY: the same contract.
        &unsafe { SlabBox::<Node<T>>::borrow(raw) }.held
    }

    unsafe fn note_birth(raw: NonNull<()>, birth: u64) {
        // SAFETY: the same contract.
        let node = unsafe { SlabBox::<Node<T>>::borrow(raw) };
        // Relaxed: the tree's publishing store comes after.
        node.birth.store(birth, Ordering::Relaxed);
    }

    unsafe fn birth(raw: NonNull<()>, (): ()) -> u64 {
        // SAFETY: the same contract.
        let node = unsafe { SlabBox::<Node<T>>::borrow(raw) };
        // Relaxed: the writers' lock orders it.
        node.birth.load(Ordering::Relaxed)
    }
}

impl<T: Held> VmaRead for View<VmaEntry<T>> {
    #[inline]
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        Self::find(self, addr.0).map(|(_, held)| held.vma())
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        self.find_rev(addr.0.checked_sub(1)?).map(|(_, held)| held.vma())
    }

    #[inline]
    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        self.range(addr.0..).map(|(_, held)| held.vma())
    }
}

/// The other state that the tree's lock protects.
struct Protected<T> {
    vmas: Slab<Node<T>>,
    state: MmState,
}

/// The tree, with memory for its VMAs. `L` is its lock.
///
/// # Invariants
/// Only the holder of the tree's lock touches `protected`.
pub(super) struct VmaTree<T: Held, L: RawMutex> {
    pub(super) tree: MapleTree<VmaEntry<T>, RcuDomain, L>,
    protected: UnsafeCell<Protected<T>>,
    /// Whether the next writer is to add memory for VMAs.
    is_slab_low: AtomicBool,
}

// SAFETY: by the type's invariant a lock protects the cell; the tree is Sync itself.
unsafe impl<T: Held, L: RawMutex + Send + Sync> Sync for VmaTree<T, L> {}

impl<T: Held, L: RawMutex> VmaTree<T, L> {
    pub(super) fn new(state: MmState) -> Result<Self, AllocError> {
        let vmas = Slab::new()?;
        Ok(Self {
            tree: MapleTree::new()?,
            protected: UnsafeCell::new(Protected { vmas, state }),
            is_slab_low: AtomicBool::new(true),
        })
    }

    /// Takes another lock by `lock` and then the tree's, with memory for `vmas` new VMAs.
    ///
    /// The memory is allocated without either lock.
    pub(super) fn write<G>(
        &self,
        vmas: usize,
        mut lock: impl FnMut() -> G,
    ) -> Result<(G, VmaTreeWrite<'_, T, L>), AllocError> {
        let mut chunks = Vec::new();
        // Relaxed: a hint. If there is no memory, the writer that needs it fails later.
        if self.is_slab_low.load(Ordering::Relaxed) {
            let _ = fetch::<T>(&mut chunks, 1);
        }
        loop {
            let guard = lock();
            let mut write = VmaTreeWrite {
                tree: self,
                write: self.tree.write(),
            };
            let slab = &mut write.protected_mut().vmas;
            chunks.drain(..).for_each(|chunk| slab.add(chunk));
            // Relaxed: a hint.
            self.is_slab_low.store(slab.is_low(), Ordering::Relaxed);
            if !slab.is_below(vmas) {
                return Ok((guard, write));
            }
            drop(guard);
            drop(write);
            fetch::<T>(&mut chunks, vmas)?;
        }
    }

    /// Frees unused memory.
    pub(super) fn trim(&self) {
        while self.tree.rcu().reap() {}
        self.tree.trim();
        // With 0 VMAs it cannot fail.
        if let Ok(((), mut write)) = self.write(0, || ()) {
            write.protected_mut().vmas.trim();
        }
    }
}

/// Allocates memory for `vmas` VMAs.
fn fetch<T>(chunks: &mut Vec<NewSlab<Node<T>>>, vmas: usize) -> Result<(), AllocError> {
    for _ in 0..vmas.div_ceil(Slab::<Node<T>>::OF_A_CHUNK) {
        chunks.try_reserve(1).map_err(|_| AllocError)?;
        chunks.push(NewSlab::new()?);
    }
    Ok(())
}

/// The tree's lock, held, with a transaction.
pub(super) struct VmaTreeWrite<'s, T: Held, L: RawMutex> {
    tree: &'s VmaTree<T, L>,
    pub(super) write: Write<'s, VmaEntry<T>, RcuDomain, L>,
}

impl<T: Held, L: RawMutex> VmaTreeWrite<'_, T, L> {
    fn protected(&self) -> &Protected<T> {
        // SAFETY: this holds the lock, and lends it mutably by `&mut self` only.
        unsafe { &*self.tree.protected.get() }
    }

    fn protected_mut(&mut self) -> &mut Protected<T> {
        // SAFETY: as above.
        unsafe { &mut *self.tree.protected.get() }
    }

    pub(super) fn state(&self) -> &MmState {
        &self.protected().state
    }

    pub(super) fn state_mut(&mut self) -> &mut MmState {
        &mut self.protected_mut().state
    }

    pub(super) fn has_room(&mut self, vmas: usize) -> bool {
        !self.protected_mut().vmas.is_below(vmas)
    }

    /// Replaces VMAs as [`VmaWrite::replace`](super::VmaWrite::replace); `hold` turns each into a
    /// value of the tree.
    pub(super) fn replace(
        &mut self,
        range: VirtRange,
        vmas: &mut [Option<Vma>; 3],
        hold: impl Fn(Vma) -> T,
    ) -> Result<(), Shortage> {
        if !self.has_room(vmas.len()) {
            return Err(Shortage::Vmas(vmas.len()));
        }
        let slab = &mut self.protected_mut().vmas;
        let entries = vmas.each_mut().map(|vma| {
            let vma = vma.take()?;
            let VirtRange { start, end } = vma.range();
            let range = start.0..=end.0 - 1;
            let birth = AtomicU64::new(0);
            let held = hold(vma);
            let Ok(node) = slab.put(Node { birth, held }) else {
                unreachable!("there is room");
            };
            Some((range, VmaEntry(node)))
        });
        let exchanged = self.write.exchange(range.start.0..range.end.0, entries).map(|_| ());
        exchanged.map_err(|error| {
            // The VMAs lie in the range, and no VMA reaches out of it.
            debug_assert!(error.cause == InsertErrorKind::AllocError);
            Shortage::Memory
        })
    }

    /// Removes all VMAs and publishes that, between `before` and `after`.
    pub(super) fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        before();
        self.write.destroy();
        after();
        // SAFETY: it stays in its place, and there is no edit under way.
        unsafe { self.write.updater() }.flush();
    }
}
