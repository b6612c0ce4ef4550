//! An open /proc/PID/maps: the cursor, and seq_file's buffer.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use vmaple_mm::{Errno, Error, MapleStore, MmReader, MmRef, MmSnapshot, SnapshotStore, VmaRead, VmaStore};

use crate::line::TooShort;
use crate::query::QueryFlags;
use crate::record::VmaRecord;
use crate::source::Source;

/// seq_file's page. A line fits if it leaves a byte, which is how seq_file tells a full buffer from one that was too small.
const PAGE: usize = 4096;
/// Behind the last VMA: no VMA ends above it, so nothing is found any more.
const END: u64 = u64::MAX;

/// An open /proc/PID/maps, with its place in it.
///
/// Two ways through it, with one cursor: as text ([`read`](Self::read)), or record by record
/// ([`next_record`](Self::next_record)). Both show next what ends above the cursor, and set the cursor to its end. Questions
/// about one address ([`query`](Self::query)) leave the cursor where it is.
///
/// What a concurrent reader may see: [the contract](crate#what-a-reader-may-see).
///
/// # Invariants
/// `unread` lies within `buffer`.
pub struct Maps<R = MmReader<MapleStore>> {
    source: R,
    /// What is below has been shown.
    cursor: u64,
    /// Lines of one instant; as long as it may become full.
    buffer: Vec<u8>,
    /// What of it has not been read.
    unread: Range<usize>,
    /// The text in the name of the record that was found last.
    pub(crate) name: Vec<u8>,
}

impl<S: VmaStore> Maps<MmReader<S>> {
    /// Opens the maps of an address space, which lives on or ends as if nobody had it open.
    ///
    /// Nobody is asked for permission: see [the crate](crate#who-may-read).
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    ///
    /// ```
    /// use vmaple_mm::{Errno, Layout, Limits, Mm};
    /// use vmaple_proc::Maps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let mut maps = Maps::open(&mm)?;
    /// drop(mm);
    /// assert_eq!(maps.read(&mut [0; 100]).unwrap_err().errno, Errno::ESRCH);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn open(mm: &MmRef<S>) -> Result<Self, Error> {
        Self::of(mm.reader()?)
    }
}

impl<S: SnapshotStore> Maps<MmSnapshot<S>> {
    /// Opens the maps of an address space as they are now: all that is read is of this one instant, whatever happens meanwhile
    /// and even when the address space is gone. What is mapped now stays in memory while it is open.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `EAGAIN` if too many snapshots of it are open, `ENOMEM`.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::Maps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    /// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ, private, None, 0)?;
    /// let mut maps = Maps::snapshot(&mm)?;
    /// mm.munmap(VirtAddr(0x10000), 0x3000)?;
    ///
    /// let mut buffer = [0; 4096];
    /// let length = maps.read(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"00010000-00013000 r--p 00000000 00:00 0 \n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(mm: &MmRef<S>) -> Result<Self, Error> {
        Self::of(mm.snapshot()?)
    }
}

impl<R: Source> Maps<R> {
    fn of(source: R) -> Result<Self, Error> {
        let mut maps = Self {
            source,
            cursor: 0,
            buffer: Vec::new(),
            unread: 0..0,
            name: Vec::new(),
        };
        grow(&mut maps.buffer, PAGE)?;
        // INVARIANT: nothing is unread.
        Ok(maps)
    }

    /// Copies text into `to` and returns how many bytes: what was left of the last buffer, or else from a new one, which is
    /// 4 KiB of whole lines rendered at one instant. 0 at the end, and if `to` is empty.
    ///
    /// No section is open when it returns, nor while it copies; nothing is allocated, but for a line that is longer than the
    /// buffer.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone and the end was not reached, `ENOMEM` if a line is longer than the buffer and there
    /// is no memory for it; the next read tries again.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::Maps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    /// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ, private, None, 0)?;
    ///
    /// let mut maps = Maps::open(&mm)?;
    /// let mut buffer = [0; 4096];
    /// let length = maps.read(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"00010000-00013000 r--p 00000000 00:00 0 \n");
    /// assert_eq!(maps.read(&mut buffer)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Source: `seq_read_iter()`, `m_start()` and `m_next()` of Linux.
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        if to.is_empty() {
            return Ok(0);
        }
        if self.unread.is_empty() {
            self.fill()?;
        }
        let text = &self.buffer[self.unread.clone()];
        let length = text.len().min(to.len());
        to[..length].copy_from_slice(&text[..length]);
        self.unread.start += length;
        Ok(length)
    }

    /// The next VMA, whole, with the address from which it is new to this scan; nothing at the end. Text that was rendered and
    /// not read yet comes before it.
    ///
    /// Each record is of an instant of its own. No section is open when it returns.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone and the end was not reached, `ENOMEM` if there is no memory for the name; the next
    /// call tries again.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::Maps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    /// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ, private, None, 0)?;
    ///
    /// let mut maps = Maps::open(&mm)?;
    /// let mut bytes = 0;
    /// while let Some(record) = maps.next_record()? {
    ///     bytes += record.end - record.new_from; // counts no address twice
    /// }
    /// assert_eq!(bytes, 0x3000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_record(&mut self) -> Result<Option<VmaRecord<'_>>, Error> {
        let from = self.cursor;
        if from == END {
            return Ok(None);
        }
        let record = self.find(from, QueryFlags::COVERING_OR_NEXT_VMA, from)?;
        self.cursor = record.map_or(END, |record| record.end);
        Ok(record.map(|record| record.over(&self.name)))
    }

    /// Begins a new scan at the lowest address, as lseek(2) to 0 does; what [the contract](crate#what-a-reader-may-see) says
    /// holds of each scan for itself.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::Maps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let mut maps = Maps::open(&mm)?;
    /// assert!(maps.next_record()?.is_none());
    /// mm.mmap(VirtAddr(0), 0x1000, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
    /// assert!(maps.next_record()?.is_none()); // the end stays the end
    /// maps.rewind();
    /// assert!(maps.next_record()?.is_some());
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn rewind(&mut self) {
        self.cursor = 0;
        self.unread = 0..0;
    }

    /// Renders lines until the buffer is full or none is left.
    fn fill(&mut self) -> Result<(), Error> {
        // A line that is longer than the buffer has it grow, outside of the section, and is looked for again.
        while let Some(needed) = self.render()? {
            grow(&mut self.buffer, (needed + 1).next_power_of_two())?;
        }
        Ok(())
    }

    /// Renders in one section; returns the length of the first line if there is no room for it.
    fn render(&mut self) -> Result<Option<usize>, Error> {
        self.unread = 0..0;
        if self.cursor == END {
            return Ok(None);
        }
        let section = self.source.section().ok_or(GONE)?;
        let room = self.buffer.len() - 1;
        for vma in section.iter_from(self.cursor) {
            let record = VmaRecord::new(vma, self.cursor);
            match record.write_line(&mut self.buffer[self.unread.end..room]) {
                // INVARIANT: the line lies within the buffer.
                Ok(length) => self.unread.end += length,
                Err(TooShort { needed }) if self.unread.is_empty() => return Ok(Some(needed)),
                Err(_) => return Ok(None),
            }
            self.cursor = record.end;
        }
        self.cursor = END;
        Ok(None)
    }

    /// The first record that answers the question, found in one section, for a scan that has come to `cursor`. The text of its
    /// name is in `self.name`.
    pub(crate) fn find(
        &mut self,
        addr: u64,
        flags: QueryFlags,
        cursor: u64,
    ) -> Result<Option<VmaRecord<'static>>, Error> {
        loop {
            self.name.clear();
            let section = self.source.section().ok_or(GONE)?;
            let Some(vma) = flags.find(&section, addr) else {
                return Ok(None);
            };
            let record = VmaRecord::new(vma, cursor);
            let text = record.name.text();
            if text.len() <= self.name.capacity() {
                self.name.extend_from_slice(text);
                return Ok(Some(record.over(&[])));
            }
            // As for lines.
            let needed = text.len().next_power_of_two();
            drop(section);
            self.name.try_reserve_exact(needed).map_err(|_| NO_MEMORY)?;
        }
    }
}

const GONE: Error = Error {
    errno: Errno::ESRCH,
    why: "the address space is gone",
};

/// Makes a buffer so many bytes long, or leaves it as it is.
fn grow(buffer: &mut Vec<u8>, size: usize) -> Result<(), Error> {
    buffer.try_reserve_exact(size - buffer.len()).map_err(|_| NO_MEMORY)?;
    buffer.resize(size, 0);
    Ok(())
}

const NO_MEMORY: Error = Error {
    errno: Errno::ENOMEM,
    why: "no memory for the buffer of an open maps file",
};

impl<R> fmt::Debug for Maps<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps")
            .field("cursor", &self.cursor)
            .field("unread", &self.unread.len())
            .finish_non_exhaustive()
    }
}

/// As [`Maps::read`], with the error of the system's number.
#[cfg(feature = "std")]
impl<R: Source> std::io::Read for Maps<R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.read(to)
            .map_err(|error| std::io::Error::from_raw_os_error(error.errno.code()))
    }
}
