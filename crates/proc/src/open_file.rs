//! An open file of /proc/PID: a file that shows records, a place in it, and a buffer of text.

use core::fmt;

use vmaple_mm::Error;

use crate::seq_file::SeqFile;

/// The place after the last record. No VMA ends above it.
pub(crate) const END: u64 = u64::MAX;

/// A file of /proc/PID that is made of records. Sealed.
pub trait ProcFile: sealed::Sealed {
    /// Its name in /proc/PID.
    const NAME: &'static str;

    /// Renders records into `seq` from the place `cursor` on, and moves the place on.
    ///
    /// It ends when the buffer is full or no record is left. No section is open when it returns.
    #[doc(hidden)]
    fn show(&self, cursor: &mut u64, seq: &mut SeqFile) -> Result<(), Error>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// An open file of /proc/PID, with its place in it.
///
/// It is [`Maps`](crate::Maps), [`Smaps`](crate::Smaps), [`SmapsRollup`](crate::SmapsRollup),
/// [`Statm`](crate::Statm) or [`Status`](crate::Status).
#[doc(alias = "seq_file")]
pub struct OpenFile<F> {
    pub(crate) file: F,
    /// What lies below has been shown.
    pub(crate) cursor: u64,
    pub(crate) seq: SeqFile,
}

impl<F: ProcFile> OpenFile<F> {
    pub(crate) fn new(file: F) -> Result<Self, Error> {
        Ok(Self {
            file,
            cursor: 0,
            seq: SeqFile::new()?,
        })
    }

    /// Copies text into `to` and returns how many bytes; 0 at the end, and if `to` is empty.
    ///
    /// The text is what was left of the last buffer, or else of a new one: 4 KiB of whole records.
    /// All lines of a buffer of maps are of one instant.
    ///
    /// No section is open when it returns, nor while it copies. It allocates only for a record that
    /// is longer than the buffer.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone and the end was not reached. `ENOMEM` if a record is
    /// longer than the buffer and there is no memory for it; the next read tries again.
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
    /// Source: `seq_read_iter()` of Linux.
    #[inline]
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Error> {
        let Self { file, cursor, seq } = self;
        seq.read(to, |seq| file.show(cursor, seq))
    }

    /// Begins a new scan at the lowest address, as lseek(2) to 0 does.
    ///
    /// [The contract](crate#what-a-reader-may-see) holds of each scan for itself.
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
}

impl<F: ProcFile> fmt::Debug for OpenFile<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile")
            .field("name", &F::NAME)
            .field("cursor", &self.cursor)
            .field("unread", &self.seq.unread())
            .finish_non_exhaustive()
    }
}

/// As [`OpenFile::read`], with the error of the system's number.
#[cfg(feature = "std")]
impl<F: ProcFile> std::io::Read for OpenFile<F> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.read(to)
            .map_err(|error| std::io::Error::from_raw_os_error(error.errno.code()))
    }
}
