//! The structure that all users and references of an address space share.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::change::ChangeCounter;
use super::layout::Layout;
use super::limits::{Limits, MmState};
use super::pending::Pending;
use crate::addr::{VirtAddr, VirtRange};
use crate::error::Error;
use crate::kref::Kref;
use crate::machine::Machine;
use crate::pgtable::{Arch, Frames, PageTables};
use crate::store::{Call, VmaStore, VmaWrite};
use crate::vma::{Accounts, AnonVma};

/// The structure that users and references share.
pub(crate) struct MmStruct<S: VmaStore, M: Machine> {
    pub(crate) store: S,
    pub(crate) tables: PageTables<M>,
    pub(crate) pending: Pending,
    pub(crate) layout: Layout,
    pub(crate) change: ChangeCounter,
    /// Number of users (`Mm`). The address space is torn down with the last one.
    pub(super) users: AtomicUsize,
    /// Written by the holder of the writers' lock, Relaxed: these are counts of their own, of which
    /// readers want the latest.
    pub(super) map_count: AtomicUsize,
    pub(super) total_vm: AtomicU64,
    data_vm: AtomicU64,
    exec_vm: AtomicU64,
    stack_vm: AtomicU64,
    pub(super) peak_vm: AtomicU64,
    /// The end of the heap, in bytes.
    brk: AtomicU64,
    /// Number of open snapshots.
    pub(crate) snapshots: AtomicUsize,
    next_anon_vma: AtomicU64,
}

impl<S: VmaStore, M: Machine> MmStruct<S, M> {
    /// Creates an empty address space with one user, the caller.
    pub(super) fn new(layout: Layout, limits: Limits, machine: M) -> Result<Kref<Self>, Error> {
        layout.check(M::Arch::TASK_SIZE)?;
        let mm = Kref::new(Self {
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
            brk: AtomicU64::new(layout.start_brk.0),
            snapshots: AtomicUsize::new(0),
            next_anon_vma: AtomicU64::new(1),
        })?;
        Ok(mm)
    }

    /// Returns the accounts. Exact for the holder of the writers' lock.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts {
            map_count: self.map_count.load(Ordering::Relaxed),
            total_vm: self.total_vm.load(Ordering::Relaxed),
            data_vm: self.data_vm.load(Ordering::Relaxed),
            exec_vm: self.exec_vm.load(Ordering::Relaxed),
            stack_vm: self.stack_vm.load(Ordering::Relaxed),
        }
    }

    /// Returns an identity that no other mapping has.
    pub(crate) fn new_anon_vma(&self) -> AnonVma {
        loop {
            // Relaxed: identities only have to differ.
            if let Some(id) = AnonVma::new(self.next_anon_vma.fetch_add(1, Ordering::Relaxed)) {
                return id;
            }
        }
    }

    /// Unmaps everything and frees it, except for what open sections hold.
    #[doc(alias = "exit_mmap")]
    pub(super) fn exit(&self) {
        let everything = VirtRange::new(VirtAddr(0), self.layout.task_size);
        let notice = self.tables.tell(everything);
        // It does not fail for no VMA.
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

    /// Returns the end of the heap, as of a moment ago. Exact for the holder of the writers' lock.
    pub(crate) fn brk(&self) -> VirtAddr {
        VirtAddr(self.brk.load(Ordering::Relaxed))
    }

    /// Sets the end of the heap. Only for the holder of the writers' lock.
    pub(crate) fn set_brk(&self, brk: VirtAddr) {
        self.brk.store(brk.0, Ordering::Relaxed);
    }

    /// Sets the accounts. Only for the holder of the writers' lock.
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
