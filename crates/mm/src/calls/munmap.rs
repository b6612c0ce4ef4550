//! munmap(2).

use super::transaction::fail;
use crate::addr::{VirtAddr, page_align};
use crate::error::{Errno, Error};
use crate::machine::Machine;
use crate::mm::Mm;
use crate::store::VmaStore;

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// `munmap(addr, len)`: takes out what is mapped in a range, at one instant for readers. Mappings that reach out of the range
    /// keep the rest. That nothing is mapped there is no error.
    ///
    /// # Errors
    /// As munmap(2): `EINVAL`: an address that is not of a page, no length, or beyond the address space. `ENOMEM`: a mapping would
    /// be split and there are as many as may be, or no memory for bookkeeping.
    ///
    /// ```
    /// use vmaple_mm::{Limits, Layout, MapFlags, Mm, Prot, VirtAddr};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let at = mm.mmap(VirtAddr(0), 0x3000, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
    /// mm.munmap(VirtAddr(at.0 + 0x1000), 0x1000)?;
    /// assert_eq!((mm.map_count(), mm.total_vm()), (2, 2));
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "do_vmi_munmap")]
    pub fn munmap(&self, addr: VirtAddr, len: u64) -> Result<(), Error> {
        let task_size = self.layout().task_size;
        if !addr.is_page_aligned() {
            return Err(Error::new(Errno::EINVAL, "the address is not of a page"));
        }
        if addr.0 > task_size || len > task_size - addr.0 {
            return Err(Error::new(Errno::EINVAL, "beyond the address space"));
        }
        let range = addr.0..addr.0 + page_align(len);
        if range.is_empty() {
            return Err(Error::new(Errno::EINVAL, "the length is zero"));
        }
        self.transact(|transaction| {
            let met = transaction.meet(&range);
            if !met.is_occupied() {
                return Ok(());
            }
            if met.is_split() && transaction.accounts.map_count >= transaction.max_map_count() {
                return fail(Errno::ENOMEM, "a mapping would be split, and there are max_map_count");
            }
            let plan = transaction.clear(&range, &met);
            transaction.zap(range.clone(), false);
            transaction.apply(plan)
        })
    }
}
