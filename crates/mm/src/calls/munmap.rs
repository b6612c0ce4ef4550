//! munmap(2).

use super::transaction::{Failure, Transaction, fail};
use crate::addr::{VirtAddr, VirtRange, page_align};
use crate::error::{Errno, Error};
use crate::machine::Machine;
use crate::mm::Mm;
use crate::store::VmaStore;
use crate::vma::{Neighbours, Request};

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// `munmap(addr, len)`: removes what is mapped in a range, at one instant for readers.
    ///
    /// Mappings that reach out of the range keep the rest. It is no error if nothing is mapped
    /// there.
    ///
    /// # Errors
    /// As munmap(2):
    /// - `EINVAL`: the address is not a multiple of the page size, the length is 0, or the range is
    ///   beyond the address space.
    /// - `ENOMEM`: a mapping would be split, and there are as many as may be; or there is no memory
    ///   for bookkeeping.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapRequest, Mm, Prot};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let at = mm.map(&MapRequest::anonymous(0x3000, Prot::READ))?;
    /// mm.munmap(at + 0x1000, 0x1000)?;
    /// assert_eq!((mm.map_count(), mm.total_vm()), (2, 2));
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "do_vmi_munmap")]
    pub fn munmap(&self, addr: VirtAddr, len: u64) -> Result<(), Error> {
        let task_size = self.layout().task_size;
        if !addr.is_page_aligned() {
            return Err(Error::new(
                Errno::EINVAL,
                "the address is not a multiple of the page size",
            ));
        }
        if addr > task_size || len > task_size - addr {
            return Err(Error::new(Errno::EINVAL, "beyond the address space"));
        }
        let range = VirtRange::new(addr, addr + page_align(len));
        if range.is_empty() {
            return Err(Error::new(Errno::EINVAL, "the length is 0"));
        }
        self.transact(|transaction| {
            transaction.unmap(range)?;
            Ok(())
        })
    }
}

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    /// Removes what is mapped in `range`; returns whether anything was.
    pub(crate) fn unmap(&mut self, range: VirtRange) -> Result<bool, Failure> {
        let neighbours = self.neighbours(range);
        if !neighbours.is_occupied() {
            return Ok(false);
        }
        self.check_split(&neighbours)?;
        let plan = neighbours.plan(Request::Unmap, &self.landmarks());
        self.apply(plan)?;
        Ok(true)
    }

    /// Fails if unmapping the range splits a VMA and there are as many as may be.
    pub(crate) fn check_split(&self, neighbours: &Neighbours<'_>) -> Result<(), Failure> {
        if neighbours.is_split() && self.accounts.map_count >= self.max_map_count() {
            return fail(Errno::ENOMEM, "a mapping would be split, and there are max_map_count");
        }
        Ok(())
    }
}
