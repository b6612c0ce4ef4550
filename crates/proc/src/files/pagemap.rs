//! An open /proc/PID/pagemap.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use vmaple_mm::pgtable::{PageFlags, Pte, Step};
use vmaple_mm::{Errno, Error, Machine, MapleStore, MmReader, MmRef, PAGE_SHIFT, PAGE_SIZE, Soft, VirtRange, VmaStore};

use crate::seq_file::{GONE, NO_MEMORY};

/// Bytes of an entry.
const ENTRY_BYTES: u64 = 8;
/// Addresses of a step: those of a table of the lowest level.
const WALK_SIZE: u64 = 2 << 20;
/// What is known of the pages of a step.
const BUFFER: usize = ((WALK_SIZE >> PAGE_SHIFT) * ENTRY_BYTES) as usize;

/// Bits 0 to 54: the frame's number.
const PM_PFRAME: u64 = (1 << 55) - 1;
/// Bit 56: mapped nowhere else.
const PM_MMAP_EXCLUSIVE: u64 = 1 << 56;
/// Bit 63: there is a page.
const PM_PRESENT: u64 = 1 << 63;

/// An open /proc/PID/pagemap: for each page of the address space 8 bytes, at its number times 8.
///
/// | bits | |
/// |---|---|
/// | 0-54 | the number of its frame; 0 where it is not shown |
/// | 56 | mapped nowhere else |
/// | 63 | there is a page; also one that may not be accessed (PROT_NONE), and the page of zeros, which is nobody's alone |
///
/// The others are 0: there is no swap (62, and 0-54), no page of a file (61), no guard (58), no userfaultfd (57), and nothing is
/// known of soft-dirty (55), as in a kernel without `CONFIG_MEM_SOFT_DIRTY`.
///
/// # What a reader may see
/// Each entry is the page table's of some moment during the read that returned it, and each read sees the pages of now. Between two
/// steps of two megabytes of addresses nothing is held; during a step the lock of the whole address space, where the
/// [store](VmaStore) has one that readers take.
///
/// ```
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// use vmaple_proc::Pagemap;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
/// mm.mmap(VirtAddr(0x10000), 0x2000, Prot::READ | Prot::WRITE, private, None, 0)?;
/// mm.thread()?.write(VirtAddr(0x10000), &[1])?;
///
/// let mut pagemap = Pagemap::open(&mm)?;
/// let mut entry = [0; 8];
/// assert_eq!(pagemap.read_at(0x10 * 8, &mut entry)?, 8);
/// assert_eq!(u64::from_ne_bytes(entry), 1 << 63 | 1 << 56);
/// assert_eq!(pagemap.read_at(0x11 * 8, &mut entry)?, 8);
/// assert_eq!(u64::from_ne_bytes(entry), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: `pagemap_read()` and `pte_to_pagemap_entry()` in Linux's fs/proc/task_mmu.c.
pub struct Pagemap<S: VmaStore = MapleStore, M: Machine = Soft> {
    reader: MmReader<S, M>,
    /// The place of the next read, in bytes.
    offset: u64,
    /// The bits that are shown.
    shown: u64,
    buffer: Vec<u8>,
}

impl<S: VmaStore, M: Machine> Pagemap<S, M> {
    /// Opens the pagemap of an address space, with 0 for the numbers of frames: as who lacks CAP_SYS_ADMIN sees it.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    pub fn open(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Self::of(mm.reader()?, !PM_PFRAME)
    }

    /// The same with the numbers of frames, which tell where data lies in memory: for who has CAP_SYS_ADMIN, or what the embedder
    /// has like it.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with_frames(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Self::of(mm.reader()?, u64::MAX)
    }

    fn of(reader: MmReader<S, M>, shown: u64) -> Result<Self, Error> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(BUFFER).map_err(|_| NO_MEMORY)?;
        buffer.resize(BUFFER, 0);
        Ok(Self {
            reader,
            offset: 0,
            shown,
            buffer,
        })
    }

    /// Copies entries into `to` and returns how many bytes: as many as there is room for; fewer, or 0, at the end of the address
    /// space. The next read goes on behind.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at).
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        let length = self.read_at(self.offset, to)?;
        self.offset += length as u64;
        Ok(length)
    }

    /// As [`read`](Self::read), from `offset` on, which is a page's number times 8; the place of reads stays where it is.
    ///
    /// No section is open when it returns, nor while it copies; nothing is allocated.
    ///
    /// # Errors
    /// `EINVAL` if the offset or the length of `to` is not a multiple of 8, `ESRCH` if the address space is gone.
    ///
    /// ```
    /// use vmaple_mm::{Errno, Layout, Limits, Mm};
    /// use vmaple_proc::Pagemap;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let mut pagemap = Pagemap::open(&mm)?;
    /// assert_eq!(pagemap.read_at(4, &mut [0; 8]).unwrap_err().errno, Errno::EINVAL);
    /// assert_eq!(pagemap.read_at(8, &mut [0; 9]).unwrap_err().errno, Errno::EINVAL);
    /// let pages = mm.layout().task_size.page_number();
    /// assert_eq!(pagemap.read_at((pages - 1) * 8, &mut [0; 80])?, 8);
    /// assert_eq!(pagemap.read_at(pages * 8, &mut [0; 80])?, 0);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn read_at(&mut self, offset: u64, to: &mut [u8]) -> Result<usize, Error> {
        if !offset.is_multiple_of(ENTRY_BYTES) || !(to.len() as u64).is_multiple_of(ENTRY_BYTES) {
            return Err(Error {
                errno: Errno::EINVAL,
                why: "an offset or a length that is not of whole entries",
            });
        }
        let end = self.reader.mm().layout().task_size.0;
        let first = (offset / ENTRY_BYTES).saturating_mul(PAGE_SIZE).min(end);
        let pages = (to.len() as u64 / ENTRY_BYTES).min((end - first) / PAGE_SIZE);
        let mut rest = &mut to[..(pages * ENTRY_BYTES) as usize];
        let mut at = first;
        while !rest.is_empty() {
            let step_end = (at & !(WALK_SIZE - 1)) + WALK_SIZE;
            let step = at..step_end.min(first + pages * PAGE_SIZE);
            at = step.end;
            let entries = self.walk(step)?;
            let (now, later) = rest.split_at_mut(entries.len());
            now.copy_from_slice(entries);
            rest = later;
        }
        Ok((pages * ENTRY_BYTES) as usize)
    }

    /// Begins a new scan at the lowest address, as lseek(2) to 0 does.
    pub fn rewind(&mut self) {
        self.offset = 0;
    }

    /// The entries of a range that lies in one leaf table's addresses.
    fn walk(&mut self, range: Range<u64>) -> Result<&[u8], Error> {
        let _section = self.reader.mmap_read_lock().ok_or(GONE)?;
        let length = ((range.end - range.start) / PAGE_SIZE * ENTRY_BYTES) as usize;
        let entries = &mut self.buffer[..length];
        let shown = self.shown;
        entries.fill(0);
        let range = VirtRange::from(range);
        let mut at = range.start;
        while at < range.end {
            at = match self.reader.walker().leaf(at, |leaf| {
                // Loaded before the entries: a page is shared with another table only after both have been told so.
                let may_share = leaf.counters().may_share();
                for (addr, pte) in leaf.ptes(at..range.end) {
                    let place = ((addr - range.start) / PAGE_SIZE * ENTRY_BYTES) as usize;
                    let is_shared = may_share && leaf.mapcount(pte) > 1;
                    let entry = entry(pte, is_shared) & shown;
                    entries[place..place + 8].copy_from_slice(&entry.to_ne_bytes());
                }
                leaf.range().end
            }) {
                Step::Leaf(end) | Step::Hole { end } => end,
            };
        }
        Ok(entries)
    }
}

/// What pagemap says of a page.
#[doc(alias = "pte_to_pagemap_entry")]
fn entry(pte: Pte, is_shared: bool) -> u64 {
    let is_exclusive = !is_shared && !pte.flags.contains(PageFlags::ZERO);
    PM_PRESENT | if is_exclusive { PM_MMAP_EXCLUSIVE } else { 0 } | pte.pfn.0 & PM_PFRAME
}

impl<S: VmaStore, M: Machine> fmt::Debug for Pagemap<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pagemap")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// As [`Pagemap::read`], with the error of the system's number.
#[cfg(feature = "std")]
impl<S: VmaStore, M: Machine> std::io::Read for Pagemap<S, M> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.read(to)
            .map_err(|error| std::io::Error::from_raw_os_error(error.errno.code()))
    }
}
