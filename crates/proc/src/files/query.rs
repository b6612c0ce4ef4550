//! Questions about one address, as by the ioctl PROCMAP_QUERY.

use bitflags::bitflags;
use vmaple_mm::{Errno, Error, VirtAddr, VmFlags, Vma, VmaRead};
use vmaple_smaps::VmaRecord;

use crate::files::maps::Maps;
use crate::source::Source;

bitflags! {
    /// A question, with Linux's numbers.
    ///
    /// The flags that name a property are a filter: the VMA must have all of them.
    ///
    /// Source: `enum procmap_query_flags` of Linux.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct QueryFlags: u64 {
        /// It may be read.
        const READABLE = 0x01;
        /// It may be written.
        const WRITABLE = 0x02;
        /// It may be executed.
        const EXECUTABLE = 0x04;
        /// Writes are visible to all that map the same memory.
        const SHARED = 0x08;
        /// The answer is the first VMA that ends above the address and passes the filter. Without
        /// this flag it is only a VMA that holds the address.
        const COVERING_OR_NEXT_VMA = 0x10;
        /// It is of a file, such as the one of shared anonymous memory.
        const FILE_BACKED_VMA = 0x20;
    }
}

impl QueryFlags {
    /// Finds the VMA that answers the question about `addr`.
    ///
    /// Source: `query_matching_vma()` of Linux.
    pub(crate) fn find(self, vmas: &impl VmaRead, addr: VirtAddr) -> Option<&Vma> {
        if self.contains(Self::COVERING_OR_NEXT_VMA) {
            vmas.iter_from(addr).find(|vma| self.pass(vma))
        } else {
            vmas.find(addr).filter(|vma| vma.start() <= addr && self.pass(vma))
        }
    }

    fn pass(self, vma: &Vma) -> bool {
        let has = |flag| vma.flags().contains(flag);
        (!self.contains(Self::READABLE) || has(VmFlags::READ))
            && (!self.contains(Self::WRITABLE) || has(VmFlags::WRITE))
            && (!self.contains(Self::EXECUTABLE) || has(VmFlags::EXEC))
            && (!self.contains(Self::SHARED) || has(VmFlags::MAYSHARE))
            && (!self.contains(Self::FILE_BACKED_VMA) || vma.file().is_some())
    }
}

impl<R: Source> Maps<R> {
    /// Returns the VMA that holds the address `addr`, or another that `flags` ask for, at one
    /// instant.
    ///
    /// It is as ioctl(2) with `PROCMAP_QUERY`. The place of reads stays where it is.
    ///
    /// # Errors
    /// `ENOENT` if there is no such VMA. `EINVAL` if `flags` has bits that have no meaning. `ESRCH`
    /// if the address space is gone. `ENOMEM` if there is no memory for the name.
    ///
    /// ```
    /// use vmaple_mm::{Errno, Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::{Maps, QueryFlags};
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    /// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ, private, None, 0)?;
    ///
    /// let mut maps = Maps::open(&mm)?;
    /// assert_eq!(maps.query(VirtAddr(0x11000), QueryFlags::empty())?.end, 0x13000);
    /// assert_eq!(maps.query(VirtAddr(0), QueryFlags::empty()).unwrap_err().errno, Errno::ENOENT);
    /// assert_eq!(maps.query(VirtAddr(0), QueryFlags::COVERING_OR_NEXT_VMA)?.start, 0x10000);
    /// let writable = QueryFlags::COVERING_OR_NEXT_VMA | QueryFlags::WRITABLE;
    /// assert_eq!(maps.query(VirtAddr(0), writable).unwrap_err().errno, Errno::ENOENT);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Source: `do_procmap_query()` of Linux.
    #[doc(alias = "PROCMAP_QUERY")]
    pub fn query(&mut self, addr: VirtAddr, flags: QueryFlags) -> Result<VmaRecord<'_>, Error> {
        if QueryFlags::from_bits(flags.bits()).is_none() {
            return Err(Error {
                errno: Errno::EINVAL,
                why: "the query has flags that have no meaning",
            });
        }
        let record = self.file.find(addr, flags, VirtAddr(0))?.ok_or(Error {
            errno: Errno::ENOENT,
            why: "no mapping is as the query asks",
        })?;
        Ok(self.file.name.give(&record))
    }
}
