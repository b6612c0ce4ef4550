//! The arguments of mmap(2), by name.

use crate::addr::VirtAddr;
use crate::kref::Kref;
use crate::vma::{File, MapFlags, Prot};

/// A mapping to make: the arguments of mmap(2), by name. [`Mm::map`](crate::Mm::map) and
/// [`MmThread::map`](crate::MmThread::map) make it.
///
/// Private, at any address that is free, unless a method says otherwise.
///
/// ```
/// use vmaple_mm::{File, Layout, Limits, MapRequest, Mm, Prot};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let heap = mm.map(&MapRequest::anonymous(0x4000, Prot::READ | Prot::WRITE))?;
/// mm.map(&MapRequest::anonymous(0x1000, Prot::empty()).at(heap).fixed())?;
///
/// let libc = File::new((8, 1), 42, b"/lib/libc.so.6")?;
/// mm.map(&MapRequest::of_file(&libc, 0x2000, 0x3000, Prot::READ | Prot::EXEC))?;
/// assert_eq!((mm.map_count(), mm.total_vm()), (3, 7));
/// # Ok::<(), vmaple_mm::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is mapped before `Mm::map`"]
pub struct MapRequest<'f> {
    pub(super) addr: VirtAddr,
    pub(super) len: u64,
    pub(super) prot: Prot,
    pub(super) flags: MapFlags,
    pub(super) file: Option<&'f Kref<File>>,
    pub(super) offset: u64,
}

impl<'f> MapRequest<'f> {
    /// Asks for `len` bytes of private anonymous memory.
    pub const fn anonymous(len: u64, prot: Prot) -> Self {
        Self {
            addr: VirtAddr(0),
            len,
            prot,
            flags: MapFlags::PRIVATE.union(MapFlags::ANONYMOUS),
            file: None,
            offset: 0,
        }
    }

    /// Asks for a private mapping of `len` bytes of a file, from `offset` on.
    pub const fn of_file(file: &'f Kref<File>, offset: u64, len: u64, prot: Prot) -> Self {
        Self {
            addr: VirtAddr(0),
            len,
            prot,
            flags: MapFlags::PRIVATE,
            file: Some(file),
            offset,
        }
    }

    /// Asks for an address: a hint, unless it is [`fixed`](Self::fixed).
    pub const fn at(mut self, addr: VirtAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Takes no other address, and replaces what is mapped there.
    #[doc(alias = "MAP_FIXED")]
    pub const fn fixed(self) -> Self {
        self.flags(MapFlags::FIXED)
    }

    /// Takes no other address, and fails with `EEXIST` if something is mapped there.
    #[doc(alias = "MAP_FIXED_NOREPLACE")]
    pub const fn fixed_noreplace(self) -> Self {
        self.flags(MapFlags::FIXED_NOREPLACE)
    }

    /// Makes it shared: writes go to the object.
    #[doc(alias = "MAP_SHARED")]
    pub const fn shared(mut self) -> Self {
        self.flags = self.flags.difference(MapFlags::PRIVATE).union(MapFlags::SHARED);
        self
    }

    /// Populates it: the pages are there when the call returns, if there was memory.
    #[doc(alias = "MAP_POPULATE")]
    pub const fn populate(self) -> Self {
        self.flags(MapFlags::POPULATE)
    }

    /// Adds flags.
    pub const fn flags(mut self, flags: MapFlags) -> Self {
        self.flags = self.flags.union(flags);
        self
    }
}
