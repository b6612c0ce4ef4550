//! /proc/PID/pagemap.
//!
//! It is no [`OpenFile`](crate::OpenFile): it is read at any offset, by pages and not by records,
//! and as in Linux it is no seq_file.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use vmaple_mm::pgtable::{PageFlags, Pte, Step};
use vmaple_mm::{Errno, Error, Machine, MapleStore, MmReader, MmRef, PAGE_SHIFT, PAGE_SIZE, Soft, VirtRange, VmaStore};

use crate::seq_file::{GONE, NO_MEMORY};

/// The bytes of an entry.
const ENTRY_BYTES: u64 = 8;
/// The addresses of a step: those of one leaf table.
const WALK_SIZE: u64 = 2 << 20;
/// The bytes of the entries of a step.
const BUFFER: usize = ((WALK_SIZE >> PAGE_SHIFT) * ENTRY_BYTES) as usize;

/// Bits 0 to 54: the number of the frame.
const PM_PFRAME: u64 = (1 << 55) - 1;
/// Bit 56: the page is mapped nowhere else.
const PM_MMAP_EXCLUSIVE: u64 = 1 << 56;
/// Bit 63: there is a page.
const PM_PRESENT: u64 = 1 << 63;

/// An open /proc/PID/pagemap: 8 bytes for each page of the address space, at its number times 8.
///
/// | bits | |
/// |---|---|
/// | 0-54 | the number of its frame; 0 where it is not shown |
/// | 56 | mapped nowhere else |
/// | 63 | there is a page, also one that may not be accessed (PROT_NONE), also the zero page |
///
/// The zero page is never exclusive. The other bits are 0: there is no swap (62, and 0-54), no page
/// of a file (61), no guard (58) and no userfaultfd (57). Soft-dirty (55) is not tracked, as in a
/// kernel without `CONFIG_MEM_SOFT_DIRTY`.
///
/// # What a reader may see
/// Each entry is the page table's at some moment during the read that returned it. Nothing is held
/// between two steps of 2 MiB of addresses. During a step the lock of the whole address space is
/// held, where the [store](VmaStore) has one that readers take.
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
    /// Opens the pagemap of an address space, with 0 for the numbers of frames.
    ///
    /// It is what a reader without CAP_SYS_ADMIN sees.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    pub fn open(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Self::of(mm.reader()?, !PM_PFRAME)
    }

    /// Opens the pagemap of an address space, with the numbers of frames.
    ///
    /// They tell where data lies in memory: for readers that have CAP_SYS_ADMIN, or the embedder's
    /// equivalent.
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

    /// Copies entries into `to` and returns how many bytes.
    ///
    /// These are as many as there is room for; fewer, or 0, at the end of the address space. The
    /// next read goes on after them.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at).
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        let length = self.read_at(self.offset, to)?;
        self.offset += length as u64;
        Ok(length)
    }

    /// Copies entries into `to`, as [`read`](Self::read) does, from `offset` on.
    ///
    /// The offset is a page's number times 8. The place of reads stays where it is. No section is
    /// open when it returns, nor while it copies; nothing is allocated.
    ///
    /// # Errors
    /// `EINVAL` if the offset or the length of `to` is not a multiple of 8, `ESRCH` if the address
    /// space is gone.
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
                why: "pagemap is read in whole entries: offset and length must be multiples of 8",
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

    /// Reads the entries of a range that lies in one leaf table's addresses.
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
                // Loaded before the entries: both tables are told before they share a page.
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

/// Returns the entry of a page.
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
