//! The counts of a record of smaps or smaps_rollup, and whether they add up.

use std::ops::Range;

use vmaple_smaps::Field;

use crate::plan::ProcFile;

/// The fields of a record of smaps that are looked at.
const FIELDS: [Field; 7] = [
    Field::Size,
    Field::Rss,
    Field::SharedClean,
    Field::SharedDirty,
    Field::PrivateClean,
    Field::PrivateDirty,
    Field::Swap,
];

/// What a record of smaps or smaps_rollup has said so far.
pub(super) struct Record {
    pub(super) range: Range<u64>,
    /// In bytes, as they are in [`FIELDS`].
    fields: [Option<u64>; FIELDS.len()],
}

impl Record {
    /// Begins a record of the addresses `range`.
    pub(super) fn new(range: Range<u64>) -> Self {
        let fields = [None; FIELDS.len()];
        Self { range, fields }
    }

    /// Takes a field's value.
    pub(super) fn set(&mut self, field: Field, value: u64) {
        if let Some(at) = FIELDS.iter().position(|&known| known == field) {
            self.fields[at] = Some(value);
        }
    }

    /// Returns the bytes that are counted as populated; `None` if the counts do not fit together,
    /// or some are missing.
    pub(super) fn populated_bytes(&self, file: ProcFile) -> Option<u64> {
        let [size, rss, parts @ .., swap] = self.fields;
        let rss = rss?;
        let sum = parts.into_iter().try_fold(0, |sum: u64, part| sum.checked_add(part?))?;
        let bytes = self.range.end - self.range.start;
        // A roll-up has no size, and what it spans may be of another moment than what it counts.
        let fits = rss == sum && (file == ProcFile::SmapsRollup || rss <= bytes && size == Some(bytes));
        fits.then_some(rss.saturating_add(swap.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use vmaple_smaps::{Line, parse_range};

    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written_and_nothing_else_is() {
        let line = b"1000-2f00 rw-p x";
        assert_eq!(parse_range(line), Some((0x1000..0x2f00, &b" rw-p x"[..])));
        for wrong in [
            "",
            "1000",
            "1000-",
            "-2000 ",
            "1000-2000",
            "1000-2000rw-p",
            "1000 2000 ",
            "Rss-1 ",
        ] {
            assert_eq!(parse_range(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Line::parse(b"Rss:    4 kB"), Ok(Line::Value(Field::Rss, 4096)));
        assert_eq!(Line::parse(b"Rss:      12 kB"), Ok(Line::Value(Field::Rss, 12 << 10)));
        for wrong in [
            "",
            ":",
            "rss: 4 kB",
            "Rss 4 kB",
            "Rss:12",
            "Rss: kB",
            "Rss:1 2 kB",
            "Rss:-1 kB",
            "Rss:99999999999999999999 kB",
        ] {
            assert!(Line::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
