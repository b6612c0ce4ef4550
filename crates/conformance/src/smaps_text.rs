//! Parses records of smaps that the library or the kernel has written, and keeps them.

use vmaple_mm::pgtable::PageCounts;
use vmaple_smaps::Field;

use crate::line::Line;

/// A line of maps, the numbers below it by field, and the letters of the flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub line: Line,
    /// In the order of the text; bytes, except for fields without a unit.
    pub numbers: Vec<(Field, u64)>,
    pub flags: Vec<String>,
    /// The text of the record.
    pub text: Vec<u8>,
}

impl Record {
    /// Parses all records of a text, whose last record must be complete.
    pub fn parse_all(text: &[u8]) -> Vec<Self> {
        let mut records: Vec<Self> = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let content = vmaple_smaps::Line::parse(line.strip_suffix(b"\n").expect("half a line")).unwrap();
            if let vmaple_smaps::Line::Vma(vma) = content {
                records.push(Self {
                    line: vma.into(),
                    numbers: Vec::new(),
                    flags: Vec::new(),
                    text: Vec::new(),
                });
            }
            let record = records.last_mut().unwrap();
            record.text.extend_from_slice(line);
            match content {
                vmaple_smaps::Line::Value(field, value) => record.numbers.push((field, value)),
                vmaple_smaps::Line::Flags(letters) => {
                    let letters = std::str::from_utf8(letters).unwrap();
                    record.flags = letters.split_whitespace().map(str::to_owned).collect();
                }
                vmaple_smaps::Line::Vma(_) | vmaple_smaps::Line::Unknown(_) => {}
            }
        }
        records
    }

    /// Returns a number by its name; 0 if the record has none.
    pub fn number(&self, name: &str) -> u64 {
        let found = self.numbers.iter().find(|(field, _)| field.label() == name);
        found.map_or(0, |&(_, number)| number)
    }

    /// Returns the counts that the text has.
    pub fn counts(&self) -> PageCounts {
        let mut counts = PageCounts::default();
        counts.rss = self.number("Rss");
        counts.pss = self.number("Pss") << 12;
        counts.pss_dirty = self.number("Pss_Dirty") << 12;
        counts.pss_anon = self.number("Pss_Anon") << 12;
        counts.shared_clean = self.number("Shared_Clean");
        counts.shared_dirty = self.number("Shared_Dirty");
        counts.private_clean = self.number("Private_Clean");
        counts.private_dirty = self.number("Private_Dirty");
        counts.referenced = self.number("Referenced");
        counts.anonymous = self.number("Anonymous");
        counts
    }
}

/// Reports whether the running kernel is too old for the form and the rules of the model.
pub fn is_too_old() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut numbers = numbers.map(|number| number.parse::<u32>().unwrap_or(0));
    let is_too_old = (numbers.next(), numbers.next()) < (Some(6), Some(18));
    if is_too_old {
        println!("skipped: Linux {} is older than 6.18", release.trim());
    }
    is_too_old
}
