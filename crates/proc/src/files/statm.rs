//! /proc/PID/statm.

use vmaple_mm::{Error, Machine, MapleStore, MmReader, MmRef, PAGE_SHIFT, Soft, VmaStore};
use vmaple_smaps::{Text, TooShort};

use crate::files::smaps_rollup::count_all;
use crate::open_file::{OpenFile, ProcFile, sealed};
use crate::seq_file::{GONE, SeqFile};

/// The size of an address space in pages, as a reader of statm sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StatmRecord {
    /// Pages that are mapped.
    pub size: u64,
    /// Pages that are resident.
    pub resident: u64,
    /// Resident pages of files, or of shared memory.
    pub shared: u64,
    /// Pages of the program's code. It is 0, as no [layout](vmaple_mm::Layout) says where the code
    /// is.
    pub text: u64,
    /// Pages that are private and writable, stacks included.
    pub data: u64,
}

impl StatmRecord {
    /// Writes the line of statm at the beginning of `to`, and returns its length in bytes.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no line.
    ///
    /// ```
    /// use vmaple_proc::StatmRecord;
    ///
    /// let record = StatmRecord { size: 765, resident: 440, shared: 412, text: 5, data: 123 };
    /// let mut to = [0; 100];
    /// let length = record.write_text(&mut to)?;
    /// assert_eq!(&to[..length], b"765 440 412 5 0 123 0\n");
    /// # Ok::<(), vmaple_proc::TooShort>(())
    /// ```
    ///
    /// Source: `proc_pid_statm()` of Linux.
    pub fn write_text(&self, to: &mut [u8]) -> Result<usize, TooShort> {
        let mut text = Text::new(to);
        // Libraries and dirty pages are 0 since Linux 2.6.
        for number in [self.size, self.resident, self.shared, self.text, 0, self.data] {
            text.decimal(number, 1);
            text.put(b" ");
        }
        text.put(b"0\n");
        text.finish()
    }
}

/// An open /proc/PID/statm.
///
/// # What a reader may see
/// Each number is of a moment of its own. What is mapped is read from one counter. What is resident
/// is the sum of what each leaf table knows of its pages, in steps of 2 MiB of addresses. No lock
/// is taken, in any store.
///
/// ```
/// use std::io::Read;
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// use vmaple_proc::Statm;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
/// mm.mmap(VirtAddr(0x10000), 0x5000, Prot::READ | Prot::WRITE, private, None, 0)?;
/// mm.mprotect(VirtAddr(0x12000), 0x3000, Prot::READ)?;
/// mm.thread()?.write(VirtAddr(0x10000), &[1])?;
///
/// let mut text = String::new();
/// Statm::open(&mm)?.read_to_string(&mut text)?;
/// assert_eq!(text, "5 1 0 0 0 2 0\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Statm<S = MapleStore, M = Soft> = OpenFile<StatmFile<S, M>>;

/// The file of [`Statm`].
#[derive(Debug)]
pub struct StatmFile<S: VmaStore, M: Machine> {
    reader: MmReader<S, M>,
}

impl<S: VmaStore, M: Machine> Statm<S, M> {
    /// Opens the statm of an address space, which is counted at the beginning of each scan.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    pub fn open(mm: &MmRef<S, M>) -> Result<Self, Error> {
        let reader = mm.reader()?;
        Self::new(StatmFile { reader })
    }

    /// Returns the present numbers. The place of reads stays where it is.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone.
    pub fn record(&self) -> Result<StatmRecord, Error> {
        record(&self.file.reader)
    }
}

impl<S: VmaStore, M: Machine> sealed::Sealed for StatmFile<S, M> {}

impl<S: VmaStore, M: Machine> ProcFile for StatmFile<S, M> {
    const NAME: &'static str = "statm";

    fn show(&self, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error> {
        seq.show_once(cursor, || record(&self.reader), StatmRecord::write_text)
    }
}

fn record<S: VmaStore, M: Machine>(reader: &MmReader<S, M>) -> Result<StatmRecord, Error> {
    let vm = reader.mm().vm_stat();
    let counts = count_all(reader);
    if reader.mm().is_gone() {
        return Err(GONE);
    }
    Ok(StatmRecord {
        size: vm.total,
        resident: counts.rss >> PAGE_SHIFT,
        shared: (counts.rss - counts.anonymous) >> PAGE_SHIFT,
        text: 0,
        data: vm.data + vm.stack,
    })
}
