//! The form of smaps: which lines a kernel writes, in which order and how wide.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::field::{Field, MemSizeStats, NUMBER_COLUMN, NUMBER_WIDTH, Scope, Unit};
use crate::field_set::FieldSet;
use crate::mapping::Mapping;
use crate::maps_line::VmaRecord;
use crate::name::Name;
use crate::parse::split_label;
use crate::text::{Text, TooShort};
use crate::vm_flags::FlagLetters;

/// The lines that a kernel's smaps and smaps_rollup have.
///
/// ```
/// use vmaple_smaps::{FieldSet, FlagLetters, Form, Mapping, VmaRecord};
///
/// let mut mapping = Mapping::new(VmaRecord::new(0x10000..0x13000));
/// mapping.stats.rss = 0x1000;
/// let mut to = [0; 2000];
/// let length = Form::of_release((6, 18)).write_smaps(&mapping, FieldSet::ALL, &mut to)?;
/// assert!(to[..length].starts_with(b"\
/// 00010000-00013000 ---p 00000000 00:00 0 \n\
/// Size:                 12 kB\n\
/// KernelPageSize:        4 kB\n\
/// MMUPageSize:           4 kB\n\
/// Rss:                   4 kB\n"));
///
/// // The form of a kernel whose text is at hand.
/// let text = b"\
/// 00010000-00013000 ---p 00000000 00:00 0 \n\
/// Size:                 12 kB\n\
/// Rss:                   4 kB\n";
/// let form = Form::of_text(text, None, FlagLetters::of_release((2, 6)));
/// let length = form.write_smaps(&mapping, FieldSet::ALL, &mut to)?;
/// assert_eq!(to[..length], *text);
/// # Ok::<(), vmaple_smaps::TooShort>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    smaps: FormLines,
    rollup: FormLines,
    letters: FlagLetters,
    /// The labels of lines that this version does not know, of smaps and of its roll-up.
    unknown: [Vec<String>; 2],
}

/// The lines of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FormLines {
    lines: [FormLine; Field::ALL.len()],
    count: usize,
}

/// A line of smaps or its roll-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FormLine {
    field: Field,
    /// The columns of the number.
    width: usize,
}

impl Form {
    /// Returns the form of a release of Linux, by its major and minor number.
    ///
    /// It is that of a machine without protection keys. The order and the widths are those of Linux
    /// 6.0 and later.
    #[must_use]
    pub const fn of_release(release: (u32, u32)) -> Self {
        let (mut smaps, mut rollup) = (FormLines::NONE, FormLines::NONE);
        let mut i = 0;
        while i < Field::ALL.len() {
            let field = Field::ALL[i];
            let since = field.since();
            let has = since.0 < release.0 || since.0 == release.0 && since.1 <= release.1;
            let line = FormLine {
                field,
                width: NUMBER_WIDTH,
            };
            if has && !matches!(field, Field::ProtectionKey) {
                if !matches!(field.scope(), Scope::SumAlone) {
                    smaps.push(line);
                }
                if !matches!(field.scope(), Scope::Mapping) {
                    rollup.push(line);
                }
            }
            i += 1;
        }
        Self {
            smaps,
            rollup,
            letters: FlagLetters::of_release(release),
            unknown: [Vec::new(), Vec::new()],
        }
    }

    /// Learns the form of a kernel from its smaps and smaps_rollup.
    ///
    /// Only the first record of a text counts. Without smaps_rollup, which came with Linux 4.14,
    /// the roll-up has the sums of what smaps has. Lines that this version does not know are
    /// left out; [`unknown`](Self::unknown) names them.
    #[must_use]
    pub fn of_text(smaps: &[u8], rollup: Option<&[u8]>, letters: FlagLetters) -> Self {
        let mut unknown = [Vec::new(), Vec::new()];
        let [of_smaps, of_rollup] = &mut unknown;
        let smaps = FormLines::learn(smaps, of_smaps);
        let rollup = match rollup {
            Some(rollup) => FormLines::learn(rollup, of_rollup),
            None => smaps.sums(),
        };
        Self {
            smaps,
            rollup,
            letters,
            unknown,
        }
    }

    /// Returns the same with other letters of flags.
    #[must_use]
    pub const fn with_letters(mut self, letters: FlagLetters) -> Self {
        self.letters = letters;
        self
    }

    /// Returns the letters of flags.
    #[must_use]
    pub const fn letters(&self) -> &FlagLetters {
        &self.letters
    }

    /// Returns the fields of smaps.
    #[must_use]
    pub fn fields(&self) -> FieldSet {
        self.smaps.fields().collect()
    }

    /// Returns the fields of the roll-up.
    #[must_use]
    pub fn rollup_fields(&self) -> FieldSet {
        self.rollup.fields().collect()
    }

    /// Iterates over the lines that this version does not know, by their labels.
    ///
    /// The flags say whether smaps and its roll-up have the line.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, [bool; 2])> {
        let [smaps, rollup] = &self.unknown;
        let of_smaps = smaps.iter().map(|line| (line.as_str(), [true, rollup.contains(line)]));
        let of_rollup = rollup.iter().filter(|line| !smaps.contains(line));
        of_smaps.chain(of_rollup.map(|line| (line.as_str(), [false, true])))
    }

    /// Writes the lines of smaps for a mapping at the beginning of `to`; returns their length.
    ///
    /// They are the line of maps ([`VmaRecord::write_line`]), and those of the fields that are
    /// `wanted` and known.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no record.
    #[inline]
    pub fn write_smaps(&self, mapping: &Mapping<'_>, wanted: FieldSet, to: &mut [u8]) -> Result<usize, TooShort> {
        let mut text = Text::new(to);
        text.put_with(|to| mapping.vma.write_line(to));
        for line in self.smaps.lines().filter(|line| wanted.contains(line.field)) {
            if line.field == Field::VmFlags {
                self.write_flags(mapping.vm_flags, &mut text);
            } else if let Some(value) = mapping.value(line.field) {
                line.write(value, &mut text);
            }
        }
        text.finish()
    }

    /// Writes the text of smaps_rollup at the beginning of `to`; returns its length.
    ///
    /// `stats` is the sum over the mappings, which lie in `range`.
    ///
    /// # Errors
    /// [`TooShort`] if `to` is; what is in it then is part of no record.
    ///
    /// Source: `show_smaps_rollup()` of Linux.
    pub fn write_rollup(
        &self,
        range: Range<u64>,
        stats: &MemSizeStats,
        wanted: FieldSet,
        to: &mut [u8],
    ) -> Result<usize, TooShort> {
        let header = VmaRecord {
            name: Name::Path(b"[rollup]"),
            ..VmaRecord::new(range)
        };
        let mut text = Text::new(to);
        text.put_with(|to| header.write_line(to));
        for line in self.rollup.lines().filter(|line| wanted.contains(line.field)) {
            if let Some(value) = stats.bytes(line.field) {
                line.write(value, &mut text);
            }
        }
        text.finish()
    }

    fn write_flags(&self, vm_flags: u64, text: &mut Text<'_>) {
        text.put(b"VmFlags: ");
        for [first, second] in self.letters.of(vm_flags) {
            text.put(&[first, second, b' ']);
        }
        text.put(b"\n");
    }
}

impl FormLines {
    const NONE: Self = Self {
        lines: [FormLine {
            field: Field::Size,
            width: NUMBER_WIDTH,
        }; Field::ALL.len()],
        count: 0,
    };

    /// Adds a line. There is one for each field.
    const fn push(&mut self, line: FormLine) {
        self.lines[self.count] = line;
        self.count += 1;
    }

    #[inline]
    fn lines(&self) -> impl Iterator<Item = &FormLine> {
        self.lines[..self.count].iter()
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        self.lines().map(|line| line.field)
    }

    /// Learns the lines of the first record of a text. Labels that are not known go to `unknown`.
    fn learn(text: &[u8], unknown: &mut Vec<String>) -> Self {
        let mut known = Self::NONE;
        let lines = text.split(|&byte| byte == b'\n').skip(1);
        for (line, (label, _)) in lines.map_while(|line| Some((line, split_label(line)?))) {
            match Field::of_label(label) {
                Some(field) if known.fields().all(|other| other != field) => known.push(FormLine::learn(field, line)),
                Some(_) => {}
                None => unknown.push(String::from_utf8_lossy(label).into_owned()),
            }
        }
        known
    }

    /// Returns the lines that a roll-up may have.
    fn sums(&self) -> Self {
        let mut sums = Self::NONE;
        for &line in self.lines().filter(|line| line.field.scope() == Scope::Summed) {
            sums.push(line);
        }
        sums
    }
}

impl FormLine {
    fn learn(field: Field, line: &[u8]) -> Self {
        let number = line.strip_suffix(b" kB").unwrap_or(line);
        let width = number.len().saturating_sub(NUMBER_COLUMN);
        Self { field, width }
    }

    #[inline]
    fn write(self, value: u64, text: &mut Text<'_>) {
        if self.field.unit() == Unit::Kilobytes {
            text.field_in_kilobytes(self.field, value >> 10, self.width);
        } else {
            let prefix = self.field.prefix();
            text.put(prefix);
            text.decimal(value, (NUMBER_COLUMN + self.width).saturating_sub(prefix.len()));
            text.put(b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const SMAPS: &[u8] =
        b"1000-2000 r--p 00000000 08:02 1    /caf\xe9\nSize:      4 kB\nNew:     1 kB\nVmFlags: rd \n2000-3000 r--p\n";
    const ROLLUP: &[u8] =
        b"1000-2000 ---p 00000000 00:00 0 [rollup]\nRss:     4 kB\nPss_Anon:   4 kB\nNew:    1 kB\nNewer:     1 kB\n";
    const LETTERS: FlagLetters = FlagLetters::of_release((6, 18));

    #[test]
    fn lines_that_are_not_known_are_named_and_a_path_of_any_bytes_is_no_obstacle() {
        let form = Form::of_text(SMAPS, Some(ROLLUP), LETTERS);
        let unknown: Vec<_> = form.unknown().collect();
        assert_eq!(unknown, [("New", [true, true]), ("Newer", [false, true])]);
        assert!(form.fields().iter().eq([Field::Size, Field::VmFlags]));
        assert!(form.rollup_fields().iter().eq([Field::Rss, Field::PssAnon]));
        let smaps = b"1000-2000 r--p\nSize:      4 kB\nRss:      0 kB\nRss:      0 kB\nVmFlags: rd \n";
        let form = Form::of_text(smaps, None, LETTERS);
        assert!(form.rollup_fields().iter().eq([Field::Rss]));
        assert!(form.fields().iter().eq([Field::Size, Field::Rss, Field::VmFlags]));
    }

    #[test]
    fn numbers_stand_where_the_kernel_puts_them() {
        for (field, kilobytes, expected) in [
            (Field::Size, 0, "Size:                  0 kB\n"),
            (Field::Size, 12_345_678, "Size:           12345678 kB\n"),
            (Field::Size, 1 << 30, "Size:           1073741824 kB\n"),
            (Field::PrivateHugetlb, 0, "Private_Hugetlb:       0 kB\n"),
            (Field::PrivateHugetlb, 1_234_567, "Private_Hugetlb: 1234567 kB\n"),
            (Field::PrivateHugetlb, 12_345_678, "Private_Hugetlb: 12345678 kB\n"),
            (Field::THPeligible, 0, "THPeligible:           0\n"),
            (Field::ProtectionKey, 0, "ProtectionKey:         0\n"),
        ] {
            let mut to = vec![0; 100];
            let mut text = Text::new(&mut to);
            FormLine { field, width: 8 }.write(kilobytes << 10, &mut text);
            let length = text.finish().unwrap();
            assert_eq!(core::str::from_utf8(&to[..length]), Ok(expected));
        }
    }

    #[test]
    fn a_release_has_the_fields_of_its_time() {
        let has = |release, field| Form::of_release(release).fields().contains(field);
        assert!(has((6, 18), Field::Ksm) && has((6, 7), Field::Ksm) && !has((6, 6), Field::Ksm));
        assert!(has((7, 0), Field::PssDirty) && !has((5, 15), Field::PssDirty));
        let form = Form::of_release((6, 18));
        assert!(!form.fields().contains(Field::PssAnon) && form.rollup_fields().contains(Field::PssAnon));
        assert!(form.fields().contains(Field::Size) && !form.rollup_fields().contains(Field::Size));
    }
}
