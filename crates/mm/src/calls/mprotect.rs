//! mprotect(2).

use super::transaction::{Failure, Transaction, fail};
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange, page_align};
use crate::error::{Errno, Error};
use crate::machine::Machine;
use crate::mm::Mm;
use crate::store::VmaStore;
use crate::vma::{ACCESS, AnonVma, Mapping, Prot, VmFlags, Vma};

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// `mprotect(addr, len, prot)`: changes the protection of a range, at one instant for readers.
    ///
    /// Mappings are split where the range ends inside them. Neighbours that continue each other
    /// merge.
    ///
    /// # Errors
    /// As mprotect(2):
    /// - `EINVAL`: the address is not a multiple of the page size, or `prot` has unknown bits.
    /// - `ENOMEM`: a part of the range is not mapped, a limit is exceeded, or there is no memory
    ///   for bookkeeping.
    ///
    /// As in Linux, the mappings before the first address that is not mapped, or cannot be changed,
    /// have changed then. If memory is short, none has.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapRequest, Mm, Prot};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let at = mm.map(&MapRequest::anonymous(0x3000, Prot::READ))?;
    /// mm.mprotect(at + 0x1000, 0x1000, Prot::empty())?;
    /// assert_eq!(mm.map_count(), 3);
    /// mm.mprotect(at, 0x3000, Prot::READ)?;
    /// assert_eq!(mm.map_count(), 1);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "do_mprotect_pkey")]
    pub fn mprotect(&self, addr: VirtAddr, len: u64, prot: Prot) -> Result<(), Error> {
        const GROWS: Prot = Prot::GROWSDOWN.union(Prot::GROWSUP);
        let grows = prot & GROWS;
        let prot = prot - GROWS;
        if grows == GROWS {
            return Err(Error::new(Errno::EINVAL, "GROWSDOWN and GROWSUP"));
        }
        if !addr.is_page_aligned() {
            return Err(Error::new(
                Errno::EINVAL,
                "the address is not a multiple of the page size",
            ));
        }
        if len == 0 {
            return Ok(());
        }
        let range = addr.checked_range(page_align(len)).filter(|range| !range.is_empty());
        let range = range.ok_or(Error::new(Errno::ENOMEM, "beyond the address space"))?;
        if prot.intersects(!(Prot::READ | Prot::WRITE | Prot::EXEC | Prot::SEM)) {
            return Err(Error::new(Errno::EINVAL, "the protection has unknown bits"));
        }
        self.transact(|transaction| {
            transaction.expect(range)?;
            let Some(first) = transaction.range(range).next() else {
                return fail(Errno::ENOMEM, "nothing is mapped there");
            };
            let start = if grows == Prot::GROWSDOWN {
                if !first.flags().contains(VmFlags::GROWSDOWN) {
                    return fail(Errno::EINVAL, "the mapping does not grow down");
                }
                first.range().start
            } else {
                if first.range().start > addr {
                    return fail(Errno::ENOMEM, "nothing is mapped at the address");
                }
                if grows == Prot::GROWSUP {
                    return fail(Errno::EINVAL, "no mapping grows up");
                }
                addr
            };
            let mut at = start;
            while at < range.end {
                match transaction.protect_one(VirtRange::new(at, range.end), prot) {
                    // The mappings before stay changed.
                    Err(Failure::Error(error)) => return Err(Failure::After(error)),
                    done => at = done?,
                }
            }
            Ok(())
        })
    }
}

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    /// Changes the part of one mapping that lies in `range`; returns its end.
    #[doc(alias = "mprotect_fixup")]
    fn protect_one(&mut self, range: VirtRange, prot: Prot) -> Result<VirtAddr, Failure> {
        let Some(vma) = self.find(range.start).filter(|vma| vma.range().contains(range.start)) else {
            return fail(Errno::ENOMEM, "a part of the range is not mapped");
        };
        let part = vma.range().intersection(range);
        let mapping = vma.mapping();
        let flags = protected(vma, prot, mapping.anon_vma);
        if flags == vma.flags() {
            return Ok(part.end);
        }
        let pages = part.len() >> PAGE_SHIFT;
        let old = vma.flags();
        let mapping = Mapping { flags, ..mapping };
        if flags.contains(VmFlags::WRITE) && !self.may_expand(flags, pages) && self.may_expand(old, pages) {
            return fail(Errno::ENOMEM, "above RLIMIT_DATA");
        }
        self.modify(part, mapping)?;
        Ok(part.end)
    }
}

/// Returns the flags of a mapping with another protection.
fn protected(vma: &Vma, prot: Prot, anon_vma: Option<AnonVma>) -> VmFlags {
    const COUNTED: VmFlags = VmFlags::ACCOUNT
        .union(VmFlags::WRITE)
        .union(VmFlags::SHARED)
        .union(VmFlags::NORESERVE);
    let mut flags = (vma.flags() - ACCESS) | VmFlags::from(prot);
    if flags == vma.flags() {
        return flags;
    }
    if flags.contains(VmFlags::WRITE) {
        if !vma.flags().intersects(COUNTED) {
            flags |= VmFlags::ACCOUNT;
        }
    } else if vma.file().is_none() && anon_vma.is_none() {
        flags -= VmFlags::ACCOUNT;
    }
    flags
}
