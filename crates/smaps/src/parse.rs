//! The text of maps, smaps and smaps_rollup, read back.

use alloc::vec::Vec;

use crate::error::{NotSmaps, Part};
use crate::field::{Field, Unit};
use crate::mapping::Mapping;
use crate::maps_line::VmaRecord;
use crate::name::unescape_into;
use crate::number::split_decimal;
use crate::vm_flags::FlagLetters;

/// A line of smaps, without its newline. [`parse`](Self::parse) allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line of maps: a record begins.
    Vma(VmaRecord<'a>),
    /// A field and its value, in bytes or as a number.
    Value(Field, u64),
    /// The letters of VmFlags.
    Flags(&'a [u8]),
    /// A field that this version does not know, by its label.
    Unknown(&'a [u8]),
}

impl<'a> Line<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`NotSmaps`] if it is none.
    ///
    /// ```
    /// use vmaple_smaps::{Field, Line};
    ///
    /// assert_eq!(Line::parse(b"Rss:         132 kB")?, Line::Value(Field::Rss, 132 << 10));
    /// assert_eq!(Line::parse(b"VmFlags: rd wr ")?, Line::Flags(b"rd wr"));
    /// assert_eq!(Line::parse(b"NewInLinux9: 1 kB")?, Line::Unknown(b"NewInLinux9"));
    /// let line = b"00400000-00452000 r-xp 00000000 08:02 17 /bin/a";
    /// assert!(matches!(Line::parse(line)?, Line::Vma(_)));
    /// # Ok::<(), vmaple_smaps::NotSmaps>(())
    /// ```
    pub fn parse(line: &'a [u8]) -> Result<Self, NotSmaps> {
        let Some((label, value)) = split_label(line) else {
            return VmaRecord::parse(line).map(Self::Vma);
        };
        let Some(field) = Field::of_label(label) else {
            return Ok(Self::Unknown(label));
        };
        let value = value.trim_ascii();
        let value = match (field.unit(), split_decimal(value)) {
            (Unit::Letters, _) => return Ok(Self::Flags(value)),
            (Unit::Kilobytes, Some((number, b" kB"))) => number.checked_mul(1024),
            (Unit::Number, Some((number, b""))) => Some(number),
            _ => None,
        };
        value
            .map(|value| Self::Value(field, value))
            .ok_or(NotSmaps(Part::Value))
    }
}

/// Splits a line of a field at its colon; `None` for a line of maps.
#[must_use]
pub(crate) fn split_label(line: &[u8]) -> Option<(&[u8], &[u8])> {
    line.first().filter(|byte| byte.is_ascii_uppercase())?;
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], &line[colon + 1..]))
}

/// A parser of the text of maps, smaps or smaps_rollup, which may come in pieces of any length.
///
/// A record is complete when the next one begins, and the last one at the [end](Self::end). Fields
/// that this version does not know are skipped.
///
/// ```
/// use vmaple_smaps::{FlagLetters, Parser};
///
/// let text = b"\
/// 00400000-00452000 r-xp 00000000 08:02 173521                             /usr/bin/a\n\
/// Size:                328 kB\n\
/// Rss:                  12 kB\n\
/// VmFlags: rd ex mr mw me \n\
/// 7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
/// Rss:                   4 kB\n";
/// let (mut rss, mut parser) = (0, Parser::new(FlagLetters::of_release((6, 18))));
/// for piece in text.chunks(16) {
///     parser.take(piece, |mapping| rss += mapping.stats.rss)?;
/// }
/// assert_eq!(rss, 12 << 10); // the second record may go on
/// parser.end(|mapping| rss += mapping.stats.rss)?;
/// assert_eq!(rss, 16 << 10);
/// # Ok::<(), vmaple_smaps::NotSmaps>(())
/// ```
#[derive(Clone, Debug)]
pub struct Parser {
    letters: FlagLetters,
    /// The record whose lines come, with an empty name.
    record: Option<Mapping<'static>>,
    /// The text of its name.
    name: Vec<u8>,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Parser {
    /// Makes a parser of the text of a kernel that has these letters of flags.
    #[must_use]
    pub const fn new(letters: FlagLetters) -> Self {
        Self {
            letters,
            record: None,
            name: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// Takes a piece of text, and calls `found` for each record that is complete with it.
    ///
    /// # Errors
    /// [`NotSmaps`] if a line is not of these files: the rest of the piece is not looked at.
    pub fn take(&mut self, text: &[u8], mut found: impl FnMut(&Mapping<'_>)) -> Result<(), NotSmaps> {
        for piece in text.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) if self.begun.is_empty() => self.line(line, &mut found)?,
                Some(line) => {
                    let mut begun = core::mem::take(&mut self.begun);
                    begun.extend(line);
                    self.line(&begun, &mut found)?;
                    begun.clear();
                    self.begun = begun;
                }
                None => self.begun.extend(piece),
            }
        }
        Ok(())
    }

    /// Takes the end of the text, and calls `found` for the last record. The parser can then take
    /// another text.
    ///
    /// # Errors
    /// [`NotSmaps`] if the text ends within a line.
    pub fn end(&mut self, mut found: impl FnMut(&Mapping<'_>)) -> Result<(), NotSmaps> {
        self.end_record(&mut found);
        if !self.begun.is_empty() {
            self.begun.clear();
            return Err(NotSmaps(Part::End));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], found: &mut impl FnMut(&Mapping<'_>)) -> Result<(), NotSmaps> {
        let line = Line::parse(line)?;
        if let Line::Vma(vma) = line {
            self.end_record(found);
            unescape_into(vma.name.text(), &mut self.name);
            self.record = Some(Mapping::new(vma.with_name_text(b"")));
            return Ok(());
        }
        let record = self.record.as_mut().ok_or(NotSmaps(Part::Mapping))?;
        match line {
            Line::Value(field, value) => record.set_value(field, value),
            Line::Flags(letters) => {
                let (flags, all_known) = self.letters.parse(letters);
                record.vm_flags |= flags;
                record.lost_letters |= !all_known;
            }
            Line::Vma(_) | Line::Unknown(_) => {}
        }
        Ok(())
    }

    fn end_record(&mut self, found: &mut impl FnMut(&Mapping<'_>)) {
        if let Some(record) = self.record.take() {
            found(&Mapping {
                vma: record.vma.with_name_text(&self.name),
                ..record
            });
        }
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn error_of(text: &str) -> Option<Part> {
        let mut parser = Parser::new(FlagLetters::of_release((6, 18)));
        let taken = parser.take(text.as_bytes(), |_| {});
        taken.and_then(|()| parser.end(|_| {})).err().map(|wrong| wrong.0)
    }

    #[test]
    fn what_is_no_line_of_smaps_is_told() {
        const VMA: &str = "00400000-00452000 r-xp 00000000 08:02 1\n";
        for (text, part) in [
            ("nonsense\n", Part::Range),
            ("\n", Part::Range),
            ("1000-2000\n", Part::Range),
            ("2000-1000 rw-p 0 00:00 0\n", Part::Range),
            ("1000 2000 rw-p 0 00:00 0\n", Part::Range),
            ("00400000-00452000 r-xq 00000000 08:02 1\n", Part::Perms),
            ("00400000-00452000\n", Part::Range),
            ("00400000-00452000 r-xp \n", Part::Offset),
            ("00400000-00452000 r-xp 0x0 08:02 1\n", Part::Offset),
            ("00400000-00452000 r-xp 0 0802 1\n", Part::Device),
            ("00400000-00452000 r-xp 0 08:123456789 1\n", Part::Device),
            ("00400000-00452000 r-xp 0 08:02 1a\n", Part::Inode),
            ("Rss: 12 kB\n", Part::Mapping),
            ("New: 12 kB\n", Part::Mapping),
            (&[VMA, "Rss: 12\n"].concat(), Part::Value),
            (&[VMA, "Rss: 12 MB\n"].concat(), Part::Value),
            (&[VMA, "Rss: -1 kB\n"].concat(), Part::Value),
            (&[VMA, "Rss: 18446744073709551615 kB\n"].concat(), Part::Value),
            (&[VMA, "THPeligible: 1 kB\n"].concat(), Part::Value),
            (&[VMA, "Rss: 12 kB"].concat(), Part::End),
        ] {
            assert_eq!(error_of(text), Some(part), "{text}");
        }
        assert_eq!(error_of(""), None);
        assert_eq!(error_of(&[VMA, "New: x\nTHPeligible:\t\t1\n"].concat()), None);
    }

    #[test]
    fn a_parser_takes_one_text_after_another() {
        let mut parser = Parser::new(FlagLetters::of_release((6, 18)));
        let mut starts = Vec::new();
        for text in [
            &b"1000-2000 r--p 0 00:00 0 x\nRss: 4"[..],
            b"2000-3000 r--p 0 00:00 0 \n",
        ] {
            parser.take(text, |_| {}).unwrap();
            let _ = parser.end(|mapping| starts.push((mapping.vma.start, mapping.vma.name.text().len())));
        }
        assert_eq!(starts, [(0x1000, 1), (0x2000, 0)]);
    }
}
