//! A reference to an address space, which keeps nothing mapped.

use core::fmt;
use core::sync::atomic::Ordering;

use vmaple_rcu::RcuDomain;

use super::layout::Layout;
use super::mm_struct::MmStruct;
use super::owner::Mm;
use super::stat::VmStat;
use crate::addr::VirtRange;
use crate::kref::Kref;
use crate::machine::{Machine, Soft};
use crate::pgtable::PageTables;
use crate::store::{MapleStore, VmaStore};

/// A reference to an address space that keeps the structure, but nothing mapped. A monitor has one.
///
/// After the last user is gone it keeps a few hundred bytes, and what the sections held that were
/// open then.
#[doc(alias = "mm_struct")]
#[doc(alias = "mm_count")]
pub struct MmRef<S: VmaStore = MapleStore, M: Machine = Soft>(pub(crate) Kref<MmStruct<S, M>>);

impl<S: VmaStore, M: Machine> MmRef<S, M> {
    /// Returns another user, unless the address space is gone.
    #[doc(alias = "mmget_not_zero")]
    #[must_use]
    pub fn upgrade(&self) -> Option<Mm<S, M>> {
        let more = |users: usize| (users > 0).then_some(users + 1);
        // Acquire: with the users before.
        let had = self.0.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, more);
        had.is_ok().then(|| Mm(self.clone()))
    }

    /// Returns whether the last user is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // Acquire pairs with the AcqRel of the last user.
        self.0.users.load(Ordering::Acquire) == 0
    }

    /// Returns the number of mappings, as of a moment ago. Does not walk them.
    #[must_use]
    pub fn map_count(&self) -> usize {
        self.0.map_count.load(Ordering::Relaxed)
    }

    /// Returns the number of mapped pages, as of a moment ago.
    #[must_use]
    pub fn total_vm(&self) -> u64 {
        self.0.total_vm.load(Ordering::Relaxed)
    }

    /// Returns whether a call that replaces mappings has still to zap old pages in `range`.
    ///
    /// Such a call publishes the new mappings first. If this is false, pages seen afterwards belong
    /// to the mapping, provided that it is still [live](crate::VmaState::Live) then.
    #[must_use]
    pub fn is_pending(&self, range: impl Into<VirtRange>) -> bool {
        self.0.pending.overlaps(range.into())
    }

    /// Returns the numbers of mapped pages by kind, each as of a moment ago.
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

    /// Returns the bytes of the page tables, as of a moment ago.
    #[doc(alias = "mm_pgtables_bytes")]
    #[must_use]
    pub fn pgtables_bytes(&self) -> u64 {
        self.0.tables.bytes()
    }

    /// Returns the RCU domain that frees page tables, which counts what is deferred and for which
    /// reader.
    #[must_use]
    pub fn pgtables_rcu(&self) -> &RcuDomain {
        self.0.tables.rcu()
    }

    /// Returns the structure, which stays where it is for as long as a reference to it does.
    pub(crate) fn structure(&self) -> &MmStruct<S, M> {
        &self.0
    }

    pub(crate) fn page_tables(&self) -> &PageTables<M> {
        &self.0.tables
    }

    /// Returns the number of changes so far, doubled; odd while one is being published.
    ///
    /// The same even number before and after reading means that all that was read in between, in
    /// any number of pieces, is one state, and the newest. A map that was kept with its number
    /// is true for as long as the number is the same.
    ///
    /// The number is odd while the publishing store runs, and for as long as its writer is stopped
    /// right there. To wait for an even number is to wait for that writer. A
    /// [`snapshot`](Self::snapshot) is one state without waiting.
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

    /// Returns the layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Returns the store of the mappings.
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

impl<S: VmaStore, M: Machine> fmt::Debug for MmRef<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmRef")
            .field("map_count", &self.map_count())
            .field("total_vm", &self.total_vm())
            .finish_non_exhaustive()
    }
}
