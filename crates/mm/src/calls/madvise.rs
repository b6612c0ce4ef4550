//! madvise(2).

use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange, page_align};
use crate::error::{Errno, Error};
use crate::fail_point;
use crate::fault::{FaultCause, MmThread};
use crate::machine::Machine;
use crate::pgtable::{Arch, ENTRIES, FrameList, Step};
use crate::store::{VmaRead, VmaStore};
use crate::vma::{ACCESS, Access, VmFlags};

/// Advice about pages, with the numbers of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Advice {
    /// Drop the pages: they read as zeros from now on.
    DontNeed = 4,
    /// Populate the pages for reading.
    PopulateRead = 22,
    /// Populate the pages for writing.
    PopulateWrite = 23,
}

impl TryFrom<i32> for Advice {
    type Error = Error;

    /// Returns the advice of a number; `EINVAL` if there is none, or it is not built yet.
    ///
    /// ```
    /// use vmaple_mm::{Advice, Errno};
    /// assert_eq!(Advice::try_from(4), Ok(Advice::DontNeed));
    /// assert_eq!(Advice::try_from(7).unwrap_err().errno, Errno::EINVAL);
    /// ```
    fn try_from(number: i32) -> Result<Self, Error> {
        let all = [Self::DontNeed, Self::PopulateRead, Self::PopulateWrite];
        let known = all.into_iter().find(|advice| *advice as i32 == number);
        known.ok_or(Error::new(Errno::EINVAL, "the advice is unknown, or not built yet"))
    }
}

impl<S: VmaStore, M: Machine> MmThread<S, M> {
    /// `madvise(addr, len, advice)`: drops or populates the pages of a range.
    ///
    /// Mappings stay as they are. Writers do not wait.
    ///
    /// # Errors
    /// As madvise(2):
    /// - `EINVAL`: the address is not a multiple of the page size, or a mapping does not allow the
    ///   access.
    /// - `ENOMEM`: a part of the range is not mapped (`DontNeed` has dropped the rest), or there is
    ///   no memory.
    /// - `EFAULT`: a mapping cannot have pages.
    ///
    /// ```
    /// use vmaple_mm::{Advice, Layout, Limits, MapRequest, Mm, Prot};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let thread = mm.thread()?;
    /// let at = mm.map(&MapRequest::anonymous(0x1000, Prot::READ | Prot::WRITE))?;
    /// thread.write(at, &[7]).unwrap();
    /// thread.madvise(at, 0x1000, Advice::DontNeed)?;
    /// let mut byte = [7];
    /// thread.read(at, &mut byte).unwrap();
    /// assert_eq!(byte, [0]);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "do_madvise")]
    pub fn madvise(&self, addr: VirtAddr, len: u64, advice: Advice) -> Result<(), Error> {
        if !addr.is_page_aligned() {
            return Err(Error::new(
                Errno::EINVAL,
                "the address is not a multiple of the page size",
            ));
        }
        let length = page_align(len);
        let range = addr.checked_range(length).filter(|_| len == 0 || length > 0);
        let range = range.ok_or(Error::new(Errno::EINVAL, "the range wraps around"))?;
        match advice {
            Advice::DontNeed => self.drop_pages(range),
            Advice::PopulateRead => self.populate(range, Access::Read, VmFlags::READ),
            Advice::PopulateWrite => self.populate(range, Access::Write, VmFlags::WRITE),
        }
    }

    #[doc(alias = "madvise_populate")]
    fn populate(&self, range: VirtRange, access: Access, needed: VmFlags) -> Result<(), Error> {
        const REFUSED: Error = Error::new(Errno::EINVAL, "a mapping does not allow the access");
        let mut at = range.start;
        while at < range.end {
            // Stricter than the processor, which may read what it may write or execute.
            if self.flags_at(at).is_some_and(|(_, flags)| !flags.contains(needed)) {
                return Err(REFUSED);
            }
            at = self
                .fault_in(VirtRange::new(at, range.end), access)
                .map_err(|cause| match cause {
                    FaultCause::MapErr => Error::new(Errno::ENOMEM, "a part of the range is not mapped"),
                    FaultCause::AccErr => REFUSED,
                    FaultCause::NoMemory => Error::new(Errno::ENOMEM, "no memory for a page"),
                    FaultCause::NotSupported | FaultCause::Unaligned => {
                        Error::new(Errno::EFAULT, "pages of files and of shared memory are not built yet")
                    }
                })?;
        }
        Ok(())
    }

    /// Populates a new mapping, best effort.
    #[doc(alias = "mm_populate")]
    pub(crate) fn populate_mapped(&self, range: VirtRange) {
        let mut at = range.start;
        while at < range.end {
            let Some((end, flags)) = self.flags_at(at) else {
                return;
            };
            let end = end.min(range.end);
            let access = if flags & (VmFlags::WRITE | VmFlags::SHARED) == VmFlags::WRITE {
                Access::Write
            } else if M::Arch::permits(flags, Access::Read) {
                Access::Read
            } else {
                Access::Exec
            };
            if flags.intersects(ACCESS) {
                match self.fault_in(VirtRange::new(at, end), access) {
                    Ok(next) => at = next,
                    Err(_) => return,
                }
            } else {
                at = end;
            }
        }
    }

    /// Returns the end and the flags of the mapping at an address.
    fn flags_at(&self, addr: VirtAddr) -> Option<(VirtAddr, VmFlags)> {
        let section = self.attached().read_lock();
        let vma = section.find(addr).filter(|vma| vma.range().start <= addr)?;
        Some((vma.range().end, vma.flags()))
    }

    /// Drops pages.
    ///
    /// No table is unlinked, so the writers' lock is not needed. The lock of each leaf table
    /// decides instead: if the mapping is no longer live under it, the walk looks for what is
    /// mapped now, as if the call had come later.
    #[doc(alias = "madvise_dontneed_free")]
    fn drop_pages(&self, range: VirtRange) -> Result<(), Error> {
        let mut holes = false;
        let notice = self.mm().page_tables().tell(range);
        let mut at = range.start;
        while at < range.end {
            let section = self.attached().read_lock();
            let Some(vma) = section.find(at).filter(|vma| vma.range().start < range.end) else {
                holes = true;
                break;
            };
            if vma.range().start > at {
                holes = true;
                at = vma.range().start;
            }
            let part_end = vma.range().end.min(range.end);
            let mut freed = FrameList::new(self.frames());
            while at < part_end {
                let guard = self.attached().walker().read_lock();
                fail_point::reach("dontneed: found");
                match self.attached().walker().find(&guard, at) {
                    Step::Hole { end } => at = end.min(part_end),
                    Step::Leaf(leaf) => {
                        let leaf_end = (at.align_down(LEAF) + LEAF).min(part_end);
                        let Some(mut leaf) = leaf.lock().filter(|_| vma.is_live()) else {
                            break;
                        };
                        leaf.clear(self.frames(), VirtRange::new(at, leaf_end), &mut freed);
                        at = leaf_end;
                    }
                }
            }
            drop(section);
            self.attached().put_frames(freed);
        }
        drop(notice);
        if holes {
            return Err(Error::new(Errno::ENOMEM, "a part of the range is not mapped"));
        }
        Ok(())
    }
}

/// Bytes that a leaf table maps.
const LEAF: u64 = ENTRIES as u64 * PAGE_SIZE;
