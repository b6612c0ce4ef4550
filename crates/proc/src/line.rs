//! The text of a line: written by hand into bytes, since a monitor of thousands of mappings writes little else.
//!
//! Source: `show_map_vma()` in Linux's fs/proc/task_mmu.c.

use crate::record::VmaRecord;
use crate::text::TooShort;

/// Where names begin, on 64 bits: `seq_setwidth(m, 25 + sizeof(void *) * 6 - 1)`, and a space.
const NAME_COLUMN: usize = 73;
/// The longest text before a name: three numbers of 16 digits, two of 8, one of 20, four letters, eight signs; and what is written
/// behind a number's last digit, to be overwritten.
const PREFIX: usize = 3 * 16 + 2 * 8 + 20 + 4 + 8 + 8;

impl VmaRecord<'_> {
    /// Writes the record's line of maps, newline included, at the beginning of `to`, and returns its length in bytes.
    ///
    /// It shows `new_from..end`, and the offset of `new_from`. Names begin in column 73, or two spaces behind the inode; without
    /// a name the line ends in a space. A newline in a path is written as `\012`.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no line.
    ///
    /// ```
    /// use vmaple_proc::{Name, Perms, VmaRecord};
    ///
    /// let record = VmaRecord {
    ///     start: 0x5560_0000_1000,
    ///     end: 0x5560_0000_3000,
    ///     perms: Perms { read: true, execute: true, ..Perms::default() },
    ///     offset: 0x1000,
    ///     dev: (0xfe, 0),
    ///     inode: 1234,
    ///     name: Name::Path(b"/bin/true"),
    ///     new_from: 0x5560_0000_2000,
    /// };
    /// let mut to = [0; 100];
    /// let length = record.write_line(&mut to)?;
    /// assert_eq!(
    ///     std::str::from_utf8(&to[..length])?,
    ///     "556000002000-556000003000 r-xp 00002000 fe:00 1234                       /bin/true\n"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn write_line(&self, to: &mut [u8]) -> Result<usize, TooShort> {
        let mut aside = [0; PREFIX];
        let is_aside = to.len() < PREFIX;
        let mut prefix = Prefix {
            bytes: to.first_chunk_mut().unwrap_or(&mut aside),
            length: 0,
        };
        prefix.put_all(self);
        let length = prefix.length;
        let [before, text, after] = self.name.parts();
        let newlines = if text.contains(&b'\n') {
            text.iter().filter(|&&byte| byte == b'\n').count()
        } else {
            0
        };
        let name = before.len() + text.len() + newlines * 3 + after.len();
        let column = match name {
            0 => length,
            _ => NAME_COLUMN.max(length + 1),
        };
        let needed = column + name + 1;
        let Some(line) = to.get_mut(..needed) else {
            return Err(TooShort { needed });
        };
        let (padded, rest) = line.split_at_mut(column);
        if is_aside {
            padded.copy_from_slice(&aside[..column]);
        }
        let mut rest = Rest(rest);
        rest.put(before);
        if newlines == 0 {
            rest.put(text);
        } else {
            for (i, part) in text.split(|&byte| byte == b'\n').enumerate() {
                rest.put(if i == 0 { b"" } else { b"\\012" });
                rest.put(part);
            }
        }
        rest.put(after);
        rest.put(b"\n");
        Ok(needed)
    }
}

/// What is left to write of a line whose length is known.
struct Rest<'a>(&'a mut [u8]);

impl Rest<'_> {
    #[inline]
    fn put(&mut self, part: &[u8]) {
        let (here, rest) = core::mem::take(&mut self.0).split_at_mut(part.len());
        here.copy_from_slice(part);
        self.0 = rest;
    }
}

/// A line as far as the column of names.
struct Prefix<'a> {
    bytes: &'a mut [u8; PREFIX],
    length: usize,
}

impl Prefix<'_> {
    #[inline]
    fn put_all(&mut self, record: &VmaRecord<'_>) {
        self.hex8(record.new_from);
        self.put([b'-']);
        self.hex8(record.end);
        self.put([b' ']);
        self.put(record.perms.letters());
        self.put([b' ']);
        self.hex8(record.offset_of_new());
        self.put([b' ']);
        self.hex2(record.dev.0);
        self.put([b':']);
        self.hex2(record.dev.1);
        self.put([b' ']);
        self.decimal(record.inode);
        self.put([b' ']);
        self.bytes[self.length..].fill(b' ');
    }

    #[inline]
    fn put<const N: usize>(&mut self, part: [u8; N]) {
        self.bytes[self.length..self.length + N].copy_from_slice(&part);
        self.length += N;
    }

    /// A number in hexadecimal, of eight digits at least.
    #[inline]
    fn hex8(&mut self, number: u64) {
        let upper = (number >> 32) as u32;
        if upper != 0 {
            self.digits(upper, 8 - upper.leading_zeros() / 4);
        }
        self.digits(number as u32, 8);
    }

    /// A number in hexadecimal, of two digits at least.
    #[inline]
    fn hex2(&mut self, number: u32) {
        self.digits(number, (8 - number.leading_zeros() / 4).max(2));
    }

    /// The last digits of a number in hexadecimal.
    #[inline]
    fn digits(&mut self, number: u32, digits: u32) {
        let at = self.length;
        self.put((eight_digits(number) << (8 * (8 - digits))).to_be_bytes());
        self.length = at + digits as usize;
    }

    #[inline]
    fn decimal(&mut self, mut number: u64) {
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        for place in self.bytes[self.length..self.length + digits].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.length += digits;
    }
}

/// A number as eight hexadecimal digits, the first in the highest byte: the half bytes are spread by halves,
/// then all eight become digits at once.
#[inline]
fn eight_digits(number: u32) -> u64 {
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Adding 6 carries into bit 4 of what is above 9, where the letters begin, 0x27 above the sign behind 9.
    let letters = (spread + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    spread + 0x3030_3030_3030_3030 + letters * 0x27
}
