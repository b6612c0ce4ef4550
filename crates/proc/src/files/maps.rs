//! /proc/PID/maps.

use vmaple_mm::{Error, Machine, MapleStore, MmReader, MmRef, MmSnapshot, SnapshotStore, VirtAddr, VmaRead, VmaStore};
use vmaple_smaps::VmaRecord;

use crate::files::query::QueryFlags;
use crate::name_buffer::NameBuffer;
use crate::open_file::{END, OpenFile, ProcFile, sealed};
use crate::record::vma_record;
use crate::seq_file::{GONE, SeqFile};
use crate::source::Source;

/// An open /proc/PID/maps, with its place in it.
///
/// There are two ways through it, with one cursor: as text ([`read`](OpenFile::read)), or record by
/// record ([`next_record`](Self::next_record)). Both show next what ends above the cursor, and set
/// the cursor to its end. Questions about one address ([`query`](Self::query)) leave the cursor
/// where it is.
///
/// What a concurrent reader may see: [the contract](crate#what-a-reader-may-see).
pub type Maps<R = MmReader<MapleStore>> = OpenFile<MapsFile<R>>;

/// The file of [`Maps`].
#[derive(Debug)]
pub struct MapsFile<R> {
    source: R,
    pub(crate) name: NameBuffer,
}

impl<S: VmaStore, M: Machine> Maps<MmReader<S, M>> {
    /// Opens the maps of an address space, which lives on or ends as if no file were open.
    ///
    /// No permission is checked: see [the crate](crate#permissions).
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
        MapsFile::open(mm.reader()?)
    }
}

impl<S: SnapshotStore, M: Machine> Maps<MmSnapshot<S, M>> {
    /// Opens the maps of an address space as they are now.
    ///
    /// All that is read is of this one instant, whatever happens after it, even when the address
    /// space is gone. What is mapped now stays in memory while it is open.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `EAGAIN` if too many snapshots of it are open,
    /// `ENOMEM`.
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
        MapsFile::open(mm.snapshot()?)
    }
}

impl<R: Source> Maps<R> {
    /// Returns the next VMA, whole, or `None` at the end.
    ///
    /// Its `new_from` is the address from which it is new to this scan. Text that was rendered and
    /// not read yet comes before it. Each record is of an instant of its own. No section is
    /// open when this returns.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone and the end was not reached. `ENOMEM` if there is no
    /// memory for the name; the next call tries again.
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
        let at = VirtAddr(from);
        let record = self.file.find(at, QueryFlags::COVERING_OR_NEXT_VMA, at)?;
        self.cursor = record.map_or(END, |record| record.end);
        Ok(record.map(|record| self.file.name.give(&record)))
    }
}

impl<R: Source> MapsFile<R> {
    fn open(source: R) -> Result<Maps<R>, Error> {
        let name = NameBuffer::new();
        OpenFile::new(Self { source, name })
    }

    /// Finds the first record that answers the question, in one section, for a scan that has come
    /// to `cursor`.
    ///
    /// The text of its name is in `self.name`.
    pub(crate) fn find(
        &mut self,
        addr: VirtAddr,
        flags: QueryFlags,
        cursor: VirtAddr,
    ) -> Result<Option<VmaRecord<'static>>, Error> {
        loop {
            let section = self.source.section().ok_or(GONE)?;
            let Some(vma) = flags.find(&section, addr) else {
                return Ok(None);
            };
            match self.name.take(&vma_record(vma, cursor)) {
                Ok(record) => return Ok(Some(record)),
                Err(too_long) => {
                    // As for lines: it grows outside of the section, then the search is repeated.
                    drop(section);
                    self.name.grow(too_long)?;
                }
            }
        }
    }
}

impl<R: Source> sealed::Sealed for MapsFile<R> {}

impl<R: Source> ProcFile for MapsFile<R> {
    const NAME: &'static str = "maps";

    /// Renders lines of one section until the buffer is full or none is left.
    ///
    /// Source: `m_start()` and `m_next()` of Linux.
    #[inline]
    fn show(&self, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error> {
        if *cursor == END {
            return Ok(());
        }
        let section = self.source.section().ok_or(GONE)?;
        for vma in section.iter_from(VirtAddr(*cursor)) {
            let record = vma_record(vma, VirtAddr(*cursor));
            if !seq.add(|to| record.write_line(to)) {
                return Ok(());
            }
            *cursor = record.end;
        }
        *cursor = END;
        Ok(())
    }
}
