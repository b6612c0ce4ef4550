//! /proc/PID/smaps.

use vmaple_mm::pgtable::CountBy;
use vmaple_mm::{Error, Machine, MapleStore, MmReader, MmRef, SnapshotStore, VirtAddr, VmaRead, VmaStore};

use crate::files::smaps_record::SmapsRecord;
use crate::name_buffer::NameBuffer;
use crate::open_file::{END, OpenFile, ProcFile, sealed};
use crate::record::vma_record;
use crate::seq_file::{GONE, SeqFile};
use crate::source::{PageSource, SnapshotWithPages};

/// An open /proc/PID/smaps, with its place in it: mappings, and what is resident of each.
///
/// Mappings are as [`Maps`](crate::Maps) shows them. There are two ways through it, with one
/// cursor: as text ([`read`](OpenFile::read)), or record by record
/// ([`next_record`](Self::next_record)).
///
/// # What a reader may see
/// Each record is of an instant of its own, also inside of one buffer. What
/// [the crate](crate#what-a-reader-may-see) says of lines holds of records. If the VMA begins below
/// the cursor, `Size` and all counts are of the part at and above the cursor.
///
/// Pages are counted one after the other, from the cursor up, while the mapping changes. Each
/// counts as it was at some moment between the record's beginning and its end.
///
/// - A page that is there for all that time counts once, and none counts twice.
/// - The counts fit together: `Rss` is the sum of the four shared and private ones, and none is
///   more than `Size`.
/// - If the VMA is replaced during the count, pages of its successor may count, as they are mapped
///   there. If it has just replaced another, pages of that one may count that are not zapped yet. A
///   record says so ([`was_live`](SmapsRecord::was_live)), a text does not.
///
/// ```
/// use std::io::Read;
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// use vmaple_proc::Smaps;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
/// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ | Prot::WRITE, private, None, 0)?;
/// let mut smaps = Smaps::open(&mm)?;
///
/// // It grows, and one of its pages is written, after it was shown.
/// assert_eq!(smaps.next_record()?.unwrap().counts.rss, 0);
/// mm.mmap(VirtAddr(0x13000), 0x2000, Prot::READ | Prot::WRITE, private, None, 0)?;
/// let thread = mm.thread()?;
/// thread.write(VirtAddr(0x12000), &[1])?;
/// thread.write(VirtAddr(0x14000), &[1])?;
///
/// let mut text = String::new();
/// smaps.read_to_string(&mut text)?;
/// assert!(text.starts_with("\
/// 00013000-00015000 rw-p 00000000 00:00 0 \n\
/// Size:                  8 kB\n\
/// KernelPageSize:        4 kB\n\
/// MMUPageSize:           4 kB\n\
/// Rss:                   4 kB\n"));
/// assert!(text.ends_with("VmFlags: rd wr mr mw me ac \n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Smaps<R = MmReader<MapleStore>> = OpenFile<SmapsFile<R>>;

/// The file of [`Smaps`].
#[derive(Debug)]
pub struct SmapsFile<R> {
    source: R,
    by: CountBy,
    name: NameBuffer,
}

impl<S: VmaStore, M: Machine> Smaps<MmReader<S, M>> {
    /// Opens the smaps of an address space, as [`Maps::open`](crate::Maps::open) does its maps.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    ///
    /// ```
    /// use vmaple_mm::{Errno, Layout, Limits, Mm};
    /// use vmaple_proc::Smaps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let mut smaps = Smaps::open(&mm)?;
    /// drop(mm);
    /// assert_eq!(smaps.read(&mut [0; 100]).unwrap_err().errno, Errno::ESRCH);
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    pub fn open(mm: &MmRef<S, M>) -> Result<Self, Error> {
        Self::open_by(mm, CountBy::Counters)
    }

    /// Opens the smaps of an address space, with pages counted in a certain way.
    ///
    /// The counts are the same. [`CountBy::Walk`] is what Linux does, with its locks held for as
    /// long: for comparisons.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_by(mm: &MmRef<S, M>, by: CountBy) -> Result<Self, Error> {
        SmapsFile::open(mm.reader()?, by)
    }
}

impl<S: SnapshotStore, M: Machine> Smaps<SnapshotWithPages<S, M>> {
    /// Opens the smaps of the mappings of this instant, as
    /// [`Maps::snapshot`](crate::Maps::snapshot) does maps.
    ///
    /// Pages are not kept. They are counted when the record is read, and only of mappings that are
    /// still live then ([`was_live`](SmapsRecord::was_live)). Of the others none is counted,
    /// since the pages that are mapped there by then are another mapping's.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `EAGAIN` if too many snapshots of it are open,
    /// `ENOMEM`.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::Smaps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    /// for at in [0x10000, 0x20000] {
    ///     mm.mmap(VirtAddr(at), 0x3000, Prot::READ | Prot::WRITE, private, None, 0)?;
    ///     mm.thread()?.write(VirtAddr(at), &[1])?;
    /// }
    /// let mut smaps = Smaps::snapshot(&mm)?;
    /// mm.mprotect(VirtAddr(0x20000), 0x3000, Prot::READ)?;
    ///
    /// let first = smaps.next_record()?.unwrap();
    /// assert_eq!((first.vma.start, first.was_live, first.counts.rss), (0x10000, true, 0x1000));
    /// let second = smaps.next_record()?.unwrap();
    /// assert_eq!((second.vma.start, second.was_live, second.counts.rss), (0x20000, false, 0));
    /// assert!(second.vma.perms.write);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(mm: &MmRef<S, M>) -> Result<Self, Error> {
        SmapsFile::open(SnapshotWithPages::new(mm)?, CountBy::Counters)
    }
}

impl<R: PageSource> Smaps<R> {
    /// Returns the next VMA with its pages, or `None` at the end.
    ///
    /// Text that was rendered and not read yet comes before it. No section is open when this
    /// returns.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone and the end was not reached. `ENOMEM` if there is no
    /// memory for the name; the next call tries again.
    ///
    /// ```
    /// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// use vmaple_proc::Smaps;
    ///
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    /// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ | Prot::WRITE, private, None, 0)?;
    /// mm.thread()?.write(VirtAddr(0x11000), &[1, 2, 3])?;
    ///
    /// let mut smaps = Smaps::open(&mm)?;
    /// let record = smaps.next_record()?.unwrap();
    /// assert_eq!((record.vma.start, record.vma.end), (0x10000, 0x13000));
    /// assert_eq!((record.counts.rss, record.counts.private_dirty), (0x1000, 0x1000));
    /// assert!(record.was_live);
    /// assert_eq!(smaps.next_record()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_record(&mut self) -> Result<Option<SmapsRecord<'_>>, Error> {
        if self.cursor == END {
            return Ok(None);
        }
        let record = self.file.find(self.cursor)?;
        self.cursor = record.map_or(END, |record| record.vma.end);
        Ok(record.map(|record| SmapsRecord {
            vma: self.file.name.give(&record.vma),
            ..record
        }))
    }
}

impl<R: PageSource> SmapsFile<R> {
    fn open(source: R, by: CountBy) -> Result<Smaps<R>, Error> {
        let name = NameBuffer::new();
        OpenFile::new(Self { source, by, name })
    }

    /// Finds the first record at or above the cursor, in one section.
    ///
    /// The text of its name is in `self.name`.
    fn find(&mut self, cursor: u64) -> Result<Option<SmapsRecord<'static>>, Error> {
        loop {
            let section = self.source.section().ok_or(GONE)?;
            let Some(vma) = section.find(VirtAddr(cursor)) else {
                return Ok(None);
            };
            let record = vma_record(vma, VirtAddr(cursor));
            match self.name.take(&record) {
                Ok(record) => return Ok(Some(SmapsRecord::new(&self.source, self.by, vma, record))),
                Err(too_long) => {
                    drop(section);
                    self.name.grow(too_long)?;
                }
            }
        }
    }
}

impl<R: PageSource> sealed::Sealed for SmapsFile<R> {}

impl<R: PageSource> ProcFile for SmapsFile<R> {
    const NAME: &'static str = "smaps";

    /// Renders records until the buffer is full or none is left.
    ///
    /// Each is rendered in a section of its own where that lets a waiting thread go on.
    ///
    /// Source: `m_start()`, `m_next()` and `show_smap()` of Linux.
    fn show(&self, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error> {
        if *cursor == END {
            return Ok(());
        }
        let mut section = self.source.section().ok_or(GONE)?;
        loop {
            let Some(vma) = section.find(VirtAddr(*cursor)) else {
                *cursor = END;
                return Ok(());
            };
            let record = vma_record(vma, VirtAddr(*cursor));
            // Checked before its pages are counted, which would be in vain.
            if !seq.may_add(SmapsRecord::min_length(vma, &record)) {
                return Ok(());
            }
            let record = SmapsRecord::new(&self.source, self.by, vma, record);
            if !seq.add(|to| record.write_text(to)) {
                return Ok(());
            }
            *cursor = record.vma.end;
            section = match self.source.renew(section) {
                Some(section) => section,
                // The next read reports that it is gone.
                None => return Ok(()),
            };
        }
    }
}
