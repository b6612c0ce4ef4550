//! Text written into bytes, of which there may be too few.

use alloc::vec::Vec;
use core::fmt;

use crate::field::{Field, NUMBER_COLUMN, NUMBER_WIDTH};
use crate::number::{decimal_len, write_decimal};

/// The error of a text that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort {
    /// The bytes that it needs.
    pub needed: usize,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text needs {} bytes", self.needed)
    }
}

impl core::error::Error for TooShort {}

/// A writer of text to the beginning of some bytes; without room it only measures.
///
/// ```
/// use vmaple_smaps::Text;
///
/// let mut to = [0; 100];
/// let mut text = Text::new(&mut to);
/// text.put(b"VmPeak:\t");
/// text.kilobytes(132 << 10);
/// let length = text.finish()?;
/// assert_eq!(&to[..length], b"VmPeak:\t     132 kB\n");
/// # Ok::<(), vmaple_smaps::TooShort>(())
/// ```
#[derive(Debug)]
pub struct Text<'a> {
    to: &'a mut [u8],
    length: usize,
}

impl<'a> Text<'a> {
    /// Makes an empty text.
    pub fn new(to: &'a mut [u8]) -> Self {
        Self { to, length: 0 }
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn put(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        if let Some(here) = self.to.get_mut(self.length..end) {
            here.copy_from_slice(part);
        }
        self.length = end;
    }

    /// Writes what another writer puts here.
    #[inline]
    pub fn put_with(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, TooShort>) {
        let rest = self.to.get_mut(self.length..).unwrap_or_default();
        self.length += write(rest).unwrap_or_else(|short| short.needed);
    }

    /// Writes a number in decimal, at the right of `width` columns if it is not longer.
    #[inline]
    #[doc(alias = "seq_put_decimal_ull_width")]
    pub fn decimal(&mut self, number: u64, width: usize) {
        let digits = decimal_len(number);
        let end = self.length + digits.max(width);
        if let Some(here) = self.to.get_mut(self.length..end) {
            let (before, here) = here.split_at_mut(here.len() - digits);
            before.fill(b' ');
            write_decimal(number, here);
        }
        self.length = end;
    }

    /// Writes bytes in kB, in eight columns, and the end of the line. They are rounded down.
    #[inline]
    #[doc(alias = "SEQ_PUT_DEC")]
    pub fn kilobytes(&mut self, bytes: u64) {
        self.decimal(bytes >> 10, NUMBER_WIDTH);
        self.put(b" kB\n");
    }

    /// Writes the line of a field of smaps in kilobytes, whose numbers have `width` columns.
    ///
    /// There are two dozen of these lines for each mapping: the usual one is copied, and its digits
    /// put in.
    #[inline]
    pub(crate) fn field_in_kilobytes(&mut self, field: Field, kilobytes: u64, width: usize) {
        const END: usize = NUMBER_COLUMN + NUMBER_WIDTH;
        let zero = field.zero_line();
        let digits = decimal_len(kilobytes);
        let prefix = field.prefix();
        if width != NUMBER_WIDTH || prefix.len() + digits > END {
            self.put(prefix);
            self.decimal(kilobytes, (NUMBER_COLUMN + width).saturating_sub(prefix.len()));
            self.put(b" kB\n");
            return;
        }
        let end = self.length + zero.len();
        if let Some(here) = self.to.get_mut(self.length..end) {
            here.copy_from_slice(zero);
            if kilobytes > 0 {
                write_decimal(kilobytes, &mut here[END - digits..END]);
            }
        }
        self.length = end;
    }

    /// Returns the length of the text.
    ///
    /// # Errors
    /// [`TooShort`] if it did not fit.
    pub fn finish(self) -> Result<usize, TooShort> {
        let needed = self.length;
        if needed > self.to.len() {
            return Err(TooShort { needed });
        }
        Ok(needed)
    }
}

/// Appends what `write` puts into a slice; `guess` is the room that it gets at first.
///
/// ```
/// use vmaple_smaps::{Name, VmaRecord, append};
///
/// let mut maps = Vec::new();
/// let vma = VmaRecord { name: Name::Heap, ..VmaRecord::new(0x10000..0x11000) };
/// append(&mut maps, 100, |to| vma.write_line(to));
/// assert!(maps.starts_with(b"00010000-00011000 ---p 00000000 00:00 0   "));
/// assert!(maps.ends_with(b"  [heap]\n"));
/// ```
pub fn append(to: &mut Vec<u8>, guess: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, TooShort>) {
    let at = to.len();
    to.resize(at + guess, 0);
    let written = write(&mut to[at..]).or_else(|short| {
        to.resize(at + short.needed, 0);
        write(&mut to[at..])
    });
    to.truncate(at + written.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_text_that_does_not_fit_is_measured() {
        let write = |to: &mut [u8]| {
            let mut text = Text::new(to);
            text.put(b"Rss:");
            text.decimal(u64::MAX, 8);
            text.decimal(7, 8);
            text.kilobytes(5 << 10);
            text.put_with(|to| Text::new(to).finish());
            text.finish()
        };
        let expected = b"Rss:18446744073709551615       7       5 kB\n";
        for length in 0..expected.len() {
            let short = TooShort { needed: expected.len() };
            assert_eq!(write(&mut vec![0; length]), Err(short));
        }
        for guess in [0, 10, 100] {
            let mut to = vec![b'x'];
            append(&mut to, guess, write);
            assert_eq!(to, [b"x", &expected[..]].concat());
        }
    }
}
