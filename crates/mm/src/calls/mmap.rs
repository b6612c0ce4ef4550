//! mmap(2).

use super::map_request::MapRequest;
use super::transaction::{Failure, fail};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange, page_align};
use crate::error::{Errno, Error};
use crate::fault::MmThread;
use crate::kref::Kref;
use crate::machine::Machine;
use crate::mm::Mm;
use crate::pgtable::Arch;
use crate::store::VmaStore;
use crate::vma::{File, MAY_ACCESS, MapFlags, Mapping, Merge, Prot, Request, VmFlags};

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// `mmap(addr, len, prot, flags, fd, offset)`: maps memory, or `file` from `offset` on, and
    /// returns the address.
    ///
    /// At one instant for readers: what [`MapFlags::FIXED`] replaces is there until the new mapping
    /// is. [`map`](Self::map) is the same with named arguments.
    ///
    /// `len`, in bytes, is rounded up to whole pages. Without `FIXED` the address is a hint. The
    /// new mapping merges with neighbours that it continues. A file counts as open for reading
    /// and writing; with `ANONYMOUS` it is ignored. With `POPULATE` the pages are there when
    /// the call returns, if there was memory; [`MmThread::mmap`] does that cheaper.
    ///
    /// # Errors
    /// As mmap(2):
    /// - `EINVAL`: the length is 0; an address (with `FIXED`) or an offset is not a multiple of the
    ///   page size; the type (`MAP_TYPE`) is unknown, or not for a file or not for anonymous
    ///   memory; shared or droppable memory, or a file, is to grow down; `HUGETLB`.
    /// - `ENOMEM`: there is no room; there are too many mappings; a limit is exceeded; there is no
    ///   memory for bookkeeping.
    /// - `EEXIST`: something is mapped there (`FIXED_NOREPLACE`).
    /// - `EPERM`: the address is below the lowest one; `LOCKED`.
    /// - `EBADF`: there is neither a file nor `ANONYMOUS`.
    /// - `EOVERFLOW`: the mapping ends beyond every file.
    /// - `EOPNOTSUPP`: `SHARED_VALIDATE` does not allow a flag.
    ///
    /// Where a limit of pages causes `ENOMEM`, Linux has split what `FIXED` cuts: see
    /// [`PartialEffects`](crate::PartialEffects).
    ///
    /// ```
    /// use vmaple_mm::{Limits, Layout, MapFlags, Mm, Prot, VirtAddr};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    /// let at = mm.mmap(VirtAddr(0), 0x3000, Prot::READ | Prot::WRITE, flags, None, 0)?;
    /// mm.mmap(at + 0x1000, 0x1000, Prot::READ, flags | MapFlags::FIXED, None, 0)?;
    /// assert_eq!(mm.map_count(), 3);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "do_mmap")]
    pub fn mmap(
        &self,
        addr: VirtAddr,
        len: u64,
        prot: Prot,
        flags: MapFlags,
        file: Option<&Kref<File>>,
        offset: u64,
    ) -> Result<VirtAddr, Error> {
        self.map(&MapRequest {
            addr,
            len,
            prot,
            flags,
            file,
            offset,
        })
    }

    /// Maps what a request asks for, and returns the address: [`mmap`](Self::mmap) with named
    /// arguments.
    ///
    /// # Errors
    /// As for [`mmap`](Self::mmap).
    pub fn map(&self, request: &MapRequest<'_>) -> Result<VirtAddr, Error> {
        let at = self.map_region(request)?;
        if populates(request.flags)
            && let Ok(thread) = self.thread()
        {
            thread.populate_mapped(VirtRange::new(at, at + page_align(request.len)));
        }
        Ok(at)
    }

    /// Maps without pages.
    #[doc(alias = "mmap_region")]
    fn map_region(&self, request: &MapRequest<'_>) -> Result<VirtAddr, Error> {
        let MapRequest {
            addr,
            len,
            prot,
            flags,
            file,
            offset,
        } = *request;
        if !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Error::new(
                Errno::EINVAL,
                "the offset is not a multiple of the page size",
            ));
        }
        let file = file.filter(|_| !flags.contains(MapFlags::ANONYMOUS));
        if file.is_none() && !flags.contains(MapFlags::ANONYMOUS) {
            return Err(Error::new(Errno::EBADF, "neither a file nor ANONYMOUS"));
        }
        if flags.contains(MapFlags::HUGETLB) {
            return Err(Error::new(Errno::EINVAL, "there are no huge pages"));
        }
        if len == 0 {
            return Err(Error::new(Errno::EINVAL, "the length is 0"));
        }
        let len = page_align(len);
        if len == 0 {
            return Err(Error::new(Errno::ENOMEM, "longer than the address space"));
        }
        // Allocated without the lock.
        let shared = match file {
            None if flags & TYPE == MapFlags::SHARED => Some(File::shared_anonymous()?),
            file => file.cloned(),
        };
        self.transact(|transaction| {
            if transaction.accounts.map_count > transaction.max_map_count() {
                return fail(Errno::ENOMEM, "more mappings than max_map_count");
            }
            let start = transaction.unmapped_area(addr, len, flags)?;
            let range = VirtRange::new(start, start + len);
            let neighbours = transaction.neighbours(range);
            if flags.contains(MapFlags::FIXED_NOREPLACE) && neighbours.is_occupied() {
                return fail(Errno::EEXIST, "something is mapped there");
            }
            if flags.contains(MapFlags::LOCKED) {
                return fail(Errno::EPERM, "memory cannot be locked yet");
            }
            if file.is_some() && offset > FILE_MAX.saturating_sub(len) {
                return fail(Errno::EOVERFLOW, "the mapping ends beyond every file");
            }
            let mapping = Mapping {
                flags: vm_flags::<M::Arch>(prot, flags, file)?,
                file: shared.clone(),
                anon_name: None,
                anon_vma: None,
            };
            let pgoff = match (file, mapping.flags.contains(VmFlags::SHARED)) {
                (Some(_), _) => offset >> PAGE_SHIFT,
                (None, true) => 0,
                (None, false) => start.page_number(),
            };
            transaction.check_split(&neighbours)?;
            if !transaction.may_expand(mapping.flags, (len >> PAGE_SHIFT) - neighbours.pages()) {
                let error = Error::new(Errno::ENOMEM, "above RLIMIT_AS or RLIMIT_DATA");
                return transaction.fail_split([range.start, range.end], error);
            }
            let request = Request::Map {
                mapping,
                pgoff,
                merge: Merge::Both,
            };
            let plan = neighbours.plan(request, &transaction.landmarks());
            transaction.apply(plan)?;
            Ok(start)
        })
    }
}

impl<S: VmaStore, M: Machine> MmThread<S, M> {
    /// [`Mm::mmap`]; this thread puts the pages there that `POPULATE` asks for.
    ///
    /// # Errors
    /// As for [`Mm::mmap`].
    pub fn mmap(
        &self,
        addr: VirtAddr,
        len: u64,
        prot: Prot,
        flags: MapFlags,
        file: Option<&Kref<File>>,
        offset: u64,
    ) -> Result<VirtAddr, Error> {
        self.map(&MapRequest {
            addr,
            len,
            prot,
            flags,
            file,
            offset,
        })
    }

    /// [`Mm::map`]; this thread puts the pages there that `POPULATE` asks for.
    ///
    /// # Errors
    /// As for [`Mm::mmap`].
    pub fn map(&self, request: &MapRequest<'_>) -> Result<VirtAddr, Error> {
        let at = self.mm().map_region(request)?;
        if populates(request.flags) {
            self.populate_mapped(VirtRange::new(at, at + page_align(request.len)));
        }
        Ok(at)
    }
}

/// Whether the flags ask for pages at once.
fn populates(flags: MapFlags) -> bool {
    flags & (MapFlags::POPULATE | MapFlags::NONBLOCK) == MapFlags::POPULATE
}

/// `MAP_TYPE`: the bits that say where writes go.
const TYPE: MapFlags = MapFlags::from_bits_retain(0xf);

/// Bytes of the longest file (`MAX_LFS_FILESIZE`).
const FILE_MAX: u64 = i64::MAX as u64;

/// The flags that `SHARED_VALIDATE` allows (`LEGACY_MAP_MASK`), and its own bits.
const KNOWN: MapFlags = MapFlags::from_bits_retain(0x7c07_f9f3);

/// Those of them that only an architecture with [`Arch::LOW`] has.
const KNOWN_LOW: MapFlags = MapFlags::MAP_32BIT.union(MapFlags::ABOVE4G);

/// Returns the flags of a new mapping.
#[doc(alias = "calc_vm_flag_bits")]
fn vm_flags<A: Arch>(prot: Prot, flags: MapFlags, file: Option<&Kref<File>>) -> Result<VmFlags, Failure> {
    let is_file = file.is_some();
    let mut vm_flags = VmFlags::from(prot) | MAY_ACCESS;
    vm_flags.set(VmFlags::GROWSDOWN, flags.contains(MapFlags::GROWSDOWN));
    vm_flags.set(VmFlags::NORESERVE, flags.contains(MapFlags::NORESERVE));
    vm_flags.set(VmFlags::NOHUGEPAGE, flags.contains(MapFlags::STACK));
    vm_flags.set(VmFlags::SYNC, flags.contains(MapFlags::SYNC));
    let is_shared = match flags & TYPE {
        MapFlags::PRIVATE => false,
        MapFlags::SHARED => true,
        MapFlags::DROPPABLE if !is_file => {
            vm_flags |= VmFlags::DROPPABLE | VmFlags::NORESERVE | VmFlags::WIPEONFORK | VmFlags::DONTDUMP;
            false
        }
        MapFlags::SHARED_VALIDATE if is_file => {
            let known = if A::LOW.is_some() { KNOWN } else { KNOWN - KNOWN_LOW };
            if !known.contains(flags) {
                return fail(Errno::EOPNOTSUPP, "SHARED_VALIDATE does not allow one of the flags");
            }
            true
        }
        _ => {
            return fail(
                Errno::EINVAL,
                "the type is neither PRIVATE nor SHARED, nor another one for such memory",
            );
        }
    };
    let may_grow = !is_shared && !is_file && !vm_flags.contains(VmFlags::DROPPABLE);
    if !may_grow && vm_flags.contains(VmFlags::GROWSDOWN) {
        return fail(
            Errno::EINVAL,
            "only private anonymous memory grows down, and none that is droppable",
        );
    }
    if is_shared {
        vm_flags |= VmFlags::SHARED | VmFlags::MAYSHARE;
    }
    vm_flags.set(VmFlags::ACCOUNT, vm_flags.is_accountable());
    Ok(vm_flags)
}
