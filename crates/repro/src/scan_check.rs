//! Holds each scan of maps against what the mapper has done: finds what was read that was not so.
//!
//! The text is looked at after each read, outside of what is timed and of any lock. Nothing here allocates.

use std::ops::Range;

use crate::page_state::PageStates;
use crate::sample::Seen;

/// What each line of the mapper's region says behind its addresses: written to, private, of no file.
const REGION_TAIL: &[u8] = b" -w-p 00000000 00:00 0 ";

/// More of a line than this is not needed: the rest is the name of a file outside of the region.
const LINE_BYTES: usize = 128;

/// The scans of one scanner, one after the other.
pub(crate) struct ScanCheck<'a> {
    states: PageStates<'a>,
    page_bytes: u64,
    /// The mapper's region.
    region: Range<u64>,
    /// Operations that were over when the scan began.
    begin: u64,
    /// The first page of the region that the scan has not passed.
    next: u64,
    /// Where the line before ended.
    end: u64,
    /// The last line of the text so far, if its end is still to come.
    partial: [u8; LINE_BYTES],
    partial_len: usize,
    seen: Seen,
}

impl<'a> ScanCheck<'a> {
    /// Of the region that begins at the address `start`.
    pub(crate) fn new(states: PageStates<'a>, start: u64) -> Self {
        let page_bytes = rustix::param::page_size() as u64;
        Self {
            states,
            page_bytes,
            region: start..start + states.pages() * page_bytes,
            begin: 0,
            next: 0,
            end: 0,
            partial: [0; LINE_BYTES],
            partial_len: 0,
            seen: Seen::default(),
        }
    }

    /// A scan begins; to be called before its first read.
    pub(crate) fn begin(&mut self) {
        self.begin = self.states.begin();
        (self.next, self.end, self.partial_len) = (0, 0, 0);
    }

    /// Takes what one read gave.
    pub(crate) fn take(&mut self, text: &[u8]) {
        let mut rest = text;
        loop {
            // Nearly all lines are the region's. Nobody has to look for the end of these.
            if self.partial_len == 0
                && let Some((range, after)) = parse(rest)
                && let Some(after) = after.strip_prefix(REGION_TAIL)
                && let Some(after) = after.strip_prefix(b"\n")
            {
                self.line(range, REGION_TAIL);
                rest = after;
                continue;
            }
            let end = rest.iter().position(|&b| b == b'\n');
            self.keep(&rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else {
                return;
            };
            let (line, len) = (self.partial, std::mem::take(&mut self.partial_len));
            match parse(&line[..len]) {
                Some((range, tail)) => self.line(range, tail),
                None => self.seen.torn += 1,
            }
            rest = &rest[end + 1..];
        }
    }

    /// The text is at its end; returns what all scans so far have seen.
    pub(crate) fn end(&mut self) -> Seen {
        if self.partial_len > 0 {
            self.seen.torn += 1;
        }
        self.seen.misses += self.pass(self.states.pages(), false);
        self.seen
    }

    /// Keeps a part of a line until the rest of it comes.
    fn keep(&mut self, part: &[u8]) {
        let room = &mut self.partial[self.partial_len..];
        let fits = part.len().min(room.len());
        room[..fits].copy_from_slice(&part[..fits]);
        self.partial_len += fits;
    }

    fn line(&mut self, range: Range<u64>, tail: &[u8]) {
        let unaligned = (range.start | range.end) & (self.page_bytes - 1) != 0;
        let in_region = range.start < self.region.end && range.end > self.region.start;
        if range.is_empty() || unaligned || in_region && tail != REGION_TAIL {
            self.seen.torn += 1;
            return;
        }
        if range.start < self.end {
            self.seen.overlaps += 1;
        }
        self.end = range.end;
        self.seen.misses += self.pass(self.page_at(range.start), false);
        self.seen.resurrected += self.pass(self.page_at(range.end), true);
    }

    /// The page of the region that begins at or above `addr`; beyond either end the nearest.
    fn page_at(&self, addr: u64) -> u64 {
        (addr.clamp(self.region.start, self.region.end) - self.region.start) / self.page_bytes
    }

    /// Passes the pages up to `to`, which a line covers or none does; counts those of which that is not so.
    fn pass(&mut self, to: u64, covered: bool) -> u64 {
        let wrong = |page: &u64| self.states.since(*page, self.begin) == Some(!covered);
        let count = (self.next..to).filter(wrong).count() as u64;
        self.next = self.next.max(to);
        count
    }
}

/// The addresses of a line of maps, and what comes behind them.
fn parse(line: &[u8]) -> Option<(Range<u64>, &[u8])> {
    let (start, rest) = hex(line)?;
    let (end, tail) = hex(rest.strip_prefix(b"-")?)?;
    tail.starts_with(b" ").then_some((start..end, tail))
}

/// The value of each digit, and of all other signs one that is none.
const DIGITS: [u8; 256] = {
    let mut values = [16; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// The hexadecimal number at the beginning, and the rest.
fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    let mut len = 0;
    for &byte in text {
        let digit = DIGITS[usize::from(byte)];
        if digit == 16 {
            break;
        }
        value = value << 4 | u64::from(digit);
        len += 1;
    }
    (1..=16).contains(&len).then_some((value, &text[len..]))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const START: u64 = 0x7f00_0000_0000;

    /// What a scan sees that reads `text` in these pieces, where pages 0 to 7 are mapped but for 2 and 5, which have been
    /// unmapped, all since before the scan but for page 6.
    fn seen(pieces: &[&[u8]]) -> Seen {
        let (words, operations) = ([const { AtomicU64::new(0) }; 8], AtomicU64::new(0));
        let states = PageStates::new(&words, &operations);
        for page in 0..8 {
            states.settled(page, 0, page != 2 && page != 5);
        }
        let mut check = ScanCheck::new(states, START);
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

    fn seen_in(text: &str) -> Seen {
        let whole = seen(&[text.as_bytes()]);
        // However it is cut, it is the same text.
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(seen(&bytes), whole, "{text}");
        for at in 0..text.len() {
            let (one, two) = text.as_bytes().split_at(at);
            assert_eq!(seen(&[one, two]), whole, "{text}");
        }
        whole
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
        assert_eq!(seen_in(&truth()), Seen::default());
        // Whether page 6 is mapped is not known.
        let without_6 = truth().replace(&line(6..8), &line(7..8));
        assert_eq!(seen_in(&without_6), Seen::default());
        // Two lines are as good as one.
        let split = truth().replace(&line(3..5), &(line(3..4) + &line(4..5)));
        assert_eq!(seen_in(&split), Seen::default());
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let none = Seen::default();
        let changed = |from: &str, to: &str| seen_in(&truth().replace(from, to));
        assert_eq!(changed(&line(3..5), &line(4..5)), Seen { misses: 1, ..none });
        assert_eq!(changed(&line(0..2), ""), Seen { misses: 2, ..none });
        assert_eq!(seen_in(""), Seen { misses: 5, ..none });
        assert_eq!(changed(&line(0..2), &line(0..3)), Seen { resurrected: 1, ..none });
        assert_eq!(changed(&line(6..8), &line(5..8)), Seen { resurrected: 1, ..none });
        let twice = line(3..5) + &line(4..5);
        assert_eq!(changed(&line(3..5), &twice), Seen { overlaps: 1, ..none });
        // Whatever is not such a line says nothing of its pages.
        let (torn, misses) = (1, 2);
        let fault = Seen { torn, misses, ..none };
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
        assert_eq!(seen_in(&(truth() + "7ffff")), Seen { torn: 1, ..none });
    }
}
