//! Text written into bytes, of which there may be too few.

use core::fmt;

/// There is no room for a line, or for a record of several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort {
    /// The bytes that it takes.
    pub needed: usize,
}

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text needs {} bytes", self.needed)
    }
}

impl core::error::Error for TooShort {}

/// The digits of the largest number.
const DIGITS: usize = 20;

/// A text that is being written at the beginning of some bytes; without room it is measured only.
pub(crate) struct Text<'a> {
    to: &'a mut [u8],
    length: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(to: &'a mut [u8]) -> Self {
        Self { to, length: 0 }
    }

    /// Bytes as they are.
    #[inline]
    pub(crate) fn put(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        if let Some(here) = self.to.get_mut(self.length..end) {
            here.copy_from_slice(part);
        }
        self.length = end;
    }

    /// What another writer puts here.
    pub(crate) fn put_with(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, TooShort>) {
        let rest = self.to.get_mut(self.length..).unwrap_or_default();
        self.length += write(rest).unwrap_or_else(|short| short.needed);
    }

    /// A number in decimal, at the right of so many columns at least.
    #[inline]
    #[doc(alias = "seq_put_decimal_ull_width")]
    pub(crate) fn decimal(&mut self, mut number: u64, width: usize) {
        let mut digits = [b' '; DIGITS];
        let mut first = DIGITS;
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[first.min(DIGITS - width)..]);
    }

    /// A line of smaps or status: what it is called, and bytes in multiples of 1024.
    #[inline]
    #[doc(alias = "SEQ_PUT_DEC")]
    pub(crate) fn kilobytes(&mut self, name: &[u8], bytes: u64) {
        self.put(name);
        self.decimal(bytes >> 10, 8);
        self.put(b" kB\n");
    }

    /// Its length, newline included.
    ///
    /// # Errors
    /// [`TooShort`] if it did not fit.
    pub(crate) fn finish(self) -> Result<usize, TooShort> {
        let needed = self.length;
        if needed > self.to.len() {
            return Err(TooShort { needed });
        }
        Ok(needed)
    }
}
