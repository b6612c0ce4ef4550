//! The page tables of one address space.

use core::fmt;
use core::ptr::NonNull;

use lock_api::Mutex;
use vmaple_rcu::{AllocError, RcuDomain};

use super::arch::{Arch, PageFlags};
use super::gather::MmuGather;
use super::memory::Memory;
use super::table::{Entries, Table, span};
use super::walk::Walker;
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::machine::Machine;
use crate::notice::Notice;

/// The page tables of one address space.
///
/// # Invariants
/// `root` is a table from `memory` that is never retired. Tables are unlinked under `unlinking`
/// alone, and go back through `memory`.
pub struct PageTables<M: Machine> {
    machine: M,
    pub(super) memory: Memory<M::Lock>,
    root: NonNull<Entries>,
    /// The unlink lock. Comes before the locks of tables.
    pub(super) unlinking: Mutex<M::Lock, ()>,
}

// SAFETY: tables are words that change atomically, under locks; a pointer to one is as good in any
// thread.
unsafe impl<M: Machine> Send for PageTables<M> {}
// SAFETY: as above.
unsafe impl<M: Machine> Sync for PageTables<M> {}

impl<M: Machine> PageTables<M> {
    /// Creates empty tables.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new(machine: M) -> Result<Self, AllocError> {
        const { assert!(M::Arch::LEVELS >= 2 && M::Arch::LEVELS <= 5 && M::Arch::TASK_SIZE.0 <= span(M::Arch::LEVELS)) };
        let memory = Memory::new()?;
        let root = memory.take()?.as_ptr();
        Ok(Self {
            machine,
            memory,
            root,
            unlinking: Mutex::new(()),
        })
    }

    /// Returns the machine that they are for.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns the RCU domain that frees tables, which counts what is deferred and for which
    /// reader.
    #[must_use]
    pub fn rcu(&self) -> &RcuDomain {
        self.memory.domain()
    }

    /// Returns the bytes of all linked tables, as of a moment ago.
    #[doc(alias = "mm_pgtables_bytes")]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.linked() as u64 * PAGE_SIZE
    }

    /// Registers a walker: one for each thread.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more.
    pub fn walker(&self) -> Result<Walker<'_, M>, AllocError> {
        Ok(Walker::new(self, self.memory.reader()?))
    }

    /// Unmaps the pages in `range`, and unlinks the tables that are then empty. The frames are free
    /// when it returns.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{Frames, PageFlags, PageTables, Pte, Ram};
    /// use vmaple_mm::{Machine, Soft, VirtAddr};
    ///
    /// let machine: Soft = Soft::new(Ram::new(2 << 20)?);
    /// let tables = PageTables::new(machine)?;
    /// let walker = tables.walker()?;
    /// let frame = tables.machine().frames().take(1).pop().unwrap();
    /// let pte = Pte { pfn: frame.into_pfn(), flags: PageFlags::READ | PageFlags::WRITE };
    /// // SAFETY: the frame was just taken.
    /// unsafe { walker.map(VirtAddr(0x7000), pte) }?;
    /// assert_eq!(walker.translate(VirtAddr(0x7123)), Some(pte));
    /// tables.unmap(0x7000..0x8000);
    /// assert_eq!(walker.translate(VirtAddr(0x7123)), None);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "zap_page_range")]
    pub fn unmap(&self, range: impl Into<VirtRange>) {
        let range = range.into();
        let _notice = self.tell(range);
        self.gather().zap(range);
    }

    /// Sets the access of pages in `range` to `READ`, `WRITE` and `EXEC` of `flags`. A page that
    /// was not writable stays so.
    #[doc(alias = "change_protection")]
    pub fn protect(&self, range: impl Into<VirtRange>, flags: PageFlags) {
        let range = range.into();
        let _notice = self.tell(range);
        self.gather().protect(range, flags);
    }

    /// Tells the notifier that translations in `range` are about to end. The caller holds no lock:
    /// neither the unlink lock, nor the writers' lock, nor that of a table.
    pub(crate) fn tell(&self, range: VirtRange) -> Notice<'_, M::Notifier> {
        Notice::start(self.machine.notifier(), range)
    }

    /// Takes the unlink lock, for a range whose start the notifier has been told.
    pub(crate) fn gather(&self) -> MmuGather<'_, M> {
        MmuGather::new(self)
    }

    /// Gives unused memory of tables back.
    pub(crate) fn trim(&self) {
        self.memory.trim();
    }

    pub(super) fn root(&self) -> Table<'_, M::Lock> {
        // SAFETY: by the type's invariant it stays.
        unsafe { Table::new(self.root) }
    }
}

impl<M: Machine> Drop for PageTables<M> {
    /// Unmaps what is left, as [`unmap`](PageTables::unmap) does. A notifier that panics then ends
    /// the program: frames that others may still use are about to go with the machine.
    fn drop(&mut self) {
        if self.root().counters().present() > 0 {
            let everything = VirtRange::new(VirtAddr(0), M::Arch::TASK_SIZE);
            let untold = Untold;
            let notice = self.tell(everything);
            core::mem::forget(untold);
            self.gather().zap(everything);
            drop(notice);
        }
        self.memory.put(self.root());
        self.memory.trim();
    }
}

/// Panics when a panic drops it, which aborts.
struct Untold;

impl Drop for Untold {
    fn drop(&mut self) {
        panic!("the notifier of page tables that are dropped has panicked: others may still use their frames");
    }
}

impl<M: Machine> fmt::Debug for PageTables<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageTables")
            .field("arch", &M::Arch::NAME)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
