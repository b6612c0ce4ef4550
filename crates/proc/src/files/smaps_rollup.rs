//! /proc/PID/smaps_rollup.

use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{Error, Machine, MapleStore, MmReader, MmRef, Soft, VirtAddr, VirtRange, Vma, VmaRead, VmaStore};
use vmaple_smaps::{FieldSet, TooShort};

use crate::open_file::{OpenFile, ProcFile, sealed};
use crate::record::{FORM, stats};
use crate::seq_file::{GONE, SeqFile};

/// The sum over an address space, as a reader of smaps_rollup sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RollupRecord {
    /// The first address of the first VMA; 0 if there is none.
    pub start: u64,
    /// The end of the last VMA; 0 if there is none.
    pub end: u64,
    /// All pages, and how many leaf tables were counted in which way.
    #[cfg_attr(feature = "serde", serde(with = "crate::record::PageCountsFields"))]
    pub counts: PageCounts,
}

impl RollupRecord {
    /// Writes the lines of smaps_rollup at the beginning of `to`, and returns their length in
    /// bytes.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no record.
    ///
    /// ```
    /// use vmaple_mm::pgtable::PageCounts;
    /// use vmaple_proc::RollupRecord;
    ///
    /// let mut counts = PageCounts::default();
    /// counts.rss = 0x5000;
    /// let mut to = [0; 1000];
    /// let length = RollupRecord { start: 0x10000, end: 0x18000, counts }.write_text(&mut to)?;
    /// assert!(to.starts_with(b"\
    /// 00010000-00018000 ---p 00000000 00:00 0                                  [rollup]\n\
    /// Rss:                  20 kB\n\
    /// Pss:                   0 kB\n"));
    /// assert!(to[..length].ends_with(b"Locked:                0 kB\n"));
    /// # Ok::<(), vmaple_proc::TooShort>(())
    /// ```
    ///
    /// Source: `show_smaps_rollup()` of Linux.
    pub fn write_text(&self, to: &mut [u8]) -> Result<usize, TooShort> {
        FORM.write_rollup(self.start..self.end, &stats(&self.counts), FieldSet::ALL, to)
    }
}

/// An open /proc/PID/smaps_rollup: what is resident in the whole address space.
///
/// # What a reader may see
/// Pages are counted from the lowest address up, while the address space changes, and no address is
/// counted twice. What is moved to another address may be missed or counted twice. A page that is
/// there from the beginning to the end counts once. The counts fit together as in
/// [`Smaps`](crate::Smaps).
///
/// - [`CountBy::Walk`]: mapping by mapping, as Linux does, from the cursor up to the mapping's end,
///   every page by a look at its entry. Where the [store](VmaStore) has a lock of the whole address
///   space that readers take, it is held for all of it; a `VmaLockStore` drops it between two
///   mappings if a thread waits for it.
/// - [`CountBy::Counters`]: the whole address space by what each leaf table knows of its pages, in
///   steps of 2 MiB of addresses. Nothing is held beyond a step, in any store. Pages that are not
///   zapped yet when their mapping is gone are counted too.
///
/// While nothing changes, both counts are the same.
///
/// ```
/// use vmaple_mm::pgtable::CountBy;
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// use vmaple_proc::SmapsRollup;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let populated = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED | MapFlags::POPULATE;
/// mm.mmap(VirtAddr(0x200000), 0x600000, Prot::READ | Prot::WRITE, populated, None, 0)?;
///
/// let walked = SmapsRollup::open(&mm, CountBy::Walk)?.record()?;
/// let added = SmapsRollup::open(&mm, CountBy::Counters)?.record()?;
/// assert_eq!((walked.counts.rss, walked.counts.leaves_walked), (0x600000, 3));
/// assert_eq!((added.counts.rss, added.counts.leaves_by_counters), (0x600000, 3));
/// assert_eq!((added.start, added.end), (0x200000, 0x800000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type SmapsRollup<S = MapleStore, M = Soft> = OpenFile<SmapsRollupFile<S, M>>;

/// The file of [`SmapsRollup`].
#[derive(Debug)]
pub struct SmapsRollupFile<S: VmaStore, M: Machine> {
    reader: MmReader<S, M>,
    by: CountBy,
}

impl<S: VmaStore, M: Machine> SmapsRollup<S, M> {
    /// Opens the roll-up of an address space, which is counted at the beginning of each scan.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    pub fn open(mm: &MmRef<S, M>, by: CountBy) -> Result<Self, Error> {
        let reader = mm.reader()?;
        Self::new(SmapsRollupFile { reader, by })
    }

    /// Returns how it counts, as it was opened.
    #[must_use]
    pub fn counted_by(&self) -> CountBy {
        self.file.by
    }

    /// Returns the present sum. The place of reads stays where it is.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone.
    pub fn record(&self) -> Result<RollupRecord, Error> {
        roll_up(&self.file.reader, self.file.by)
    }
}

impl<S: VmaStore, M: Machine> sealed::Sealed for SmapsRollupFile<S, M> {}

impl<S: VmaStore, M: Machine> ProcFile for SmapsRollupFile<S, M> {
    const NAME: &'static str = "smaps_rollup";

    fn show(&self, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error> {
        seq.show_once(cursor, || roll_up(&self.reader, self.by), RollupRecord::write_text)
    }
}

fn roll_up<S: VmaStore, M: Machine>(reader: &MmReader<S, M>, by: CountBy) -> Result<RollupRecord, Error> {
    let mut section = reader.mmap_read_lock().ok_or(GONE)?;
    let mut record = RollupRecord::default();
    if by == CountBy::Counters {
        record.cover(section.find(VirtAddr(0)).map(Vma::range));
        record.cover(section.find_prev(VirtAddr(u64::MAX)).map(Vma::range));
        drop(section);
        record.counts = count_all(reader);
        return Ok(record);
    }
    while let Some(range) = section.find(VirtAddr(record.end)).map(Vma::range) {
        let from = range.start.max(VirtAddr(record.end));
        reader.walker().count(from..range.end, by, &mut record.counts);
        record.cover(Some(range));
        section = reader.renew(section).ok_or(GONE)?;
    }
    Ok(record)
}

/// Counts all pages of an address space, by counters.
#[doc(alias = "get_mm_counter")]
pub(crate) fn count_all<S: VmaStore, M: Machine>(reader: &MmReader<S, M>) -> PageCounts {
    let mut counts = PageCounts::default();
    let all = VirtAddr(0)..reader.mm().layout().task_size;
    reader.walker().count(all, CountBy::Counters, &mut counts);
    counts
}

impl RollupRecord {
    /// Extends its range to `range`, the first one setting the start.
    fn cover(&mut self, range: Option<VirtRange>) {
        if let Some(range) = range {
            if self.end == 0 {
                self.start = range.start.0;
            }
            self.end = range.end.0;
        }
    }
}
