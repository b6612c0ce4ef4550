//! The address space: its users, and those who only look at it.

use core::fmt;
use core::ops::{Deref, Range};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use vmaple_rcu::RcuDomain;

use crate::attached::Attached;
use crate::change::ChangeCounter;
use crate::error::{Errno, Error};
use crate::kref::Kref;
use crate::layout::Layout;
use crate::limits::Limits;
use crate::machine::{Machine, Soft};
use crate::pending::Pending;
use crate::pgtable::{Arch, Frames, PageTables, Ram, Walker};
use crate::state::MmState;
use crate::store::{Call, MapleStore, VmaStore, VmaWrite};
use crate::transaction::{Accounts, Failure, Transaction};
use crate::vma::AnonVma;

/// Pages of an address space by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmStat {
    /// All.
    pub total: u64,
    /// Private and writable, no stack (`data_vm`).
    pub data: u64,
    /// Executable and not writable, no stack (`exec_vm`).
    pub exec: u64,
    /// Of mappings that grow down (`stack_vm`).
    pub stack: u64,
    /// The most that there have been at a time (`hiwater_vm`).
    pub peak: u64,
}

/// What users and references share.
pub(crate) struct MmStruct<S: VmaStore, M: Machine> {
    pub(crate) store: S,
    pub(crate) tables: PageTables<M>,
    pub(crate) pending: Pending,
    pub(crate) layout: Layout,
    pub(crate) change: ChangeCounter,
    /// Users ([`Mm`]): the address space is torn down with the last.
    users: AtomicUsize,
    /// Written by the holder of the writers' lock, Relaxed: counts of their own, of which readers want the latest.
    map_count: AtomicUsize,
    total_vm: AtomicU64,
    data_vm: AtomicU64,
    exec_vm: AtomicU64,
    stack_vm: AtomicU64,
    peak_vm: AtomicU64,
    /// The end of the heap, in bytes.
    brk: AtomicU64,
    /// Snapshots that are open.
    pub(crate) snapshots: AtomicUsize,
    next_anon_vma: AtomicU64,
}

impl<S: VmaStore, M: Machine> MmStruct<S, M> {
    /// For the holder of the writers' lock.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts {
            map_count: self.map_count.load(Ordering::Relaxed),
            total_vm: self.total_vm.load(Ordering::Relaxed),
            data_vm: self.data_vm.load(Ordering::Relaxed),
            exec_vm: self.exec_vm.load(Ordering::Relaxed),
            stack_vm: self.stack_vm.load(Ordering::Relaxed),
        }
    }

    /// An identity that no other mapping has.
    pub(crate) fn new_anon_vma(&self) -> AnonVma {
        loop {
            // Relaxed: only to differ.
            if let Some(id) = AnonVma::new(self.next_anon_vma.fetch_add(1, Ordering::Relaxed)) {
                return id;
            }
        }
    }

    /// Takes everything out, and frees it, but for what sections hold that are open.
    #[doc(alias = "exit_mmap")]
    fn exit(&self) {
        let everything = 0..self.layout.task_size;
        let notice = self.tables.tell(everything.clone());
        // For none it does not fail.
        if let Ok(mut write) = self.store.write(0, &Call(())) {
            self.set_accounts(Accounts::default());
            write.clear(|| self.change.begin(), || self.change.end());
        }
        self.tables.gather().zap(everything);
        drop(notice);
        self.store.trim(&Call(()));
        self.tables.trim();
        self.tables.machine().frames().trim();
    }

    /// What it was a moment ago; for the holder of the writers' lock, what it is.
    pub(crate) fn brk(&self) -> u64 {
        self.brk.load(Ordering::Relaxed)
    }

    /// For the holder of the writers' lock.
    pub(crate) fn set_brk(&self, brk: u64) {
        self.brk.store(brk, Ordering::Relaxed);
    }

    /// For the holder of the writers' lock.
    pub(crate) fn set_accounts(&self, accounts: Accounts) {
        self.map_count.store(accounts.map_count, Ordering::Relaxed);
        self.total_vm.store(accounts.total_vm, Ordering::Relaxed);
        self.data_vm.store(accounts.data_vm, Ordering::Relaxed);
        self.exec_vm.store(accounts.exec_vm, Ordering::Relaxed);
        self.stack_vm.store(accounts.stack_vm, Ordering::Relaxed);
        if accounts.total_vm > self.peak_vm.load(Ordering::Relaxed) {
            self.peak_vm.store(accounts.total_vm, Ordering::Relaxed);
        }
    }
}

/// A user of an address space: who may map. Cloned, another user of the same.
///
/// The last user to go takes everything out of it; who only looks ([`MmRef`]) never does. `S` is how the mappings are kept and
/// read: [`MapleStore`], where readers hold nothing, or, to compare with, another design. `M` is what it runs on.
///
/// ```
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// mm.mmap(VirtAddr(0), 0x1000, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
/// let monitor = mm.grab().reader()?;
/// drop(mm);
/// assert!(monitor.read_lock().is_none()); // the address space is gone
/// # Ok::<(), vmaple_mm::Error>(())
/// ```
#[doc(alias = "mm_users")]
pub struct Mm<S: VmaStore = MapleStore, M: Machine = Soft>(pub(crate) MmRef<S, M>);

/// A reference to an address space that keeps the structure, not what is mapped: what a monitor has.
///
/// Once the last user is gone it keeps a few hundred bytes, and what the sections held that were open then.
#[doc(alias = "mm_struct")]
#[doc(alias = "mm_count")]
pub struct MmRef<S: VmaStore = MapleStore, M: Machine = Soft>(pub(crate) Kref<MmStruct<S, M>>);

impl<S: VmaStore> Mm<S> {
    /// An empty address space, with one user, on x86-64 with memory of its own: up to 64 GiB of this program's, as it is needed.
    ///
    /// # Errors
    /// `EINVAL` if the layout is none: addresses that are not of pages or beyond `task_size`, or an alignment that is not a power
    /// of two; `ENOMEM` if there is no memory.
    #[doc(alias = "mm_alloc")]
    pub fn new(layout: Layout, limits: Limits) -> Result<Self, Error> {
        Self::with_machine(layout, limits, Soft::new(Ram::new(64 << 30)?))
    }
}

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// An empty address space, with one user, on a machine.
    ///
    /// # Errors
    /// As for [`new`](Mm::new); `EINVAL` also if the layout is larger than what the architecture's page tables can translate.
    pub fn with_machine(layout: Layout, limits: Limits, machine: M) -> Result<Self, Error> {
        layout.check(M::Arch::TASK_SIZE)?;
        let shared = Kref::new(MmStruct {
            store: S::new(MmState { limits })?,
            tables: PageTables::new(machine)?,
            pending: Pending::new(),
            layout,
            change: ChangeCounter::new(),
            users: AtomicUsize::new(1),
            map_count: AtomicUsize::new(0),
            total_vm: AtomicU64::new(0),
            data_vm: AtomicU64::new(0),
            exec_vm: AtomicU64::new(0),
            stack_vm: AtomicU64::new(0),
            peak_vm: AtomicU64::new(0),
            brk: AtomicU64::new(layout.start_brk),
            snapshots: AtomicUsize::new(0),
            next_anon_vma: AtomicU64::new(1),
        })?;
        Ok(Self(MmRef(shared)))
    }

    /// A reference to look at it.
    #[doc(alias = "mmgrab")]
    #[must_use]
    pub fn grab(&self) -> MmRef<S, M> {
        self.0.clone()
    }

    /// Sets the limits, for calls from now on.
    ///
    /// # Errors
    /// `ENOMEM` if there is no memory.
    #[doc(alias = "setrlimit")]
    pub fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        self.transact(|transaction| {
            transaction.set_limits(limits);
            Ok(())
        })
    }

    pub(crate) fn transact<T>(
        &self,
        call: impl FnMut(&mut Transaction<'_, S, M>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.0.0.transact(call)
    }
}

impl<S: VmaStore, M: Machine> Clone for Mm<S, M> {
    #[doc(alias = "mmget")]
    fn clone(&self) -> Self {
        // Relaxed: made from one that is there.
        self.0.0.users.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<S: VmaStore, M: Machine> Deref for Mm<S, M> {
    type Target = MmRef<S, M>;

    fn deref(&self) -> &MmRef<S, M> {
        &self.0
    }
}

impl<S: VmaStore, M: Machine> Drop for Mm<S, M> {
    /// Takes everything out with the last user.
    #[doc(alias = "mmput")]
    fn drop(&mut self) {
        // AcqRel: what the other users did comes before the end; Release pairs with the Acquire in `is_gone`.
        if self.0.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.exit();
        }
    }
}

impl<S: VmaStore, M: Machine> MmRef<S, M> {
    /// Registers a monitor: one for each thread or open file that reads.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM` if there is no memory; its users never notice.
    pub fn reader(&self) -> Result<MmReader<S, M>, Error> {
        if self.is_gone() {
            return Err(Error::new(Errno::ESRCH, "the address space is gone"));
        }
        Attached::new(self.clone()).map(MmReader)
    }

    /// The structure, which stays where it is for as long as a reference to it does.
    pub(crate) fn structure(&self) -> &MmStruct<S, M> {
        &self.0
    }

    /// Another user, unless the address space is gone.
    #[doc(alias = "mmget_not_zero")]
    #[must_use]
    pub fn upgrade(&self) -> Option<Mm<S, M>> {
        let more = |users: usize| (users > 0).then_some(users + 1);
        // Acquire: with the users before.
        let had = self.0.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, more);
        had.is_ok().then(|| Mm(self.clone()))
    }

    /// Whether there is no user any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // Acquire pairs with the AcqRel of the last user.
        self.0.users.load(Ordering::Acquire) == 0
    }

    /// Mappings; what it was a moment ago, without a look at them.
    #[must_use]
    pub fn map_count(&self) -> usize {
        self.0.map_count.load(Ordering::Relaxed)
    }

    /// Mapped pages; what it was a moment ago.
    #[must_use]
    pub fn total_vm(&self) -> u64 {
        self.0.total_vm.load(Ordering::Relaxed)
    }

    /// Whether pages in `range` may be there still that were mapped before what is mapped there now: a call that replaces mappings
    /// publishes the new ones, and then takes the old pages out. Who finds it false, and after that finds pages there and the mapping
    /// [live](crate::VmaState::Live), has found the mapping's own.
    #[must_use]
    pub fn is_pending(&self, range: &Range<u64>) -> bool {
        self.0.pending.overlaps(range)
    }

    /// Mapped pages by what they are for; each what it was a moment ago.
    #[must_use]
    pub fn vm_stat(&self) -> VmStat {
        let accounts = self.0.accounts();
        VmStat {
            total: accounts.total_vm,
            data: accounts.data_vm,
            exec: accounts.exec_vm,
            stack: accounts.stack_vm,
            peak: self.0.peak_vm.load(Ordering::Relaxed).max(accounts.total_vm),
        }
    }

    /// Bytes of its page tables; what it was a moment ago.
    #[doc(alias = "mm_pgtables_bytes")]
    #[must_use]
    pub fn pgtables_bytes(&self) -> u64 {
        self.0.tables.bytes()
    }

    /// What frees its page tables, with the counts of what is deferred and for whom.
    #[must_use]
    pub fn pgtables_rcu(&self) -> &RcuDomain {
        self.0.tables.rcu()
    }

    pub(crate) fn page_tables(&self) -> &PageTables<M> {
        &self.0.tables
    }

    /// The number of changes so far, doubled; odd while one is being published.
    ///
    /// Odd for as long as the publishing store takes, and for as long as its writer is stopped right there: to wait for an even
    /// number is to wait for that writer; a [`snapshot`](Self::snapshot) is one state without waiting.
    ///
    /// The same even number before and after reading says that all that was read in between, in however many pieces, is one
    /// state, and the state of now; a map that was kept with its number is still true while the number is the same.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let before = mm.change();
    /// mm.munmap(VirtAddr(0x1000), 0x1000)?; // changes nothing
    /// assert_eq!(mm.change(), before);
    /// mm.mmap(VirtAddr(0), 0x1000, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
    /// assert_ne!(mm.change(), before);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[must_use]
    pub fn change(&self) -> u64 {
        self.0.change.read()
    }

    /// Where things are in it.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// How its mappings are kept.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.0.store
    }
}

impl<S: VmaStore, M: Machine> Clone for MmRef<S, M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: VmaStore, M: Machine> fmt::Debug for Mm<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: VmaStore, M: Machine> fmt::Debug for MmRef<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmRef")
            .field("map_count", &self.map_count())
            .field("total_vm", &self.total_vm())
            .finish_non_exhaustive()
    }
}

/// A monitor's handle, for one thread or open file.
pub struct MmReader<S: VmaStore = MapleStore, M: Machine = Soft>(Attached<S, M>);

impl<S: VmaStore, M: Machine> fmt::Debug for MmReader<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmReader")
            .field("mm", self.mm())
            .finish_non_exhaustive()
    }
}

impl<S: VmaStore, M: Machine> MmReader<S, M> {
    /// Begins to read; `None` if the address space is gone.
    ///
    /// What is read through the section is one state of the address space. In a [`MapleStore`] nobody waits for it, however
    /// long it lives; it keeps what was mapped when it began.
    #[inline]
    #[must_use]
    pub fn read_lock(&self) -> Option<S::Section<'_>> {
        let section = self.0.read_lock();
        // In this order: who finds what the last user left finds it gone.
        (!self.mm().is_gone()).then_some(section)
    }

    /// As [`read_lock`](Self::read_lock); where the design has a lock of the whole address space that readers take, with that. For
    /// files that Linux reads under it.
    #[inline]
    #[must_use]
    pub fn mmap_read_lock(&self) -> Option<S::Section<'_>> {
        let section = self.0.mmap_read_lock();
        // As in `read_lock`.
        (!self.mm().is_gone()).then_some(section)
    }

    /// Between two records of a file: where a section is held that nobody waits for, one that begins now instead, so that the next
    /// record is not older than need be; else the same.
    #[inline]
    #[must_use]
    pub fn renew<'r>(&'r self, section: S::Section<'r>) -> Option<S::Section<'r>> {
        let section = self.0.renew(section);
        // As in `read_lock`.
        (!self.mm().is_gone()).then_some(section)
    }

    /// The handle to walk its page tables.
    #[must_use]
    pub fn walker(&self) -> &Walker<'_, M> {
        self.0.walker()
    }

    /// What it reads.
    #[must_use]
    pub fn mm(&self) -> &MmRef<S, M> {
        self.0.mm()
    }
}
