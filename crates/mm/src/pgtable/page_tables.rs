//! The page tables of one address space.

use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;

use lock_api::Mutex;
use vmaple_rcu::{AllocError, RcuDomain};

use super::arch::{Arch, PageFlags};
use super::gather::MmuGather;
use super::memory::Memory;
use super::table::{Entries, Table, span};
use super::walk::Walker;
use crate::addr::PAGE_SIZE;
use crate::machine::Machine;
use crate::notice::Notice;

/// The page tables of one address space.
///
/// # Invariants
/// `root` is a table from `memory` that is never retired. Tables are unlinked by the holder of `unlinking` alone, and go by way of
/// `memory`.
pub struct PageTables<M: Machine> {
    machine: M,
    pub(super) memory: Memory<M::Lock>,
    root: NonNull<Entries>,
    /// The right to unlink. Comes before the locks of tables.
    pub(super) unlinking: Mutex<M::Lock, ()>,
}

// SAFETY: tables are words that change atomically, under locks; a pointer to one is as good in any thread.
unsafe impl<M: Machine> Send for PageTables<M> {}
// SAFETY: as above.
unsafe impl<M: Machine> Sync for PageTables<M> {}

impl<M: Machine> PageTables<M> {
    /// Empty tables.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new(machine: M) -> Result<Self, AllocError> {
        const { assert!(M::Arch::LEVELS >= 2 && M::Arch::LEVELS <= 5 && M::Arch::TASK_SIZE <= span(M::Arch::LEVELS)) };
        let memory = Memory::new()?;
        let root = memory.take()?.as_ptr();
        Ok(Self {
            machine,
            memory,
            root,
            unlinking: Mutex::new(()),
        })
    }

    /// What they are for.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// What frees them, with the counts of what is deferred and for whom.
    #[must_use]
    pub fn rcu(&self) -> &RcuDomain {
        self.memory.domain()
    }

    /// Bytes of all tables that are linked; what it was a moment ago.
    #[doc(alias = "mm_pgtables_bytes")]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.linked() as u64 * PAGE_SIZE
    }

    /// A handle to walk them: one for each thread.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more.
    pub fn walker(&self) -> Result<Walker<'_, M>, AllocError> {
        Ok(Walker::new(self, self.memory.reader()?))
    }

    /// Takes all pages out of `range`, and the tables that are empty then. Their frames are free when it returns.
    ///
    /// ```
    /// use vmaple_mm::pgtable::{Frames, PageFlags, PageTables, Pte, Ram};
    /// use vmaple_mm::{Machine, Soft};
    ///
    /// let machine: Soft = Soft::new(Ram::new(2 << 20)?);
    /// let tables = PageTables::new(machine)?;
    /// let walker = tables.walker()?;
    /// let frame = tables.machine().frames().take(1).pop().unwrap();
    /// let pte = Pte { pfn: frame.into_pfn(), flags: PageFlags::READ | PageFlags::WRITE };
    /// // SAFETY: the frame was just taken.
    /// unsafe { walker.map(0x7000, pte) }?;
    /// assert_eq!(walker.translate(0x7123), Some(pte));
    /// tables.unmap(0x7000..0x8000);
    /// assert_eq!(walker.translate(0x7123), None);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "zap_page_range")]
    pub fn unmap(&self, range: Range<u64>) {
        let _notice = self.tell(range.clone());
        self.gather().zap(range);
    }

    /// Lets pages in `range` be accessed as `READ`, `WRITE` and `EXEC` of `flags` say, but for writing only those that could be written before.
    #[doc(alias = "change_protection")]
    pub fn protect(&self, range: Range<u64>, flags: PageFlags) {
        let _notice = self.tell(range.clone());
        self.gather().protect(range, flags);
    }

    /// Tells who translates besides that translations are about to end: before the right to unlink, the writers' lock, and any lock of
    /// a table.
    pub(crate) fn tell(&self, range: Range<u64>) -> Notice<'_, M::Notifier> {
        Notice::start(self.machine.notifier(), range)
    }

    /// Takes the right to unlink, in a range of which the start has been told.
    pub(crate) fn gather(&self) -> MmuGather<'_, M> {
        MmuGather::new(self)
    }

    /// Gives memory of tables back that nothing uses.
    pub(crate) fn trim(&self) {
        self.memory.trim();
    }

    pub(super) fn root(&self) -> Table<'_, M::Lock> {
        // SAFETY: by the type's invariant it stays.
        unsafe { Table::new(self.root) }
    }
}

impl<M: Machine> Drop for PageTables<M> {
    /// Pages that are still there end as in [`unmap`](PageTables::unmap). A notifier that panics then ends the program: frames
    /// that others may still use are about to go with the machine.
    fn drop(&mut self) {
        if self.root().counters().present() > 0 {
            let untold = Untold;
            let notice = self.tell(0..M::Arch::TASK_SIZE);
            core::mem::forget(untold);
            self.gather().zap(0..M::Arch::TASK_SIZE);
            drop(notice);
        }
        self.memory.put(self.root());
        self.memory.trim();
    }
}

/// Dropped by a panic, it panics, which aborts.
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
