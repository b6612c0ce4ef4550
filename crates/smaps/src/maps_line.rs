//! A line of maps: its record, its writer and its parser.
//!
//! It is written by hand into bytes, since a monitor of thousands of mappings writes little else.
//!
//! Source: `show_map_vma()` in Linux's fs/proc/task_mmu.c.

use core::ops::Range;

use crate::error::{NotSmaps, Part};
use crate::name::{NEWLINE, Name};
use crate::number::{MAX_DIGITS, decimal_len, split_decimal, split_hex, write_decimal};
use crate::perms::Perms;
use crate::text::TooShort;

/// Where names begin, on 64 bits: `seq_setwidth(m, 25 + sizeof(void *) * 6 - 1)`, and a space.
const NAME_COLUMN: usize = 73;
/// The longest text before a name.
///
/// It is three numbers of 16 digits, two of 8, one in decimal, four letters and eight signs; and
/// the bytes after a number's last digit that are written to be overwritten.
const PREFIX: usize = 3 * 16 + 2 * 8 + MAX_DIGITS + 4 + 8 + 8;

/// A mapping as a reader of maps sees it.
///
/// With the feature `serde` it can be serialized, with text for [`Perms`] and [`Name`].
///
/// Source: `struct procmap_query` of Linux has the same fields but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct VmaRecord<'a> {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// What may be done with it.
    pub perms: Perms,
    /// Where `start` is in the file, in bytes; 0 without a file.
    pub offset: u64,
    /// The file's device, major and minor; 0 and 0 without a file.
    pub dev: (u32, u32),
    /// The file's inode; 0 without a file.
    pub inode: u64,
    /// What it is called.
    pub name: Name<'a>,
    /// The address from which it is new to its scan: `start`, or an address above it.
    ///
    /// It is above `start` where the scan had come further when the mapping grew or was merged. A
    /// sum over `new_from..end` counts no address twice.
    pub new_from: u64,
}

impl<'a> VmaRecord<'a> {
    /// Makes the record of a mapping without permissions, file and name, all of it new.
    #[must_use]
    pub const fn new(range: Range<u64>) -> Self {
        Self {
            start: range.start,
            end: range.end,
            perms: Perms::of_vm_flags(0),
            offset: 0,
            dev: (0, 0),
            inode: 0,
            name: Name::None,
            new_from: range.start,
        }
    }

    /// Reads a line of maps, without its newline.
    ///
    /// The name borrows the line, with its newlines still escaped
    /// ([`unescaped`](crate::unescaped)). Written again it is the same.
    ///
    /// # Errors
    /// [`NotSmaps`] if it is no such line; it says which part is wrong.
    ///
    /// ```
    /// use vmaple_smaps::{Name, VmaRecord};
    ///
    /// let line = b"7f0000001000-7f0000003000 r-xp 00002000 fe:00 1234     /bin/true";
    /// let record = VmaRecord::parse(line)?;
    /// assert_eq!((record.end, record.offset, record.dev), (0x7f00_0000_3000, 0x2000, (0xfe, 0)));
    /// assert_eq!(record.perms.to_string(), "r-xp");
    /// assert_eq!(record.name, Name::Path(b"/bin/true"));
    /// # Ok::<(), vmaple_smaps::NotSmaps>(())
    /// ```
    pub fn parse(line: &'a [u8]) -> Result<Self, NotSmaps> {
        let (range, rest) = parse_range(line).ok_or(NotSmaps(Part::Range))?;
        let field = |rest: &'a [u8]| {
            let rest = rest.strip_prefix(b" ").unwrap_or(rest);
            rest.split_at(rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len()))
        };
        let (perms, rest) = field(rest);
        let (offset, rest) = field(rest);
        let (dev, rest) = field(rest);
        let (inode, name) = field(rest);
        let whole = |split: Option<(u64, &[u8])>| split.and_then(|(number, rest)| rest.is_empty().then_some(number));
        Ok(Self {
            start: range.start,
            end: range.end,
            perms: Perms::parse(perms).ok_or(NotSmaps(Part::Perms))?,
            offset: whole(split_hex(offset)).ok_or(NotSmaps(Part::Offset))?,
            dev: parse_dev(dev).ok_or(NotSmaps(Part::Device))?,
            inode: whole(split_decimal(inode)).ok_or(NotSmaps(Part::Inode))?,
            name: Name::parse(name.trim_ascii_start()),
            new_from: range.start,
        })
    }

    /// Writes the record's line of maps at the beginning of `to`; returns its length in bytes.
    ///
    /// The line ends in a newline. It shows `new_from..end`, and the offset of `new_from`. Names
    /// begin in column 73, or after the inode and a space; without a name the line ends in a
    /// space. A newline in a path is written as `\012`.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no line.
    ///
    /// ```
    /// use vmaple_smaps::{Name, Perms, VmaRecord};
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
        let name = before.len() + text.len() + newlines * (NEWLINE.len() - 1) + after.len();
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
                rest.put(if i == 0 { b"" } else { NEWLINE });
                rest.put(part);
            }
        }
        rest.put(after);
        rest.put(b"\n");
        Ok(needed)
    }

    /// Returns where `new_from` is in the file.
    #[inline]
    fn offset_of_new(&self) -> u64 {
        match self.name {
            Name::Path(_) | Name::AnonShmem(_) => self.offset.wrapping_add(self.new_from.wrapping_sub(self.start)),
            _ => 0,
        }
    }

    /// Returns the same record with another text in its name, if its name has one.
    #[must_use]
    #[inline]
    pub const fn with_name_text<'b>(&self, text: &'b [u8]) -> VmaRecord<'b> {
        VmaRecord {
            name: self.name.kind().with(text),
            ..*self
        }
    }
}

/// Reads the addresses that a line of maps begins with; returns them and the rest.
///
/// The rest begins with a space. The end is not below the start. This is the cheap part of
/// [`VmaRecord::parse`], for callers that look at nothing else.
#[must_use]
#[inline]
pub fn parse_range(line: &[u8]) -> Option<(Range<u64>, &[u8])> {
    let (start, rest) = split_hex(line)?;
    let (end, rest) = split_hex(rest.strip_prefix(b"-")?)?;
    (rest.starts_with(b" ") && start <= end).then_some((start..end, rest))
}

fn parse_dev(text: &[u8]) -> Option<(u32, u32)> {
    let (major, rest) = split_hex(text)?;
    let (minor, rest) = split_hex(rest.strip_prefix(b":")?)?;
    let dev = (u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    rest.is_empty().then_some(dev)
}

/// The part of a line that is left to write, when its length is known.
struct Rest<'a>(&'a mut [u8]);

impl Rest<'_> {
    #[inline]
    fn put(&mut self, part: &[u8]) {
        let (here, rest) = core::mem::take(&mut self.0).split_at_mut(part.len());
        here.copy_from_slice(part);
        self.0 = rest;
    }
}

/// A line up to the column of names.
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

    /// Writes a number in hexadecimal, of eight digits at least.
    #[inline]
    fn hex8(&mut self, number: u64) {
        let upper = (number >> 32) as u32;
        if upper != 0 {
            self.digits(upper, 8 - upper.leading_zeros() / 4);
        }
        self.digits(number as u32, 8);
    }

    /// Writes a number in hexadecimal, of two digits at least.
    #[inline]
    fn hex2(&mut self, number: u32) {
        self.digits(number, (8 - number.leading_zeros() / 4).max(2));
    }

    /// Writes the last digits of a number in hexadecimal.
    #[inline]
    fn digits(&mut self, number: u32, digits: u32) {
        let at = self.length;
        self.put((eight_digits(number) << (8 * (8 - digits))).to_be_bytes());
        self.length = at + digits as usize;
    }

    #[inline]
    fn decimal(&mut self, number: u64) {
        let digits = decimal_len(number);
        write_decimal(number, &mut self.bytes[self.length..self.length + digits]);
        self.length += digits;
    }
}

/// Returns a number as eight hexadecimal digits, the first in the highest byte.
///
/// The half bytes are spread by halves, then all eight become digits at once.
#[inline]
fn eight_digits(number: u32) -> u64 {
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Adding 6 carries into bit 4 of what is above 9, where the letters begin, 0x27 above the sign
    // after 9.
    let letters = (spread + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    spread + 0x3030_3030_3030_3030 + letters * 0x27
}
