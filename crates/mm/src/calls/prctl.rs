//! prctl(2), PR_SET_VMA_ANON_NAME.

use super::transaction::Failure;
use crate::addr::{VirtAddr, VirtRange, page_align};
use crate::error::{Errno, Error};
use crate::machine::Machine;
use crate::mm::Mm;
use crate::store::VmaStore;
use crate::vma::{ANON_NAME_MAX, AnonName, Mapping};

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// `prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, name)`: names the anonymous mappings in
    /// a range.
    ///
    /// `None` removes their names. Readers see `[anon:NAME]`, or `[anon_shmem:NAME]` of shared
    /// memory, from one instant on. Neighbours of one name may merge, those of different names
    /// never.
    ///
    /// # Errors
    /// As prctl(2):
    /// - `EINVAL`: the address is not a multiple of the page size; the range overflows; the name
    ///   has more than [`ANON_NAME_MAX`] bytes, or one that is not printable ASCII, or is one of `[
    ///   ] \ $` and the backquote.
    /// - `ENOMEM`: a part of the range is not mapped (the rest has its name), or there is no memory
    ///   for bookkeeping.
    /// - `EBADF`: a mapping is of a file. The mappings before it have their names.
    /// - `EAGAIN`: there would be too many mappings. The mappings before that have their names.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapRequest, Mm, Prot};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let at = mm.map(&MapRequest::anonymous(0x3000, Prot::READ))?;
    /// mm.set_anon_vma_name(at, 0x1000, Some(b"arena"))?;
    /// assert_eq!(mm.map_count(), 2);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "madvise_set_anon_name")]
    pub fn set_anon_vma_name(&self, addr: VirtAddr, len: u64, name: Option<&[u8]>) -> Result<(), Error> {
        let is_allowed = |byte: &u8| matches!(byte, b' '..=b'~') && !br"\`$[]".contains(byte);
        if name.is_some_and(|name| name.len() > ANON_NAME_MAX || !name.iter().all(is_allowed)) {
            return Err(Error::new(
                Errno::EINVAL,
                "the name is too long, or has bytes that are not allowed",
            ));
        }
        if !addr.is_page_aligned() {
            return Err(Error::new(
                Errno::EINVAL,
                "the address is not a multiple of the page size",
            ));
        }
        let size = page_align(len);
        let range = addr.checked_range(size).filter(|_| len == 0 || size > 0);
        let range = range.ok_or(Error::new(Errno::EINVAL, "beyond the address space"))?;
        // Allocated without the lock.
        let name = name.map(AnonName::new).transpose()?;
        self.transact(|transaction| {
            transaction.expect(range)?;
            let (mut at, mut has_hole) = (addr, false);
            while at < range.end {
                let Some(vma) = transaction.range(VirtRange::new(at, range.end)).next() else {
                    has_hole = true;
                    break;
                };
                has_hole |= vma.range().start > at;
                at = at.max(vma.range().start);
                if vma.file().is_some_and(|file| !file.is_anon_shmem()) {
                    return Err(Failure::After(Error::new(
                        Errno::EBADF,
                        "the mapping of a file has no name of its own",
                    )));
                }
                if vma.anon_name() == name.as_ref().map(|name| name.bytes()) {
                    at = vma.range().end;
                    continue;
                }
                let mapping = Mapping {
                    anon_name: name.clone(),
                    ..vma.mapping()
                };
                let part = VirtRange::new(at, range.end.min(vma.range().end));
                match transaction.modify(part, mapping) {
                    // Linux keeps ENOMEM for holes.
                    Err(Failure::Error(error) | Failure::After(error)) => {
                        let errno = Errno::EAGAIN;
                        return Err(Failure::After(Error { errno, ..error }));
                    }
                    done => done?,
                }
                at = part.end;
            }
            if has_hole {
                return Err(Failure::After(Error::new(
                    Errno::ENOMEM,
                    "a part of the range is not mapped",
                )));
            }
            Ok(())
        })
    }
}
