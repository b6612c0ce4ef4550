//! The form of smaps on the running kernel, learned from our own: which lines there are differs from kernel to kernel.

use std::fs;
use std::io::ErrorKind;

use vmaple_proc::{Name, Perms, VmaRecord};

use crate::error::{Error, Result};
use crate::text::field::Field;
use crate::text::record::{MemSizeStats, Rollup, ScanRecord};

/// A line of smaps or its roll-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FormLine {
    field: Field,
    /// The columns of the number.
    width: usize,
}

/// The lines that the running kernel's smaps and smaps_rollup have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    smaps: Vec<FormLine>,
    rollup: Vec<FormLine>,
    letters: [Option<[u8; 2]>; 64],
    /// What lines are called that this version does not know, of smaps and of its roll-up.
    unknown: [Vec<String>; 2],
}

/// What the kernel writes for a flag without letters.
const NO_LETTERS: &[u8; 2] = b"??";

/// Where numbers begin, behind label and colon.
const NUMBER_COLUMN: usize = 16;

impl Form {
    /// Learns it from what our own process has. Lines that are not known are left out; a [`Report`](crate::Report::left_out) names them.
    ///
    /// # Errors
    /// [`Error::Failed`] without /proc/self/smaps.
    pub fn of_this_kernel() -> Result<Self> {
        // Names of files are any bytes.
        let read = |path: &str| fs::read(path).map_err(|e| (e.kind(), Error::failed(format!("reading {path}"), e)));
        let smaps = read("/proc/self/smaps").map_err(|(_, e)| e)?;
        let rollup = match read("/proc/self/smaps_rollup") {
            Ok(text) => text,
            // Before Linux 4.14 there is none.
            Err((ErrorKind::NotFound, _)) => return Ok(Self::without_rollup(&smaps)),
            Err((_, e)) => return Err(e),
        };
        Ok(Self::of_text(&smaps, &rollup))
    }

    /// With the sums of what smaps has.
    fn without_rollup(smaps: &[u8]) -> Self {
        let mut form = Self::of_text(smaps, b"");
        let is_sum = |line: &&FormLine| line.field.bytes(&MemSizeStats::default()).is_some();
        form.rollup = form.smaps.iter().filter(is_sum).copied().collect();
        form
    }

    pub(crate) fn of_text(smaps: &[u8], rollup: &[u8]) -> Self {
        let mut unknown = [vec![], vec![]];
        let [of_smaps, of_rollup] = &mut unknown;
        Self {
            smaps: FormLine::learn_all(smaps, of_smaps),
            rollup: FormLine::learn_all(rollup, of_rollup),
            letters: letters(release()),
            unknown,
        }
    }

    /// The lines that this version does not know: whether smaps and its roll-up have them.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = (&str, [bool; 2])> {
        let [smaps, rollup] = &self.unknown;
        let of_smaps = smaps.iter().map(|line| (line.as_str(), [true, rollup.contains(line)]));
        let of_rollup = rollup.iter().filter(|line| !smaps.contains(line));
        of_smaps.chain(of_rollup.map(|line| (line.as_str(), [false, true])))
    }

    /// The fields that the roll-up has and smaps has not.
    pub(crate) fn of_sum_alone(&self) -> impl Iterator<Item = Field> {
        let lines = self.rollup.iter().map(|line| line.field);
        lines.filter(|&field| !self.has(field))
    }

    /// Whether flags have a bit whose letters are not known.
    pub(crate) fn lacks_letters(&self, vm_flags: u64) -> bool {
        (0..64).any(|bit| vm_flags >> bit & 1 == 1 && self.letters[bit] == Some(*NO_LETTERS))
    }

    /// Whether smaps has the field.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.smaps.iter().any(|line| line.field == field)
    }

    /// Appends the lines of smaps for a record: the line of maps and those that `wanted` says.
    pub fn write_smaps(&self, record: &ScanRecord<'_>, wanted: impl Fn(Field) -> bool, to: &mut Vec<u8>) {
        write_maps_line(&record.vma, to);
        for line in self.smaps.iter().filter(|line| wanted(line.field)) {
            match line.field {
                Field::VmFlags => self.write_flags(record.vm_flags, to),
                // What is not known is left out.
                field => field.of(record).into_iter().for_each(|value| line.write(value, to)),
            }
        }
    }

    /// Appends the text of smaps_rollup.
    pub fn write_rollup(&self, rollup: &Rollup, wanted: impl Fn(Field) -> bool, to: &mut Vec<u8>) {
        let header = VmaRecord {
            start: rollup.start,
            end: rollup.end,
            perms: Perms::default(),
            offset: 0,
            dev: (0, 0),
            inode: 0,
            name: Name::Path(b"[rollup]"),
            new_from: rollup.start,
        };
        write_maps_line(&header, to);
        for line in self.rollup.iter().filter(|line| wanted(line.field)) {
            line.field
                .bytes(&rollup.stats)
                .into_iter()
                .for_each(|value| line.write(value, to));
        }
    }

    fn write_flags(&self, vm_flags: u64, to: &mut Vec<u8>) {
        to.extend(b"VmFlags: ");
        for bit in (0..64).filter(|bit| vm_flags >> bit & 1 == 1) {
            if let Some(letters) = self.letters[bit] {
                to.extend(letters);
                to.push(b' ');
            }
        }
        to.push(b'\n');
    }

    /// The letters of flags, as VmFlags has them.
    #[must_use]
    pub fn flags(&self, vm_flags: u64) -> String {
        let mut line = vec![];
        self.write_flags(vm_flags, &mut line);
        let line = String::from_utf8_lossy(&line);
        line["VmFlags: ".len()..].trim_end().to_owned()
    }

    /// The flags of letters: the inverse of [`flags`](Self::flags); and whether all letters are known.
    pub(crate) fn parse_flags(&self, text: &str) -> (u64, bool) {
        let bit = |letters: &str| {
            let is_it = |known: &Option<[u8; 2]>| known.is_some_and(|known| known == letters.as_bytes());
            let known = (letters.as_bytes() != NO_LETTERS).then(|| self.letters.iter().position(is_it))?;
            known.map(|bit| 1_u64 << bit)
        };
        let words = text.split_whitespace().map(bit);
        let (mut flags, mut all) = (0, true);
        for bit in words {
            flags |= bit.unwrap_or(0);
            all &= bit.is_some();
        }
        (flags, all)
    }
}

impl FormLine {
    /// The lines of the first mapping of a text, or of a roll-up; what is not known goes to `unknown`.
    fn learn_all(text: &[u8], unknown: &mut Vec<String>) -> Vec<Self> {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().skip(1);
        let labelled = lines.map_while(|line| Some((label(line)?, line)));
        let mut known = vec![];
        for (label, line) in labelled {
            match Self::learn(label, line) {
                Some(line) => known.push(line),
                None => unknown.push(label.to_owned()),
            }
        }
        known
    }

    fn learn(label: &str, line: &str) -> Option<Self> {
        let field = Field::parse(label)?;
        let number = line.strip_suffix(" kB").unwrap_or(line);
        let width = number.len().saturating_sub(NUMBER_COLUMN);
        Some(Self { field, width })
    }

    /// Without the formatting of the standard library: there are two dozen of these lines for each mapping.
    fn write(self, value: u64, to: &mut Vec<u8>) {
        let begin = to.len();
        to.extend(self.field.label().as_bytes());
        to.push(b':');
        let has_unit = !matches!(self.field, Field::THPeligible | Field::ProtectionKey);
        let mut rest = if has_unit { value >> 10 } else { value };
        let mut digits = [0; 20];
        let mut first = digits.len();
        while rest > 0 || first == digits.len() {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let digits = &digits[first..];
        // One label fills its column, and has a space nevertheless.
        let column = NUMBER_COLUMN.max(to.len() - begin + 1);
        let padded = (NUMBER_COLUMN + self.width).saturating_sub(digits.len());
        to.resize(begin + padded.max(column), b' ');
        to.extend(digits);
        to.extend(if has_unit { &b" kB\n"[..] } else { b"\n" });
    }
}

/// What stands before the colon of a line that is no line of maps.
pub(crate) fn label(line: &str) -> Option<&str> {
    let (label, _) = line.split_once(':')?;
    label.starts_with(|c: char| c.is_ascii_uppercase()).then_some(label)
}

/// Appends the line of maps.
pub fn write_maps_line(vma: &VmaRecord<'_>, to: &mut Vec<u8>) {
    let at = to.len();
    to.resize(at + 128, 0);
    let written = vma.write_line(&mut to[at..]).or_else(|short| {
        to.resize(at + short.needed, 0);
        vma.write_line(&mut to[at..])
    });
    to.truncate(at + written.unwrap_or(0));
}

/// Major and minor number of the running kernel.
pub(crate) fn release() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The letters of flags, by their bits; nothing for a bit that has no letters.
///
/// Source: `mnemonics` in `show_smap_vma_flags()` of Linux, and the bits in include/linux/mm.h.
fn letters(release: (u32, u32)) -> [Option<[u8; 2]>; 64] {
    const LOW: [&[u8; 2]; 32] = [
        b"rd", b"wr", b"ex", b"sh", b"mr", b"mw", b"me", b"ms", b"gd", b"um", b"pf", b"gu", b"uw", b"lo", b"io", b"sr",
        b"rr", b"dc", b"de", b"lf", b"ac", b"nr", b"ht", b"sf", b"ar", b"wf", b"dd", b"sd", b"mm", b"hg", b"nh", b"mg",
    ];
    let mut letters = [Some(*NO_LETTERS); 64];
    for (to, from) in letters.iter_mut().zip(LOW) {
        *to = Some(*from);
    }
    if release < (5, 15) {
        letters[11] = Some(*b"dw");
    }
    // The key of protected memory has a line of its own.
    letters[32..37].fill(None);
    letters[37] = Some(if release < (6, 6) { *b"ui" } else { *b"ss" });
    letters[38] = Some(*b"ui");
    letters[40] = Some(*b"dp");
    letters[41] = Some(*b"ui");
    letters[42] = Some(*b"sl");
    letters[43] = Some(*b"ur"); // from 7.3 on
    letters[63] = Some(*b"sl"); // from 6.10 to 6.15
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_our_own_smaps_is_known() {
        let form = Form::of_this_kernel().unwrap();
        for (file, known) in [("smaps", &form.smaps), ("smaps_rollup", &form.rollup)] {
            let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
            let labels = text.lines().skip(1).take_while(|line| label(line).is_some()).count();
            assert_eq!(known.len(), labels, "{text}");
        }
    }

    #[test]
    fn lines_that_are_not_known_are_named_and_a_path_of_any_bytes_is_no_obstacle() {
        let smaps = b"1000-2000 r--p 00000000 08:02 1    /caf\xe9\nSize:      4 kB\nNew:     1 kB\nVmFlags: rd \n2000-3000 r--p\n";
        let rollup = b"1000-2000 ---p 00000000 00:00 0 [rollup]\nRss:     4 kB\nPss_Anon:   4 kB\nNew:    1 kB\nNewer:     1 kB\n";
        let form = Form::of_text(smaps, rollup);
        let unknown: Vec<_> = form.unknown().collect();
        assert_eq!(unknown, [("New", [true, true]), ("Newer", [false, true])]);
        assert!(form.has(Field::Size) && form.has(Field::VmFlags) && !form.has(Field::Rss));
        assert_eq!(form.of_sum_alone().collect::<Vec<_>>(), [Field::Rss, Field::PssAnon]);
        let form = Form::without_rollup(b"1000-2000 r--p\nSize:      4 kB\nRss:      0 kB\nVmFlags: rd \n");
        let fields: Vec<_> = form.rollup.iter().map(|line| line.field).collect();
        assert_eq!(fields, [Field::Rss]);
    }

    #[test]
    fn numbers_stand_where_the_kernel_puts_them() {
        let line = FormLine {
            field: Field::Size,
            width: 8,
        };
        for (kilobytes, expected) in [
            (0, "Size:                  0 kB\n"),
            (12_345_678, "Size:           12345678 kB\n"),
            (1 << 30, "Size:           1073741824 kB\n"),
        ] {
            let mut text = vec![];
            line.write(kilobytes << 10, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn flags_become_letters_and_letters_flags() {
        let form = Form::of_this_kernel().unwrap();
        assert_eq!(form.flags(0x73 | 1 << 33), "rd wr mr mw me");
        assert_eq!(form.parse_flags("rd wr mr mw me"), (0x73, true));
        assert_eq!(form.parse_flags("ur"), (1 << 43, true));
        // Of letters of a later kernel's nothing is made up, and that is known.
        assert_eq!(form.parse_flags("rd zz"), (1, false));
        assert_eq!(form.parse_flags("?? rd"), (1, false));
        assert!(form.lacks_letters(1 << 62) && !form.lacks_letters(0x73 | 0xf << 32));
    }

    #[test]
    fn each_kernel_has_its_letters_of_flags() {
        for (release, bit, expected) in [
            ((5, 10), 11, Some(b"dw")),
            ((6, 18), 11, Some(b"gu")),
            ((6, 18), 33, None),
            ((6, 1), 37, Some(b"ui")),
            ((6, 18), 38, Some(b"ui")),
            ((6, 18), 40, Some(b"dp")),
            ((6, 18), 42, Some(b"sl")),
            ((6, 12), 63, Some(b"sl")),
            ((7, 3), 43, Some(b"ur")),
            ((7, 3), 44, Some(b"??")),
        ] {
            assert_eq!(letters(release)[bit], expected.copied(), "{release:?}, bit {bit}");
        }
    }
}
