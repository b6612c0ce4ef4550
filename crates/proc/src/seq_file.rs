//! seq_file's protocol: whole records are rendered into a buffer, and read from there in pieces.

use alloc::vec::Vec;
use core::ops::Range;

use vmaple_mm::{Errno, Error};
use vmaple_smaps::TooShort;

use crate::open_file::END;

/// The size of a new buffer: seq_file's page.
///
/// A record fits if it leaves a byte. That is how seq_file tells a full buffer from one that was
/// too small.
const PAGE: usize = 4096;

pub(crate) const GONE: Error = Error {
    errno: Errno::ESRCH,
    why: "the address space is gone",
};

pub(crate) const NO_MEMORY: Error = Error {
    errno: Errno::ENOMEM,
    why: "no memory for the buffer of an open file",
};

/// The buffer of an open file.
///
/// # Invariants
/// `unread` lies within `buffer`.
#[derive(Debug)]
pub struct SeqFile {
    /// All of it may be filled but the last byte.
    buffer: Vec<u8>,
    /// The text that has not been read.
    unread: Range<usize>,
    /// The length of a first record that had no room; else 0.
    needed: usize,
}

impl SeqFile {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut seq = Self {
            buffer: Vec::new(),
            unread: 0..0,
            needed: 0,
        };
        seq.grow(PAGE)?;
        // INVARIANT: nothing is unread.
        Ok(seq)
    }

    /// Copies text into `to` and returns how many bytes.
    ///
    /// The text is what was left of the last buffer, or else of a new one, which `render` fills.
    /// `render` is called again if its first record needs a longer buffer.
    #[doc(alias = "seq_read")]
    #[inline]
    pub(crate) fn read(
        &mut self,
        to: &mut [u8],
        render: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        if to.is_empty() {
            return Ok(0);
        }
        if self.unread.is_empty() {
            self.fill(render)?;
        }
        let text = &self.buffer[self.unread.clone()];
        let length = text.len().min(to.len());
        to[..length].copy_from_slice(&text[..length]);
        self.unread.start += length;
        Ok(length)
    }

    fn fill(&mut self, mut render: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            self.clear();
            render(self)?;
            if self.needed == 0 {
                return Ok(());
            }
            // Outside of any section, which has ended with `render`.
            self.grow((self.needed + 1).next_power_of_two())?;
        }
    }

    /// Adds a record. Returns whether there was room for it.
    #[inline]
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, TooShort>) -> bool {
        let room = self.buffer.len() - 1;
        match write(&mut self.buffer[self.unread.end..room]) {
            // INVARIANT: the text lies within the buffer.
            Ok(length) => self.unread.end += length,
            Err(TooShort { needed }) => {
                if self.unread.is_empty() {
                    self.needed = needed;
                }
                return false;
            }
        }
        true
    }

    /// Adds the only record of a file, which `show` makes and `write` writes; the cursor is then at
    /// the end.
    #[doc(alias = "single_open")]
    pub(crate) fn show_once<T>(
        &mut self,
        cursor: &mut u64,
        show: impl FnOnce() -> Result<T, Error>,
        write: impl FnOnce(&T, &mut [u8]) -> Result<usize, TooShort>,
    ) -> Result<(), Error> {
        if *cursor != END {
            let record = show()?;
            if self.add(|to| write(&record, to)) {
                *cursor = END;
            }
        }
        Ok(())
    }

    /// Whether a record of `length` bytes has room, or is the first.
    pub(crate) fn may_add(&self, length: usize) -> bool {
        self.unread.is_empty() || length < self.buffer.len() - self.unread.end
    }

    /// Returns how many bytes are not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Forgets what has not been read.
    pub(crate) fn clear(&mut self) {
        // INVARIANT: nothing is unread.
        self.unread = 0..0;
        self.needed = 0;
    }

    /// Makes the buffer `size` bytes long, or leaves it as it is.
    fn grow(&mut self, size: usize) -> Result<(), Error> {
        let more = size - self.buffer.len();
        self.buffer.try_reserve_exact(more).map_err(|_| NO_MEMORY)?;
        self.buffer.resize(size, 0);
        Ok(())
    }
}
