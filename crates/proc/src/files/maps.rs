//! An open /proc/PID/maps.

use core::fmt;

use vmaple_mm::{Error, Machine, MapleStore, MmReader, MmRef, MmSnapshot, SnapshotStore, VmaRead, VmaStore};

use crate::files::query::QueryFlags;
use crate::name_buffer::NameBuffer;
use crate::record::VmaRecord;
use crate::seq_file::{GONE, SeqFile};
use crate::source::{END, Source};

/// An open /proc/PID/maps, with its place in it.
///
/// Two ways through it, with one cursor: as text ([`read`](Self::read)), or record by record
/// ([`next_record`](Self::next_record)). Both show next what ends above the cursor, and set the cursor to its end. Questions
/// about one address ([`query`](Self::query)) leave the cursor where it is.
///
/// What a concurrent reader may see: [the contract](crate#what-a-reader-may-see).
pub struct Maps<R = MmReader<MapleStore>> {
    source: R,
    /// What is below has been shown.
    cursor: u64,
    /// Lines of one instant.
    seq: SeqFile,
    pub(crate) name: NameBuffer,
}

impl<S: VmaStore, M: Machine> Maps<MmReader<S, M>> {
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
    pub fn open(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Self::of(mm.reader()?)
    }
}

impl<S: SnapshotStore, M: Machine> Maps<MmSnapshot<S, M>> {
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
    pub fn snapshot(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Self::of(mm.snapshot()?)
    }
}

impl<R: Source> Maps<R> {
    fn of(source: R) -> Result<Self, Error> {
        Ok(Self {
            source,
            cursor: 0,
            seq: SeqFile::new()?,
            name: NameBuffer::new(),
        })
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
        let Self {
            source, cursor, seq, ..
        } = self;
        seq.read(to, |seq| render(source, cursor, seq))
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
        Ok(record.map(|record| self.name.give(&record)))
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
        self.seq.clear();
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
            let section = self.source.section().ok_or(GONE)?;
            let Some(vma) = flags.find(&section, addr) else {
                return Ok(None);
            };
            match self.name.take(&VmaRecord::new(vma, cursor)) {
                Ok(record) => return Ok(Some(record)),
                Err(too_long) => {
                    // As for lines: outside of the section, and then looked for again.
                    drop(section);
                    self.name.grow(too_long)?;
                }
            }
        }
    }
}

/// Renders lines of one section until the buffer is full or none is left.
fn render<R: Source>(source: &R, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error> {
    if *cursor == END {
        return Ok(());
    }
    let section = source.section().ok_or(GONE)?;
    for vma in section.iter_from(*cursor) {
        let record = VmaRecord::new(vma, *cursor);
        if !seq.add(|to| record.write_line(to)) {
            return Ok(());
        }
        *cursor = record.end;
    }
    *cursor = END;
    Ok(())
}

impl<R> fmt::Debug for Maps<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps")
            .field("cursor", &self.cursor)
            .field("unread", &self.seq.unread())
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
