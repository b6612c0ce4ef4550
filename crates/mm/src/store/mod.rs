//! Where the VMAs are, and who waits for whom: the one seam between designs. All else is shared, so that a comparison of two
//! stores shows locking and index alone.

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

/// VMAs to be read: of one state of the address space, but in a `VmaLockSection`, where each is of a state of its own.
pub trait VmaRead {
    /// The first VMA that ends above `addr`.
    #[doc(alias = "find_vma")]
    fn find(&self, addr: VirtAddr) -> Option<&Vma>;

    /// The last VMA that begins below `addr`.
    #[doc(alias = "find_vma_prev")]
    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma>;

    /// The VMAs that end above `addr`, ascending.
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

/// Who may be a store: the designs of this crate, and what this project's tests put around them. It is no part of the interface,
/// and changes with any release.
#[doc(hidden)]
pub trait Sealed {}

/// An address space's VMAs with the lock of its writers.
///
/// Sealed: a store of one's own would need what only this crate may do to a VMA. The designs differ in who waits for whom; what an address
/// space runs on is for an embedder to say, by a [`Machine`](crate::Machine).
pub trait VmaStore: Sealed + Sized + Send + Sync + 'static {
    /// What reads: one for each thread or open file.
    type Reader<'s>: Send
    where
        Self: 's;

    /// A reader between looking and having looked: what it holds, it holds while this lives.
    type Section<'r>: VmaRead
    where
        Self: 'r;

    /// The writers' lock, held, with a transaction.
    type Write<'s>: VmaWrite
    where
        Self: 's;

    /// A store without VMAs.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    fn new(state: MmState) -> Result<Self, AllocError>;

    /// Registers a reader.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    fn reader(&self) -> Result<Self::Reader<'_>, AllocError>;

    /// Begins to read.
    fn read_lock<'r>(reader: &'r Self::Reader<'_>) -> Self::Section<'r>;

    /// Whether a section holds the VMA alone that was found last, so that a look at its neighbours takes
    /// [`mmap_read_lock`](Self::mmap_read_lock).
    const LOCKS_VMAS: bool = false;

    /// Begins to read with the lock of the whole address space, where the design has one that readers take.
    fn mmap_read_lock<'r>(reader: &'r Self::Reader<'_>) -> Self::Section<'r> {
        Self::read_lock(reader)
    }

    /// Between two records: where a section is held that nobody waits for, one that begins now instead; else the same.
    fn renew<'r>(reader: &'r Self::Reader<'_>, section: Self::Section<'r>) -> Self::Section<'r> {
        let _ = reader;
        section
    }

    /// Takes the writers' lock, with memory for so many VMAs to come, which is asked for without the lock.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory; not for none.
    fn write(&self, vmas: usize, call: &Call) -> Result<Self::Write<'_>, AllocError>;

    /// Gives memory back that nothing uses, for whoever has taken everything out.
    fn trim(&self, call: &Call);
}

/// What only the calls of an address space have: whoever looks at one cannot write past its accounts.
#[derive(Debug)]
pub struct Call(pub(crate) ());

/// Edits that nobody sees until [`commit`](Self::commit), and that are undone when it is dropped without. It reads as the
/// address space with its edits. Sealed, as [`VmaStore`] is.
pub trait VmaWrite: Sealed + VmaRead {
    /// What the writers' lock protects besides.
    fn state(&self) -> &MmState;

    /// The same, to be changed once nothing can fail any more.
    fn state_mut(&mut self) -> &mut MmState;

    /// The lowest free address for so many bytes at a multiple of `align` inside of `limits`.
    fn empty_area(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr>;

    /// The highest.
    fn empty_area_rev(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr>;

    /// Puts `vmas`, which ascend and lie in `range`, in the place of the VMAs in `range`, none of which reaches out of it.
    ///
    /// # Errors
    /// [`Shortage`]; nothing but dropping is to be done with it then.
    fn replace(&mut self, range: VirtRange, vmas: [Option<Vma>; 3]) -> Result<(), Shortage>;

    /// Whether there is memory for so many VMAs.
    fn has_room(&mut self, vmas: usize) -> bool;

    /// Publishes the edits at one instant, for which `before` and `after` are called right before and after. Cannot fail. The lock
    /// stays held, and there are no more edits.
    fn commit(&mut self, before: impl FnOnce(), after: impl FnOnce());

    /// Takes everything out and publishes that, as [`commit`](Self::commit) does; needs no memory.
    fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce());
}

/// Why an edit could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shortage {
    /// It takes so many VMAs.
    Vmas(usize),
    /// There is no memory.
    Memory,
}

impl From<AllocError> for Shortage {
    fn from(_: AllocError) -> Self {
        Self::Memory
    }
}

/// A store that can lend a state for as long as one likes. Sealed, as [`VmaStore`] is.
pub trait SnapshotStore: VmaStore {
    /// One state of the address space.
    type Snapshot: VmaRead + Send;

    /// The state of now.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    fn snapshot(&self, call: &Call) -> Result<Self::Snapshot, AllocError>;
}
