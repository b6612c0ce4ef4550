//! The stores of VMAs: the one seam between designs. A store decides who waits for whom.
//!
//! All else is shared, so that a comparison of two stores shows locking and index alone.

mod maple;
#[cfg(feature = "std")]
mod rb;
#[cfg(feature = "std")]
pub(crate) mod rwsem;
mod slab;
mod tree;
#[cfg(feature = "std")]
mod vm_refcnt;
#[cfg(feature = "std")]
mod vma_lock;

use vmaple_rcu::AllocError;

use crate::addr::{VirtAddr, VirtRange};
use crate::mm::MmState;
use crate::vma::Vma;

pub use maple::{MapleReader, MapleStore, MapleWrite};
#[cfg(feature = "std")]
pub use rb::{RbSection, RbStore, RbWrite};
pub use tree::VmaEntry;
#[cfg(feature = "std")]
pub use vma_lock::{VmaLockReader, VmaLockSection, VmaLockStore, VmaLockWrite};

/// A reader's view of the VMAs.
///
/// It is one state of the address space. In a `VmaLockSection` each VMA is of a state of its own.
pub trait VmaRead {
    /// Returns the first VMA that ends above `addr`.
    #[doc(alias = "find_vma")]
    fn find(&self, addr: VirtAddr) -> Option<&Vma>;

    /// Returns the last VMA that starts below `addr`.
    #[doc(alias = "find_vma_prev")]
    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma>;

    /// Iterates over the VMAs that end above `addr`, ascending.
    #[doc(alias = "for_each_vma")]
    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma>;
}

impl<V: VmaRead> VmaRead for &V {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        (**self).find(addr)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        (**self).find_prev(addr)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        (**self).iter_from(addr)
    }
}

/// Seals [`VmaStore`]: only the designs of this crate implement it, and wrappers in this project's
/// tests.
///
/// It is no part of the interface, and changes with any release.
#[doc(hidden)]
pub trait Sealed {}

/// The VMAs of an address space, with the lock of its writers.
///
/// Sealed: a store does to a VMA what only this crate may do. The designs differ in who waits for
/// whom. An embedder chooses what an address space runs on by a [`Machine`](crate::Machine).
pub trait VmaStore: Sealed + Sized + Send + Sync + 'static {
    /// A reader's handle: one for each thread or open file.
    type Reader<'s>: Send
    where
        Self: 's;

    /// A read in progress. What the reader holds, it holds while this lives.
    type Section<'r>: VmaRead
    where
        Self: 'r;

    /// The writers' lock, held, with a transaction.
    type Write<'s>: VmaWrite
    where
        Self: 's;

    /// Makes a store without VMAs.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    fn new(state: MmState) -> Result<Self, AllocError>;

    /// Registers a reader.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    fn reader(&self) -> Result<Self::Reader<'_>, AllocError>;

    /// Starts to read.
    fn read_lock<'r>(reader: &'r Self::Reader<'_>) -> Self::Section<'r>;

    /// Whether a section holds only the VMA found last. Then a look at its neighbours takes
    /// [`mmap_read_lock`](Self::mmap_read_lock).
    const LOCKS_VMAS: bool = false;

    /// Starts to read with the lock of the whole address space, in a design where readers take one.
    fn mmap_read_lock<'r>(reader: &'r Self::Reader<'_>) -> Self::Section<'r> {
        Self::read_lock(reader)
    }

    /// Renews a section between two records, if no thread waits for it; else returns the same.
    fn renew<'r>(reader: &'r Self::Reader<'_>, section: Self::Section<'r>) -> Self::Section<'r> {
        let _ = reader;
        section
    }

    /// Takes the writers' lock, with memory for `vmas` new VMAs. It is allocated without the lock.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory. With 0 VMAs it cannot fail.
    fn write(&self, vmas: usize, call: &Call) -> Result<Self::Write<'_>, AllocError>;

    /// Frees unused memory, after the last VMA is gone.
    fn trim(&self, call: &Call);
}

/// Proof that the caller is a call of [`Mm`](crate::Mm), so that users of
/// [`MmRef::store`](crate::MmRef::store) cannot bypass the accounts:
///
/// ```compile_fail,E0423
/// use vmaple_mm::{Layout, Limits, Mm, VmaStore, store::Call};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default()).unwrap();
/// let write = mm.store().write(1, &Call(()));
/// ```
///
/// A sealed supertrait with these methods would not do: a bound `S: VmaStore` brings the methods of
/// its supertraits into scope.
#[derive(Debug)]
pub struct Call(pub(crate) ());

/// A transaction: edits that no reader sees before [`commit`](Self::commit), and that a drop
/// undoes.
///
/// It reads as the address space with its edits. Sealed, as [`VmaStore`].
pub trait VmaWrite: Sealed + VmaRead {
    /// Returns the other state that the writers' lock protects.
    fn state(&self) -> &MmState;

    /// Returns it mutably, for a call that cannot fail any more.
    fn state_mut(&mut self) -> &mut MmState;

    /// Returns the lowest multiple of `align` in `limits` with `size` free bytes.
    fn empty_area(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr>;

    /// Returns the highest multiple of `align` in `limits` with `size` free bytes.
    fn empty_area_rev(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr>;

    /// Replaces the VMAs in `range` by those that it takes out of `vmas`, which ascend and lie in
    /// `range`. No VMA reaches out of it.
    ///
    /// # Errors
    /// [`Shortage`]. Then the transaction can only be dropped.
    fn replace(&mut self, range: VirtRange, vmas: &mut [Option<Vma>; 3]) -> Result<(), Shortage>;

    /// Whether there is memory for `vmas` new VMAs.
    fn has_room(&mut self, vmas: usize) -> bool;

    /// Publishes the edits at one instant. Cannot fail.
    ///
    /// Calls `before` right before that instant and `after` right after. The lock stays held; there
    /// are no more edits.
    fn commit(&mut self, before: impl FnOnce(), after: impl FnOnce());

    /// Removes all VMAs and publishes that, as [`commit`](Self::commit). Needs no memory.
    fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce());
}

/// Why an edit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shortage {
    /// It needs memory for this many VMAs.
    Vmas(usize),
    /// There is no memory.
    Memory,
}

impl From<AllocError> for Shortage {
    fn from(_: AllocError) -> Self {
        Self::Memory
    }
}

/// A store that can keep a state for any time. Sealed, as [`VmaStore`].
pub trait SnapshotStore: VmaStore {
    /// One state of the address space.
    type Snapshot: VmaRead + Send;

    /// Takes a snapshot of the current state.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    fn snapshot(&self, call: &Call) -> Result<Self::Snapshot, AllocError>;
}
