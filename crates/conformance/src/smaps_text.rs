//! Parses records of smaps that the library or the kernel has written.

use vmaple_mm::pgtable::PageCounts;

use crate::line::Line;

/// A line of maps, the numbers below it by name, and the letters of the flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub line: Line,
    /// In the order of the text; bytes, except for fields without a unit.
    pub numbers: Vec<(String, u64)>,
    pub flags: Vec<String>,
    /// The text of the record.
    pub text: Vec<u8>,
}

impl Record {
    /// Parses all records of a text, whose last record must be complete.
    pub fn parse_all(text: &[u8]) -> Vec<Self> {
        let mut records: Vec<Self> = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let content = line.strip_suffix(b"\n").expect("half a line");
            if !content[0].is_ascii_uppercase() {
                records.push(Self {
                    line: Line::parse(content),
                    numbers: Vec::new(),
                    flags: Vec::new(),
                    text: Vec::new(),
                });
            }
            let record = records.last_mut().unwrap();
            record.text.extend_from_slice(line);
            let content = std::str::from_utf8(content).unwrap_or_default();
            if let Some(flags) = content.strip_prefix("VmFlags: ") {
                record.flags = flags.split_whitespace().map(str::to_owned).collect();
            } else if content.starts_with(|first: char| first.is_ascii_uppercase()) {
                let (name, number) = content.split_once(':').unwrap();
                let bytes = number
                    .trim()
                    .strip_suffix(" kB")
                    .map(|number| number.parse::<u64>().unwrap() << 10);
                let number = bytes.unwrap_or_else(|| number.trim().parse().unwrap());
                record.numbers.push((name.to_owned(), number));
            }
        }
        records
    }

    /// Returns a number by its name; 0 if the record has none.
    pub fn number(&self, name: &str) -> u64 {
        let found = self.numbers.iter().find(|(its, _)| its == name);
        found.map_or(0, |&(_, number)| number)
    }

    /// Returns the counts that the text has.
    pub fn counts(&self) -> PageCounts {
        {
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
