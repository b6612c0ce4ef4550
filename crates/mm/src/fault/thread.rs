//! A thread that accesses memory.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::copy::{copy_from_page, copy_to_page};
use super::fault::{Fault, FaultCause};
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::Error;
use crate::machine::{Machine, Soft};
use crate::mm::{Attached, Mm};
use crate::pgtable::{Frames, PageFlags};
use crate::store::{MapleStore, VmaStore};
use crate::vma::Access;

/// A thread that accesses memory of an address space, and is a user of it: `current`. It takes page
/// faults as a processor does.
///
/// Data is accessed a page at a time, under the lock of the page's leaf table. So no write goes to
/// a page that was unmapped or made read-only meanwhile. The thread keeps up to 64 frames at hand.
///
/// ```
/// use vmaple_mm::{FaultCause, Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let thread = mm.thread()?;
/// let (prot, flags) = (Prot::READ | Prot::WRITE, MapFlags::PRIVATE | MapFlags::ANONYMOUS);
/// let at = mm.mmap(VirtAddr(0), 0x2000, prot, flags, None, 0)?;
/// thread.write(at + 0xffe, b"maple").unwrap(); // over two pages
/// let mut read = [0; 6];
/// thread.read(at + 0xffd, &mut read).unwrap();
/// assert_eq!(&read, b"\0maple");
/// let fault = thread.write(VirtAddr(0x10), b"!").unwrap_err();
/// assert_eq!((fault.addr, fault.cause), (VirtAddr(0x10), FaultCause::MapErr));
/// # Ok::<(), vmaple_mm::Error>(())
/// ```
pub struct MmThread<S: VmaStore = MapleStore, M: Machine = Soft> {
    attached: Attached<S, M>,
    mm: Mm<S, M>,
}

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// Creates a thread that accesses memory, and is another user.
    ///
    /// # Errors
    /// `ENOMEM` if there is no memory.
    pub fn thread(&self) -> Result<MmThread<S, M>, Error> {
        let attached = Attached::new(self.grab())?;
        let mm = self.clone();
        Ok(MmThread { attached, mm })
    }
}

impl<S: VmaStore, M: Machine> MmThread<S, M> {
    /// Returns the address space.
    #[must_use]
    pub fn mm(&self) -> &Mm<S, M> {
        &self.mm
    }

    /// Reads memory from `addr` on.
    ///
    /// # Errors
    /// The [`Fault`] at the first address that cannot be read. The bytes before it have been read.
    #[doc(alias = "copy_from_user")]
    pub fn read(&self, addr: VirtAddr, to: &mut [u8]) -> Result<(), Fault> {
        let mut rest = to;
        let mut at = addr;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(in_page(at, rest.len()));
            self.with_page(at, Access::Read, |page| {
                // SAFETY: this many bytes are left of the page, whose table is locked.
                unsafe { copy_from_page::<M::Notifier>(page, now) };
            })?;
            at = VirtAddr(at.0.wrapping_add(now.len() as u64));
            rest = later;
        }
        Ok(())
    }

    /// Writes memory from `addr` on.
    ///
    /// # Errors
    /// The [`Fault`] at the first address that cannot be written. The bytes before it have been
    /// written.
    #[doc(alias = "copy_to_user")]
    pub fn write(&self, addr: VirtAddr, from: &[u8]) -> Result<(), Fault> {
        let mut rest = from;
        let mut at = addr;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(in_page(at, rest.len()));
            self.with_page(at, Access::Write, |page| {
                // SAFETY: this many bytes are left of the page, which may be written, and whose
                // table is locked.
                unsafe { copy_to_page::<M::Notifier>(page, now) };
            })?;
            at = VirtAddr(at.0.wrapping_add(now.len() as u64));
            rest = later;
        }
        Ok(())
    }

    /// Replaces the 64-bit word at `addr` by `new` if it is `current`, atomically.
    ///
    /// Returns the old word, as `Err` if it was not `current`.
    ///
    /// # Errors
    /// The [`Fault`] if the word cannot be written, or if the address is not a multiple of 8.
    pub fn compare_exchange(&self, addr: VirtAddr, current: u64, new: u64) -> Result<Result<u64, u64>, Fault> {
        if !addr.0.is_multiple_of(8) {
            let cause = FaultCause::Unaligned;
            return Err(Fault { addr, cause });
        }
        self.with_page(addr, Access::Write, |page| {
            // SAFETY: aligned, and in the page. A processor that accesses it by a kept translation,
            // without the lock of its table, does so atomically too, as `with_page` demands.
            let word = unsafe { AtomicU64::from_ptr(page.cast().as_ptr()) };
            // AcqRel, as a processor's instruction.
            word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
        })
    }

    /// Translates an address, and lends `lent` the bytes from there to the end of the page.
    ///
    /// The leaf table's lock is held while `lent` runs, so what it does is one step for all
    /// threads. Accesses to the same 2 MiB, and writers that unmap or protect them, block until
    /// it returns. Keep it short. Calling back into this address space deadlocks.
    ///
    /// The memory may be written for [`Access::Write`] only; for others it may be the zero page.
    ///
    /// The pointer is valid in `lent` only, with one exception: an embedder whose
    /// [`MmuNotifier`](crate::MmuNotifier) is told of its end may keep it. The embedder notes
    /// it before `lent` returns, and only while no range that holds the page is open. It accesses
    /// the memory atomically, as other threads may [read](Self::read) and [write](Self::write) it
    /// at the same time: these use aligned words of eight bytes, and single bytes. An access of
    /// another size to the same bytes at the same time is a data race.
    ///
    /// # Errors
    /// The [`Fault`] if the access is not possible.
    #[doc(alias = "get_user_pages")]
    pub fn with_page<R>(
        &self,
        addr: VirtAddr,
        access: Access,
        lent: impl FnOnce(NonNull<u8>) -> R,
    ) -> Result<R, Fault> {
        loop {
            let guard = self.attached.walker().read_lock();
            if let Some((mut leaf, pte)) = self.lock_page(&guard, addr, access) {
                let seen = match access {
                    Access::Write => PageFlags::ACCESSED | PageFlags::DIRTY,
                    Access::Read | Access::Exec => PageFlags::ACCESSED,
                };
                leaf.set_flags(addr, pte, pte.flags | seen);
                let page = self.frames().page(pte.pfn);
                // SAFETY: in the page.
                return Ok(lent(unsafe { page.add(addr.page_offset() as usize) }));
            }
            drop(guard);
            self.fault(addr, access)?;
        }
    }

    pub(crate) fn frames(&self) -> &M::Frames {
        self.mm.page_tables().machine().frames()
    }

    pub(crate) fn attached(&self) -> &Attached<S, M> {
        &self.attached
    }
}

/// Returns the bytes up to the end of the page, at most `len`.
fn in_page(addr: VirtAddr, len: usize) -> usize {
    len.min((PAGE_SIZE - addr.page_offset()) as usize)
}

impl<S: VmaStore, M: Machine> fmt::Debug for MmThread<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmThread").field("mm", &self.mm).finish_non_exhaustive()
    }
}
