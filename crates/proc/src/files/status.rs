//! The lines of memory in /proc/PID/status.

use vmaple_mm::{Error, Machine, MapleStore, MmReader, MmRef, PAGE_SHIFT, Soft, VmaStore};
use vmaple_smaps::{Text, TooShort};

use crate::files::smaps_rollup::count_all;
use crate::open_file::{OpenFile, ProcFile, sealed};
use crate::seq_file::{GONE, SeqFile};

/// The size of an address space in bytes, as a reader of status sees it.
///
/// `VmHWM`, the most that was resident, is missing: no code keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StatusRecord {
    /// The most that was mapped at any time.
    pub vm_peak: u64,
    /// What is mapped.
    pub vm_size: u64,
    /// What is locked in memory by mlock(2): 0, as there is no such call.
    pub vm_lck: u64,
    /// What drivers have pinned: 0, as there are none.
    pub vm_pin: u64,
    /// What is resident: the sum of the next three.
    pub vm_rss: u64,
    /// What is resident of anonymous memory.
    pub rss_anon: u64,
    /// What is resident of files.
    pub rss_file: u64,
    /// What is resident of shared memory.
    pub rss_shmem: u64,
    /// What is private and writable, without stacks.
    pub vm_data: u64,
    /// Stacks: mappings that grow down.
    pub vm_stk: u64,
    /// The program's code: 0, as no [layout](vmaple_mm::Layout) says where it is.
    pub vm_exe: u64,
    /// What is executable and not writable, other than the program's code.
    pub vm_lib: u64,
    /// Page tables.
    pub vm_pte: u64,
    /// What is swapped out: 0, as there is no swap.
    pub vm_swap: u64,
}

impl StatusRecord {
    /// Writes the lines of memory at the beginning of `to`, and returns their length in bytes.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no record.
    ///
    /// ```
    /// use vmaple_proc::StatusRecord;
    ///
    /// let mut record = StatusRecord::default();
    /// record.vm_peak = 3060 << 10;
    /// record.vm_size = 3056 << 10;
    /// let mut to = [0; 1000];
    /// let length = record.write_text(&mut to)?;
    /// assert!(to.starts_with(b"VmPeak:\t    3060 kB\nVmSize:\t    3056 kB\nVmLck:\t"));
    /// assert!(to[..length].ends_with(b"VmPTE:\t       0 kB\nVmSwap:\t       0 kB\n"));
    /// # Ok::<(), vmaple_proc::TooShort>(())
    /// ```
    ///
    /// Source: `task_mem()` of Linux.
    pub fn write_text(&self, to: &mut [u8]) -> Result<usize, TooShort> {
        let mut text = Text::new(to);
        let lines: [(&[u8], u64); 14] = [
            (b"VmPeak:\t", self.vm_peak),
            (b"VmSize:\t", self.vm_size),
            (b"VmLck:\t", self.vm_lck),
            (b"VmPin:\t", self.vm_pin),
            (b"VmRSS:\t", self.vm_rss),
            (b"RssAnon:\t", self.rss_anon),
            (b"RssFile:\t", self.rss_file),
            (b"RssShmem:\t", self.rss_shmem),
            (b"VmData:\t", self.vm_data),
            (b"VmStk:\t", self.vm_stk),
            (b"VmExe:\t", self.vm_exe),
            (b"VmLib:\t", self.vm_lib),
            (b"VmPTE:\t", self.vm_pte),
            (b"VmSwap:\t", self.vm_swap),
        ];
        for (label, bytes) in lines {
            text.put(label);
            text.kilobytes(bytes);
        }
        text.finish()
    }
}

/// An open /proc/PID/status, of which it has the lines of memory.
///
/// The other lines are about processes, of which this crate knows nothing.
///
/// # What a reader may see
/// As in [`Statm`](crate::Statm), each number is of a moment of its own, and no lock is taken, in
/// any store. `VmPeak` is never less than `VmSize`, and `VmRSS` is the sum of the next three lines.
///
/// ```
/// use std::io::Read;
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// use vmaple_proc::Status;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
/// mm.mmap(VirtAddr(0x10000), 0x5000, Prot::READ | Prot::WRITE, private, None, 0)?;
/// mm.thread()?.write(VirtAddr(0x10000), &[1])?;
/// mm.munmap(VirtAddr(0x11000), 0x1000)?;
///
/// let mut text = String::new();
/// Status::open(&mm)?.read_to_string(&mut text)?;
/// assert!(text.starts_with("VmPeak:\t      20 kB\nVmSize:\t      16 kB\n"));
/// assert!(text.contains("\nVmRSS:\t       4 kB\nRssAnon:\t       4 kB\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Status<S = MapleStore, M = Soft> = OpenFile<StatusFile<S, M>>;

/// The file of [`Status`].
#[derive(Debug)]
pub struct StatusFile<S: VmaStore, M: Machine> {
    reader: MmReader<S, M>,
}

impl<S: VmaStore, M: Machine> Status<S, M> {
    /// Opens the status of an address space, which is counted at the beginning of each scan.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM`.
    pub fn open(mm: &MmRef<S, M>) -> Result<Self, Error> {
        let reader = mm.reader()?;
        Self::new(StatusFile { reader })
    }

    /// Returns the present numbers. The place of reads stays where it is.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone.
    pub fn record(&self) -> Result<StatusRecord, Error> {
        record(&self.file.reader)
    }
}

impl<S: VmaStore, M: Machine> sealed::Sealed for StatusFile<S, M> {}

impl<S: VmaStore, M: Machine> ProcFile for StatusFile<S, M> {
    const NAME: &'static str = "status";

    fn show(&self, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error> {
        seq.show_once(cursor, || record(&self.reader), StatusRecord::write_text)
    }
}

fn record<S: VmaStore, M: Machine>(reader: &MmReader<S, M>) -> Result<StatusRecord, Error> {
    let vm = reader.mm().vm_stat();
    let counts = count_all(reader);
    if reader.mm().is_gone() {
        return Err(GONE);
    }
    Ok(StatusRecord {
        vm_peak: vm.peak << PAGE_SHIFT,
        vm_size: vm.total << PAGE_SHIFT,
        vm_rss: counts.rss,
        rss_anon: counts.anonymous,
        rss_file: counts.rss - counts.anonymous,
        vm_data: vm.data << PAGE_SHIFT,
        vm_stk: vm.stack << PAGE_SHIFT,
        vm_lib: vm.exec << PAGE_SHIFT,
        vm_pte: reader.mm().pgtables_bytes(),
        ..StatusRecord::default()
    })
}
