//! Pages: which exist, and what they hold.

use std::ops::Range;

use super::window::PAGE;

/// The compared bits of an entry of pagemap: present, swapped, of a file, mapped only here. The
/// page of zeros is present and never mapped only here.
const COMPARED: u64 = 1 << 63 | 1 << 62 | 1 << 61 | 1 << 56;
const PRESENT_ALONE: u64 = 1 << 63 | 1 << 56;

/// The pages of a window.
#[derive(Default)]
pub(super) struct Pages {
    start: u64,
    bytes: Vec<u8>,
    /// The compared bits of pagemap's entries.
    entries: Vec<u64>,
}

impl Pages {
    /// Reads pagemap from an offset on, into room for all entries.
    pub(super) fn fill(&mut self, window: &Range<u64>, pagemap: impl FnOnce(u64, &mut [u8])) {
        self.start = window.start;
        self.bytes.resize(((window.end - window.start) / PAGE * 8) as usize, 0);
        pagemap(window.start / PAGE * 8, &mut self.bytes);
        let (entries, _) = self.bytes.as_chunks();
        self.entries.clear();
        self.entries
            .extend(entries.iter().map(|entry| u64::from_ne_bytes(*entry) & COMPARED));
    }

    fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let addrs = (self.start..).step_by(PAGE as usize);
        addrs.zip(self.entries.iter().copied())
    }

    /// Returns the pages that hold contents of their own.
    pub(super) fn own(&self) -> impl Iterator<Item = u64> {
        self.iter()
            .filter(|(_, entry)| *entry == PRESENT_ALONE)
            .map(|(addr, _)| addr)
    }

    /// Returns the first page that differs in `other`, and what it is in both.
    pub(super) fn difference(&self, other: &Self) -> Option<(u64, [&'static str; 2])> {
        if self.entries == other.entries {
            return None;
        }
        let mut pairs = self.iter().zip(other.iter());
        let ((addr, one), (_, two)) = pairs.find(|(one, two)| one.1 != two.1)?;
        Some((addr, [one, two].map(name)))
    }
}

fn name(entry: u64) -> &'static str {
    match entry {
        0 => "none",
        PRESENT_ALONE => "one of its own",
        entry if entry == 1 << 63 => "the page of zeros",
        _ => "another",
    }
}
