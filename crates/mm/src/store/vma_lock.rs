//! Linux v6.17: VMAs in a maple tree, freed by RCU, each with a lock.
//!
//! A reader holds that lock while it produces a line of maps. In the kernels of 2026 a reader of
//! smaps holds it too, while it walks the page tables. The smaps of v6.17 itself holds `mmap_lock`:
//! where "v6.17" stands over figures of smaps, the model is a later kernel, whose readers hold
//! less.
//!
//! A reader walks the tree without a lock and locks one VMA at a time. A writer of that VMA sleeps
//! until the reader has left it, and holds `mmap_lock` while it sleeps: the problem of the talk is
//! smaller, but it is there. A reader that finds its VMA locked by a writer takes `mmap_lock` while
//! it locks the VMA that is there then. So it waits for writers, and they for it.
//!
//! # Waiting
//! The stopped thread (rows), and the threads that then wait (columns):
//!
//! | stopped | a writer of that VMA | another writer | a reader of that VMA | another reader |
//! |---|---|---|---|---|
//! | a reader that has found a VMA | **yes** | no | no | no |
//! | the same, a writer waiting for it | **yes** | **yes** | **yes** | only of a VMA that the writer has locked already |
//! | a reader of the whole address space ([`mmap_read_lock`](VmaStore::mmap_read_lock)) | **yes** | **yes** | no | no |
//! | the same, a writer waiting for it | **yes** | **yes** | no | only of the whole address space |
//! | a reader that has fallen back, with `mmap_lock` | **yes** | **yes** | no | no |
//! | a reader between two sections | no | no | no | no |
//! | a writer in a call | **yes** | **yes** | **yes**, of what it takes out and of what it puts in | only of the whole address space |
//!
//! A page fault is a reader of its VMA. The first write to a mapping looks at its neighbours
//! (`LOCKS_VMAS`), and so is a reader of the whole address space. The last user that goes is a
//! writer of every VMA. In Linux a reader is a user of the address space while it
//! reads (`mmget_not_zero`), so a process that exits does not wait for it: the reader tears the
//! address space down when it ends (`exit_mmap`), and the memory stays until then. That is not
//! modelled.
//!
//! A thread that holds a VMA in one section must not write, not search in another section, and not
//! take `mmap_lock`: a writer may wait for it with `mmap_lock`.
//!
//! # Where it differs from Linux
//! - VMAs are immutable: a writer replaces the VMA that it has locked. The new one is locked until
//!   the writer releases `mmap_lock`, as in Linux (`vm_lock_seq`); the old one for ever.
//! - A writer locks after everything that can fail. Linux locks as it goes, and a call that fails
//!   has locked for nothing.
//! - A reader finds each VMA by its address, in the newest version. Linux goes on from the leaf
//!   that it has reached. That is some tens of nanoseconds more between two locks.
//! - A section keeps all that it has found, and so in memory all VMAs removed since it started.
//!   Readers in Linux leave RCU to sleep.
//!
//! # Ordering
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | `mm_lock_seq`, made odd | a writer that has taken `mmap_lock` | Relaxed | ordered by the root's Release store: a reader that finds the new VMA finds it odd, or later |
//! | `mm_lock_seq`, made even | a writer that is about to release it | Release | Acquire of the reader that checks whether a VMA is locked: it finds all that the writer did |
//!
//! The VMAs' locks have a table of their own, in `vm_refcnt.rs`.

use core::cell::Cell;
use core::fmt;
use core::ptr::{self, NonNull};

use lock_api::{RawMutex, RawRwLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use maple_tree::{DefaultLock, Displaced, ReadGuard, Reader, View};
use vmaple_rcu::{AllocError, RcuDomain};

use super::rwsem::{Contended, RwSem};
use super::tree::{Held, VmaEntry, VmaTree, VmaTreeWrite};
use super::vm_refcnt::{Refused, VmRefcnt};
use super::{Call, Sealed, Shortage, VmaRead, VmaStore, VmaWrite};
use crate::addr::{VirtAddr, VirtRange};
use crate::fail_point;
use crate::mm::{ChangeCounter, MmState};
use crate::vma::Vma;

/// A VMA and its lock.
struct LockedVma {
    vm_refcnt: VmRefcnt,
    /// [`mm_lock_seq`](VmaLockStore::mm_lock_seq) of the writer that inserted it: while it is the
    /// same, the VMA is locked.
    vm_lock_seq: u64,
    vma: Vma,
}

impl LockedVma {
    /// Waits for its readers, and marks it as replaced.
    fn start_write(&self) {
        self.vm_refcnt.start_write();
        self.vma.supersede();
    }
}

impl Held for LockedVma {
    fn vma(&self) -> &Vma {
        &self.vma
    }
}

type Entry = VmaEntry<LockedVma>;

/// A search for a VMA by an address.
type Find = fn(&View<Entry>, VirtAddr) -> Option<&LockedVma>;

/// VMAs with a lock each, as in Linux v6.17. `W` is `mmap_lock`. `L` is the lock of the tree, which
/// is taken under it only.
///
/// A writer waits for the writers before it, for readers of the VMAs that it replaces, and for
/// readers of the whole address space. A reader of a VMA that a writer replaces waits for that
/// writer, and so for all that the writer waits for.
#[doc(alias = "CONFIG_PER_VMA_LOCK")]
pub struct VmaLockStore<W: RawRwLock = RwSem, L: RawMutex = DefaultLock> {
    vmas: VmaTree<LockedVma, L>,
    mmap_lock: RwLock<W, ()>,
    /// Odd while a writer has `mmap_lock`.
    mm_lock_seq: ChangeCounter,
}

impl<W: RawRwLock, L: RawMutex> VmaLockStore<W, L> {
    /// Returns the RCU domain that frees its memory, with the counts of what is deferred and for
    /// which reader.
    pub fn rcu(&self) -> &RcuDomain {
        self.vmas.tree.rcu()
    }
}

impl<W: RawRwLock, L: RawMutex> Sealed for VmaLockStore<W, L> {}

impl<W: RawRwLock, L: RawMutex> Sealed for VmaLockWrite<'_, W, L> {}

impl<W, L> VmaStore for VmaLockStore<W, L>
where
    W: Contended + Send + Sync + 'static,
    L: RawMutex + Send + Sync + 'static,
{
    type Reader<'s> = VmaLockReader<'s, W, L>;
    type Section<'r> = VmaLockSection<'r, W, L>;
    type Write<'s> = VmaLockWrite<'s, W, L>;

    const LOCKS_VMAS: bool = true;

    fn new(state: MmState) -> Result<Self, AllocError> {
        Ok(Self {
            vmas: VmaTree::new(state)?,
            mmap_lock: RwLock::new(()),
            mm_lock_seq: ChangeCounter::new(),
        })
    }

    fn reader(&self) -> Result<VmaLockReader<'_, W, L>, AllocError> {
        Ok(VmaLockReader {
            tree: self.vmas.tree.reader()?,
            store: self,
        })
    }

    fn read_lock<'r>(reader: &'r VmaLockReader<'_, W, L>) -> VmaLockSection<'r, W, L> {
        VmaLockSection::new(reader, None)
    }

    fn mmap_read_lock<'r>(reader: &'r VmaLockReader<'_, W, L>) -> VmaLockSection<'r, W, L> {
        VmaLockSection::new(reader, Some(reader.store.mmap_lock.read()))
    }

    /// Releases the VMA a step early, and what the section keeps in memory. Releases `mmap_lock` if
    /// a thread waits for it, as smaps_rollup does since 5.9.
    fn renew<'r>(reader: &'r VmaLockReader<'_, W, L>, section: VmaLockSection<'r, W, L>) -> VmaLockSection<'r, W, L> {
        if section.mmap_lock.is_none() {
            drop(section);
            return Self::read_lock(reader);
        }
        // SAFETY: it is only asked whether it is contended.
        if !unsafe { reader.store.mmap_lock.raw() }.is_contended() {
            return section;
        }
        drop(section);
        Self::mmap_read_lock(reader)
    }

    fn write(&self, vmas: usize, _: &Call) -> Result<VmaLockWrite<'_, W, L>, AllocError> {
        let (mmap_lock, write) = self.vmas.write(vmas, || {
            let held = self.mmap_lock.write();
            self.mm_lock_seq.begin();
            MmapWriteLock {
                mm_lock_seq: &self.mm_lock_seq,
                _held: held,
            }
        })?;
        Ok(VmaLockWrite { mmap_lock, write })
    }

    fn trim(&self, _: &Call) {
        self.vmas.trim();
    }
}

/// A reader's handle.
pub struct VmaLockReader<'s, W: RawRwLock = RwSem, L: RawMutex = DefaultLock> {
    tree: Reader<'s, Entry>,
    store: &'s VmaLockStore<W, L>,
}

/// The lock of one VMA, held for reading.
///
/// # Invariants
/// The VMA stays in memory while this lives.
struct ReadLocked(NonNull<VmRefcnt>);

impl Drop for ReadLocked {
    fn drop(&mut self) {
        // SAFETY: by the type's invariant.
        unsafe { self.0.as_ref() }.end_read();
    }
}

/// A reader with the lock of the VMA that it found last, until it looks for the next one or ends.
///
/// A reader of [the whole address space](VmaStore::mmap_read_lock) has `mmap_lock` instead. Each
/// VMA that is found is part of the address space while it is locked, and stays in memory while the
/// section lives.
pub struct VmaLockSection<'r, W: RawRwLock = RwSem, L: RawMutex = DefaultLock> {
    /// Before `_outer`, which keeps the VMA: fields drop in this order.
    held: Cell<Option<ReadLocked>>,
    mmap_lock: Option<RwLockReadGuard<'r, W, ()>>,
    /// Keeps the VMAs found in sections inside it.
    _outer: ReadGuard<'r, Entry>,
    reader: &'r VmaLockReader<'r, W, L>,
}

impl<'r, W: RawRwLock, L: RawMutex> VmaLockSection<'r, W, L> {
    fn new(reader: &'r VmaLockReader<'_, W, L>, mmap_lock: Option<RwLockReadGuard<'r, W, ()>>) -> Self {
        Self {
            held: Cell::new(None),
            mmap_lock,
            _outer: reader.tree.read_lock(),
            reader,
        }
    }

    /// Searches the newest version.
    fn look(&self, find: Find, addr: VirtAddr) -> Option<&LockedVma> {
        let newest = self.reader.tree.read_lock();
        let found: *const LockedVma = find(&newest, addr)?;
        // SAFETY: the sections of a reader nest: what one has found stays until the outermost ends,
        // and `_outer` is open.
        Some(unsafe { &*found })
    }

    /// Locks a VMA that it has [found](Self::look).
    #[doc(alias = "vma_start_read")]
    fn start_read(&self, found: &LockedVma) -> Result<ReadLocked, Refused> {
        // If it is seen unlocked once, it is: the number does not return.
        if found.vm_lock_seq == self.reader.store.mm_lock_seq.read() {
            return Err(Refused::WriteLocked);
        }
        found.vm_refcnt.start_read()?;
        // INVARIANT: this section keeps the lock, and the VMA longer.
        Ok(ReadLocked(NonNull::from(&found.vm_refcnt)))
    }

    /// Finds a VMA and locks it, under `mmap_lock` if a writer has it.
    #[doc(alias = "lock_next_vma")]
    fn lock(&self, find: Find, addr: VirtAddr) -> Option<&Vma> {
        drop(self.held.take());
        if self.mmap_lock.is_some() {
            return self.look(find, addr).map(Held::vma);
        }
        let mm_lock_seq = &self.reader.store.mm_lock_seq;
        loop {
            let before = mm_lock_seq.read();
            let found = self.look(find, addr)?;
            fail_point::reach("vma lock: found");
            let locked = match self.start_read(found) {
                Ok(locked) => locked,
                // A writer was faster: progress was made each time.
                Err(Refused::Detached) => continue,
                Err(Refused::WriteLocked) => return self.lock_under_mmap_lock(find, addr),
            };
            // A gap before the VMA may have been filled since. Such a gap must not be reported.
            let is_unchanged = || before.is_multiple_of(2) && mm_lock_seq.read() == before;
            let is_newest = || self.look(find, addr).is_some_and(|newest| ptr::eq(newest, found));
            if !found.vma.range().contains(addr) && !is_unchanged() && !is_newest() {
                drop(locked);
                return self.lock_under_mmap_lock(find, addr);
            }
            self.held.set(Some(locked));
            return Some(&found.vma);
        }
    }

    /// Does the same after a lost race, under `mmap_lock`: no writer is in a call while it
    /// searches.
    #[doc(alias = "lock_next_vma_under_mmap_lock")]
    #[cold]
    fn lock_under_mmap_lock(&self, find: Find, addr: VirtAddr) -> Option<&Vma> {
        fail_point::reach("vma lock: lost the race");
        let _mmap_lock = self.reader.store.mmap_lock.read();
        let found = self.look(find, addr)?;
        let Ok(locked) = self.start_read(found) else {
            unreachable!("only the holder of mmap_lock locks for writing");
        };
        self.held.set(Some(locked));
        Some(&found.vma)
    }
}

impl<W: RawRwLock, L: RawMutex> VmaRead for VmaLockSection<'_, W, L> {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        self.lock(find, addr)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        self.lock(find_rev, addr.checked_sub(1)?)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        let mut from = Some(addr);
        core::iter::from_fn(move || {
            let vma = self.lock(find, from?);
            from = vma.map(|vma| vma.range().end);
            vma
        })
    }
}

fn find(view: &View<Entry>, addr: VirtAddr) -> Option<&LockedVma> {
    view.find(addr.0).map(|(_, found)| found)
}

fn find_rev(view: &View<Entry>, addr: VirtAddr) -> Option<&LockedVma> {
    view.find_rev(addr.0).map(|(_, found)| found)
}

/// `mmap_lock`, held for writing. VMAs inserted under it are locked until it is released.
struct MmapWriteLock<'s, W: RawRwLock> {
    mm_lock_seq: &'s ChangeCounter,
    _held: RwLockWriteGuard<'s, W, ()>,
}

impl<W: RawRwLock> Drop for MmapWriteLock<'_, W> {
    #[doc(alias = "vma_end_write_all")]
    fn drop(&mut self) {
        self.mm_lock_seq.end();
    }
}

/// `mmap_lock`, held for writing, with a transaction.
pub struct VmaLockWrite<'s, W: RawRwLock = RwSem, L: RawMutex = DefaultLock> {
    /// Released before the tree, which is undone and frees memory without it.
    mmap_lock: MmapWriteLock<'s, W>,
    write: VmaTreeWrite<'s, LockedVma, L>,
}

impl<W: RawRwLock, L: RawMutex> VmaRead for VmaLockWrite<'_, W, L> {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        VmaRead::find(&*self.write.write, addr)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        VmaRead::find_prev(&*self.write.write, addr)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        VmaRead::iter_from(&*self.write.write, addr)
    }
}

impl<W: RawRwLock, L: RawMutex> VmaWrite for VmaLockWrite<'_, W, L> {
    fn state(&self) -> &MmState {
        self.write.state()
    }

    fn state_mut(&mut self) -> &mut MmState {
        self.write.state_mut()
    }

    fn empty_area(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        let start = self.write.write.empty_area(size, limits.start.0..limits.end.0, align);
        start.map(VirtAddr)
    }

    fn empty_area_rev(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        let start = self
            .write
            .write
            .empty_area_rev(size, limits.start.0..limits.end.0, align);
        start.map(VirtAddr)
    }

    fn replace(&mut self, range: VirtRange, vmas: &mut [Option<Vma>; 3]) -> Result<(), Shortage> {
        let vm_lock_seq = self.mmap_lock.mm_lock_seq.read();
        self.write.replace(range, vmas, |vma| LockedVma {
            vm_refcnt: VmRefcnt::new(),
            vm_lock_seq,
            vma,
        })
    }

    fn has_room(&mut self, vmas: usize) -> bool {
        self.write.has_room(vmas)
    }

    /// Waits for the readers of the VMAs that are replaced. Cannot fail.
    fn commit(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        let lock = |displaced: Displaced<'_, Entry>| {
            displaced.for_each(|(_, found)| found.start_write());
            before();
        };
        let detach = |displaced: Displaced<'_, Entry>| {
            displaced.for_each(|(_, found)| found.vm_refcnt.detach());
            after();
        };
        self.write.write.commit_with(lock, detach);
    }

    /// Waits for the readers of all VMAs. They stay locked: a reader that comes to one looks again
    /// under `mmap_lock`.
    fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        self.write.write.iter().for_each(|(_, found)| found.start_write());
        self.write.clear(before, after);
    }
}

impl<W: RawRwLock, L: RawMutex> fmt::Debug for VmaLockStore<W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmaLockStore").finish_non_exhaustive()
    }
}

impl<W: RawRwLock, L: RawMutex> fmt::Debug for VmaLockReader<'_, W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmaLockReader").finish_non_exhaustive()
    }
}

impl<W: RawRwLock, L: RawMutex> fmt::Debug for VmaLockSection<'_, W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmaLockSection").finish_non_exhaustive()
    }
}

/// The mappings that it sees.
impl<W: RawRwLock, L: RawMutex> fmt::Debug for VmaLockWrite<'_, W, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter_from(VirtAddr(0))).finish()
    }
}
