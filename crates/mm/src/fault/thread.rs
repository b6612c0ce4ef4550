//! A thread that touches memory.

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

/// A thread that touches memory of an address space, and is a user of it: `current`. It takes page faults as a processor would.
///
/// Data is accessed a page at a time, under the lock of the page's leaf table: so what is written is never written to a page that
/// has been taken away, or made read-only, meanwhile. It keeps up to 64 frames at hand.
///
/// ```
/// use vmaple_mm::{FaultCause, Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let thread = mm.thread()?;
/// let at = mm.mmap(VirtAddr(0), 0x2000, Prot::READ | Prot::WRITE, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
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
    /// A thread that touches memory, and is another user.
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
    /// The address space.
    #[must_use]
    pub fn mm(&self) -> &Mm<S, M> {
        &self.mm
    }

    /// Reads memory from `addr` on.
    ///
    /// # Errors
    /// The [`Fault`] at the first address that cannot be read; what lies before it has been.
    #[doc(alias = "copy_from_user")]
    pub fn read(&self, addr: VirtAddr, to: &mut [u8]) -> Result<(), Fault> {
        let mut rest = to;
        let mut at = addr;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(in_page(at, rest.len()));
            self.with_page(at, Access::Read, |page| {
                // SAFETY: so many bytes are left of the page, whose table is locked.
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
    /// The [`Fault`] at the first address that cannot be written; what lies before it has been.
    #[doc(alias = "copy_to_user")]
    pub fn write(&self, addr: VirtAddr, from: &[u8]) -> Result<(), Fault> {
        let mut rest = from;
        let mut at = addr;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(in_page(at, rest.len()));
            self.with_page(at, Access::Write, |page| {
                // SAFETY: so many bytes are left of the page, which may be written, and whose table is locked.
                unsafe { copy_to_page::<M::Notifier>(page, now) };
            })?;
            at = VirtAddr(at.0.wrapping_add(now.len() as u64));
            rest = later;
        }
        Ok(())
    }

    /// Replaces the word of 64 bits at `addr` by `new` if it is `current`, in one step for all threads; gives what was there, as
    /// `Err` if it was another.
    ///
    /// # Errors
    /// The [`Fault`] if it cannot be written, or if the address is not a multiple of 8.
    pub fn compare_exchange(&self, addr: VirtAddr, current: u64, new: u64) -> Result<Result<u64, u64>, Fault> {
        if !addr.0.is_multiple_of(8) {
            let cause = FaultCause::Unaligned;
            return Err(Fault { addr, cause });
        }
        self.with_page(addr, Access::Write, |page| {
            // SAFETY: aligned, and in the page; who accesses it without the lock of its table, by a translation that was kept, does so
            // atomically too, as `with_page` demands.
            let word = unsafe { AtomicU64::from_ptr(page.cast().as_ptr()) };
            // AcqRel: a processor's.
            word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
        })
    }

    /// Translates an address, and lends the byte there with all that follow in its page, under the lock of the leaf table: what
    /// `lent` does with them is one step for all threads. For it wait those who access pages of the same two megabytes, writers that
    /// take such pages out or change them, and all who wait for these; so it is to be short, and must not come back to this address
    /// space in any way, which would wait for itself.
    ///
    /// The memory may be written for [`Access::Write`] only; else it may be the page of zeros. The pointer is good in `lent` only, but
    /// for those whom an [`MmuNotifier`](crate::MmuNotifier) tells when it ends, who have noted it before `lent` returns, and only
    /// while no range that the page is in is open there. Whoever keeps it accesses the memory atomically, as other threads may
    /// [read](Self::read) and [write](Self::write) it at the same time, which they do in aligned words of eight bytes and in bytes. An access of
    /// another size to the same bytes at the same time would be a data race.
    ///
    /// # Errors
    /// The [`Fault`] if the address cannot be accessed so.
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
                // SAFETY: inside of the page.
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

/// Bytes up to the end of the page, at most `len`.
fn in_page(addr: VirtAddr, len: usize) -> usize {
    len.min((PAGE_SIZE - addr.page_offset()) as usize)
}

impl<S: VmaStore, M: Machine> fmt::Debug for MmThread<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmThread").field("mm", &self.mm).finish_non_exhaustive()
    }
}
