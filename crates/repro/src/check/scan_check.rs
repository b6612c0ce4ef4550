//! Holds each scan against what the mapper did, and counts what was read that was not so.
//!
//! - maps: pages with and without a line.
//! - smaps: the same of its headers. Of its counts, that they add up and that they cover the pages,
//!   which are populated.
//! - smaps_rollup: that its counts add up and cover the pages.
//! - pagemap: pages that are present and that are not.
//!
//! The contract of the walk itself is [`Walk`]'s. What was read is looked at after each read,
//! outside of what is timed and of any lock. Nothing here allocates.

use std::ops::Range;

use vmaple_smaps::walk::{Page, Walk};
use vmaple_smaps::{Line, parse_range};

use crate::plan::ProcFile;
use crate::sample::Misreads;

use super::PageStates;
use super::record::Record;

/// What each line of the mapper's region has after its addresses: written to, private, of no file.
const REGION_TAIL: &[u8] = b" -w-p 00000000 00:00 0 ";

/// What the line of a roll-up ends with.
const ROLLUP_TAIL: &[u8] = b" [rollup]";

/// More of a line than this is not needed: the rest is the name of a file outside of the region.
const LINE_BYTES: usize = 128;

/// An entry of pagemap.
const ENTRY_BYTES: usize = size_of::<u64>();

/// In an entry of pagemap: the page is in memory, or swapped out, and so populated.
const POPULATED: u64 = 1 << 63 | 1 << 62;

/// What is known of each page of the mapper's region since a scan began.
#[derive(Clone, Copy)]
struct Known<'a> {
    states: PageStates<'a>,
    /// Operations that were over when the scan began.
    begin: u64,
    /// The region's first address.
    start: u64,
    page_bytes: u64,
}

impl Known<'_> {
    fn at(self, addr: u64) -> Option<Page> {
        self.states.since((addr - self.start) / self.page_bytes, self.begin)
    }

    fn region(self) -> Range<u64> {
        self.start..self.start + self.states.pages() * self.page_bytes
    }
}

/// The scans of one scanner, one after the other.
pub(crate) struct ScanCheck<'a> {
    file: ProcFile,
    known: Known<'a>,
    walk: Walk,
    /// The record whose fields are being read.
    record: Option<Record>,
    /// The last line of the text so far, if its end is still to come.
    partial: [u8; LINE_BYTES],
    partial_len: usize,
    misreads: Misreads,
}

impl<'a> ScanCheck<'a> {
    /// Says whether what is read of `file` is looked at.
    pub(crate) fn is_for(file: ProcFile) -> bool {
        file.is_of_models()
    }

    /// Prepares to look at scans of the region that begins at the address `start`; `None` for a
    /// file that is not looked at.
    pub(crate) fn new(states: PageStates<'a>, start: u64, file: ProcFile) -> Option<Self> {
        let page_bytes = rustix::param::page_size() as u64;
        let known = Known {
            states,
            begin: 0,
            start,
            page_bytes,
        };
        Self::is_for(file).then(|| Self {
            file,
            known,
            walk: Walk::new(known.region(), page_bytes),
            record: None,
            partial: [0; LINE_BYTES],
            partial_len: 0,
            misreads: Misreads::default(),
        })
    }

    /// Begins a scan; to be called before its first read.
    pub(crate) fn begin(&mut self) {
        self.known.begin = self.known.states.begin();
        self.walk = Walk::new(self.known.region(), self.known.page_bytes);
        self.partial_len = 0;
        self.record = None;
    }

    /// Takes what one read returned.
    pub(crate) fn take(&mut self, read: &[u8]) {
        if self.file == ProcFile::Pagemap {
            self.entries(read);
        } else {
            self.text(read);
        }
    }

    /// Ends a scan; returns what all scans so far have seen.
    pub(crate) fn end(&mut self) -> Misreads {
        if self.partial_len > 0 {
            self.misreads.torn += 1;
        }
        self.end_record();
        let known = self.known;
        self.walk.pass(u64::MAX, Page::Unmapped, |addr| known.at(addr));
        let found = self.walk.findings();
        self.misreads.overlaps += found.overlaps;
        self.misreads.misses += found.missed;
        self.misreads.resurrected += found.resurrected;
        self.misreads
    }

    fn entries(&mut self, read: &[u8]) {
        let (entries, rest) = read.as_chunks::<ENTRY_BYTES>();
        let known = self.known;
        for entry in entries {
            let shown = if u64::from_ne_bytes(*entry) & POPULATED == 0 {
                Page::Unmapped
            } else {
                Page::Mapped
            };
            let next = self.walk.next() + known.page_bytes;
            self.walk.pass(next, shown, |addr| known.at(addr));
        }
        if !rest.is_empty() {
            self.misreads.torn += 1;
        }
    }

    fn text(&mut self, text: &[u8]) {
        let mut rest = text;
        loop {
            // Nearly all lines of maps are the region's: their end need not be looked for.
            if self.partial_len == 0
                && let Some((range, after)) = parse_range(rest)
                && let Some(after) = after.strip_prefix(REGION_TAIL)
                && let Some(after) = after.strip_prefix(b"\n")
            {
                self.header(range, REGION_TAIL);
                rest = after;
                continue;
            }
            let end = rest.iter().position(|&b| b == b'\n');
            self.keep(&rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else {
                return;
            };
            let (line, len) = (self.partial, std::mem::take(&mut self.partial_len));
            self.line(&line[..len]);
            rest = &rest[end + 1..];
        }
    }

    /// Keeps a part of a line until the rest of it comes.
    fn keep(&mut self, part: &[u8]) {
        let room = &mut self.partial[self.partial_len..];
        let fits = part.len().min(room.len());
        room[..fits].copy_from_slice(&part[..fits]);
        self.partial_len += fits;
    }

    fn line(&mut self, line: &[u8]) {
        if let Some((range, tail)) = parse_range(line) {
            return self.header(range, tail);
        }
        match (&mut self.record, Line::parse(line)) {
            (Some(record), Ok(Line::Value(field, value))) => record.set(field, value),
            (Some(_), Ok(Line::Flags(_) | Line::Unknown(_))) => {}
            // It is no line, or there is no record that it could be of.
            _ => self.misreads.torn += 1,
        }
    }

    /// Takes a line with addresses.
    fn header(&mut self, range: Range<u64>, tail: &[u8]) {
        self.end_record();
        let known = self.known;
        let region = known.region();
        let unaligned = (range.start | range.end) & (known.page_bytes - 1) != 0;
        let in_region = range.start < region.end && range.end > region.start;
        let rollup = self.file == ProcFile::SmapsRollup;
        let foreign = if rollup {
            !tail.ends_with(ROLLUP_TAIL)
        } else {
            in_region && tail != REGION_TAIL
        };
        if range.is_empty() || unaligned || foreign {
            self.misreads.torn += 1;
            return;
        }
        // A roll-up spans what is between mappings, too.
        let unmapped = if rollup { None } else { Some(Page::Unmapped) };
        self.walk.line(range.clone(), |addr| match known.at(addr) {
            Some(Page::Unmapped) => unmapped,
            known => known,
        });
        if self.file != ProcFile::Maps {
            self.record = Some(Record::new(range));
        }
    }

    /// Judges the counts of a record that has all its fields.
    fn end_record(&mut self) {
        let Some(record) = self.record.take() else {
            return;
        };
        let Some(bytes) = record.populated_bytes(self.file) else {
            self.misreads.torn += 1;
            return;
        };
        let region = self.known.region();
        let pages = record.range.start.max(region.start)..record.range.end.min(region.end);
        let mapped = pages
            .step_by(self.known.page_bytes as usize)
            .filter(|&addr| self.known.at(addr) == Some(Page::Mapped));
        self.misreads.misses += (mapped.count() as u64).saturating_sub(bytes / self.known.page_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const START: u64 = 0x7f00_0000_0000;

    /// What a scan sees that reads `file` in these pieces, where pages 0 to 7 are mapped but for 2
    /// and 5, which have been unmapped, all since before the scan but for page 6.
    fn seen_of(file: ProcFile, pieces: &[&[u8]]) -> Misreads {
        let (words, operations) = ([const { AtomicU64::new(0) }; 8], AtomicU64::new(0));
        let states = PageStates::new(&words, &operations);
        for page in 0..8 {
            let unmapped = page == 2 || page == 5;
            states.settled(page, 0, if unmapped { Page::Unmapped } else { Page::Mapped });
        }
        let mut check = ScanCheck::new(states, START, file).unwrap();
        check.begin();
        states.changing(6);
        pieces.iter().for_each(|piece| check.take(piece));
        check.end()
    }

    fn line(pages: Range<u64>) -> String {
        let at = |page| START + page * 4096;
        format!(
            "{:x}-{:x} -w-p 00000000 00:00 0 
",
            at(pages.start),
            at(pages.end)
        )
    }

    fn seen_in(file: ProcFile, text: &str) -> Misreads {
        let whole = seen_of(file, &[text.as_bytes()]);
        // However it is cut, it is the same text.
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(seen_of(file, &bytes), whole, "{text}");
        for at in 0..text.len() {
            let (one, two) = text.as_bytes().split_at(at);
            assert_eq!(seen_of(file, &[one, two]), whole, "{text}");
        }
        whole
    }

    fn seen_in_maps(text: &str) -> Misreads {
        seen_in(ProcFile::Maps, text)
    }

    fn truth() -> String {
        let (low, high) = (
            "00400000-00401000 r-xp 00000000 fe:01 77   /bin/",
            "7fff00000000-7fff00001000 rw-p 00000000 00:00 0    [stack]
",
        );
        format!(
            "{low}{}
{}{}{}{high}",
            "x".repeat(300),
            line(0..2),
            line(3..5),
            line(6..8)
        )
    }

    #[test]
    fn the_truth_raises_no_alarm() {
        assert_eq!(seen_in_maps(&truth()), Misreads::default());
        // Whether page 6 is mapped is not known.
        let without_6 = truth().replace(&line(6..8), &line(7..8));
        assert_eq!(seen_in_maps(&without_6), Misreads::default());
        // Two lines are as good as one.
        let split = truth().replace(&line(3..5), &(line(3..4) + &line(4..5)));
        assert_eq!(seen_in_maps(&split), Misreads::default());
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let none = Misreads::default();
        let changed = |from: &str, to: &str| seen_in_maps(&truth().replace(from, to));
        assert_eq!(changed(&line(3..5), &line(4..5)), Misreads { misses: 1, ..none });
        assert_eq!(changed(&line(0..2), ""), Misreads { misses: 2, ..none });
        assert_eq!(seen_in_maps(""), Misreads { misses: 5, ..none });
        assert_eq!(changed(&line(0..2), &line(0..3)), Misreads { resurrected: 1, ..none });
        assert_eq!(changed(&line(6..8), &line(5..8)), Misreads { resurrected: 1, ..none });
        let twice = line(3..5) + &line(4..5);
        assert_eq!(changed(&line(3..5), &twice), Misreads { overlaps: 1, ..none });
        // Whatever is not such a line says nothing of its pages.
        let (torn, misses) = (1, 2);
        let fault = Misreads { torn, misses, ..none };
        let whole = line(3..5);
        for wrong in [
            whole.replace("-w-p", "rw-p"),
            whole.replace("00:00 0 ", "00:00 0 [heap]"),
            whole.replace("p 00000000", "p 00001000"),
            whole.replace('7', "x"),
            whole.replace(" -w-p", ""),
            whole.replace("003000-", "003001-"),
            whole.replace("7f0000003000-", "1111117f0000003000-"),
            line(Range { start: 5, end: 3 }),
            line(3..3),
        ] {
            assert_ne!(wrong, whole);
            assert_eq!(changed(&whole, &wrong), fault, "{wrong}");
        }
        assert_eq!(seen_in_maps(&(truth() + "7ffff")), Misreads { torn: 1, ..none });
    }

    /// A header of smaps with its counts, in pages: in memory, and swapped out.
    fn record(header: &str, size: u64, rss: u64, swap: u64) -> String {
        let kb = |pages: u64| pages * 4;
        let (dirty, clean) = (kb(rss / 2), kb(rss - rss / 2));
        format!(
            "{header}Size: {:>18} kB\nRss: {:>19} kB\nShared_Clean:          0 kB\nShared_Dirty:          0 kB\n\
             Private_Clean: {clean:>9} kB\nPrivate_Dirty: {dirty:>9} kB\nAnonymous: {:>13} kB\nSwap: {:>18} kB\n\
             THPeligible:           0\nVmFlags: wr mr mw me ac \n",
            kb(size),
            kb(rss),
            kb(rss),
            kb(swap),
        )
    }

    #[test]
    fn counts_of_smaps_are_held_against_the_pages() {
        let none = Misreads::default();
        let smaps = |counts: &str| {
            let text = record(&line(0..2), 2, 2, 0) + counts + &record(&line(6..8), 2, 1, 0);
            seen_in(ProcFile::Smaps, &text)
        };
        let whole = record(&line(3..5), 2, 2, 0);
        assert_eq!(smaps(&whole), none);
        assert_eq!(smaps(&record(&line(3..5), 2, 1, 1)), none);
        // Two lines are as good as one, where they do not overlap.
        let (low, high) = (record(&line(3..4), 1, 1, 0), record(&line(4..5), 1, 1, 0));
        assert_eq!(smaps(&(low.clone() + &high)), none);
        assert_eq!(smaps(&(whole.clone() + &high)), Misreads { overlaps: 1, ..none });
        assert_eq!(smaps(&record(&line(3..5), 2, 1, 0)), Misreads { misses: 1, ..none });
        assert_eq!(smaps(&low), Misreads { misses: 1, ..none });
        assert_eq!(smaps(""), Misreads { misses: 2, ..none });
        let shown = record(&line(2..5), 3, 2, 0);
        assert_eq!(smaps(&shown), Misreads { resurrected: 1, ..none });
        // Counts that do not fit together say nothing of the pages.
        for wrong in [
            record(&line(3..5), 3, 2, 0),
            record(&line(3..5), 2, 3, 0),
            whole.replace("Private_Dirty:         4", "Private_Dirty:         0"),
            whole.replace("Shared_Dirty: ", "Shared_dirty: "),
            whole.replace("Rss: ", "RSS: "),
        ] {
            assert_ne!(wrong, whole);
            assert_eq!(smaps(&wrong), Misreads { torn: 1, ..none }, "{wrong}");
        }
        // One for the line, one for the counts without it.
        let wrong = whole.replace("Rss:                   8 kB", "Rss:                   8 MB");
        assert_ne!(wrong, whole);
        assert_eq!(smaps(&wrong), Misreads { torn: 2, ..none });
        assert_eq!(seen_in_maps(&whole).torn, 10);
    }

    #[test]
    fn a_roll_up_is_held_against_all_pages() {
        let none = Misreads::default();
        let header = |pages: Range<u64>| line(pages).replace("-w-p", "---p").replace("0 \n", "0    [rollup]\n");
        let rollup = |header: &str, rss, swap| seen_in(ProcFile::SmapsRollup, &record(header, 0, rss, swap));
        assert_eq!(rollup(&header(0..8), 5, 0), none);
        assert_eq!(rollup(&header(0..8), 3, 2), none);
        assert_eq!(rollup(&header(0..8), 4, 0), Misreads { misses: 1, ..none });
        // What it does not span is not counted.
        assert_eq!(rollup(&header(1..8), 4, 0), Misreads { misses: 1, ..none });
        let torn = record(&header(0..8), 0, 5, 0).replace("Private_Clean: ", "Shared_Clean: ");
        assert_eq!(seen_in(ProcFile::SmapsRollup, &torn), Misreads { torn: 1, ..none });
        let misses = 5;
        assert_eq!(seen_in(ProcFile::SmapsRollup, ""), Misreads { misses, ..none });
        assert_eq!(rollup(&line(0..8), 5, 0).misses, misses);
    }

    #[test]
    fn entries_of_pagemap_are_held_against_the_pages() {
        let none = Misreads::default();
        let misreads = |pages: &[u8]| {
            let entry = |page| {
                if pages.contains(&page) {
                    1_u64 << 63 | 7
                } else {
                    1 << 55
                }
            };
            let bytes: Vec<u8> = (0..8).flat_map(|page| entry(page).to_ne_bytes()).collect();
            let whole = seen_of(ProcFile::Pagemap, &[&bytes]);
            assert_eq!(seen_of(ProcFile::Pagemap, &[&bytes[..24], &bytes[24..]]), whole);
            whole
        };
        assert_eq!(misreads(&[0, 1, 3, 4, 6, 7]), none);
        assert_eq!(misreads(&[0, 1, 3, 4, 7]), none);
        assert_eq!(misreads(&[0, 3, 4, 7]), Misreads { misses: 1, ..none });
        let (misses, resurrected) = (1, 2);
        let both = Misreads {
            misses,
            resurrected,
            ..none
        };
        assert_eq!(misreads(&[1, 2, 3, 4, 5, 7]), both);
        let swapped = (1_u64 << 62).to_ne_bytes();
        let misses = 3;
        assert_eq!(
            seen_of(ProcFile::Pagemap, &[&swapped, &swapped, &[0; 7]]),
            Misreads {
                misses,
                torn: 1,
                ..none
            }
        );
    }
}
