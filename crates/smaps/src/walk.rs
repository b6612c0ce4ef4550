//! The contract of a walk over mappings, checked.
//!
//! A reader of maps goes from the lowest address up while the address space changes. In whichever
//! way it reads, it promises that
//!
//! - lines ascend and never overlap,
//! - a page that is mapped all the time is in a line,
//! - a page that is unmapped all the time is in none.
//!
//! A [`Walk`] is given the lines as they come, and asks its caller what is known of each page that
//! the walk passes.

use core::fmt;
use core::ops::Range;

/// The state of a page, as a walk shows it or as it is known to have been all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// It is in a mapping.
    Mapped,
    /// It is in none.
    Unmapped,
}

/// What breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// A line of no address.
    Empty(Range<u64>),
    /// A line that begins below the end of the line before it.
    Overlap {
        /// The line.
        line: Range<u64>,
        /// Where the line before it ended.
        cursor: u64,
    },
    /// A page that was mapped all the time, at this address, is in no line.
    Missed(u64),
    /// A page that was unmapped all the time, at this address, is in a line.
    Resurrected(u64),
}

/// How often a walk has broken the contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Lines of no address.
    pub empty: u64,
    /// Lines that begin below the end of the line before.
    pub overlaps: u64,
    /// Pages that were mapped all the time and are in no line.
    pub missed: u64,
    /// Pages that were unmapped all the time and are in a line.
    pub resurrected: u64,
    /// The first of all.
    pub first: Option<Broken>,
}

/// A walk from the lowest address up, checked line by line.
///
/// Pages are judged in one region; the order of lines is judged everywhere. Nothing is allocated.
///
/// ```
/// use vmaple_smaps::walk::{Broken, Page, Walk};
///
/// // Of four pages the first two are always mapped, the last never; the third comes and goes.
/// let known = |addr| match addr {
///     0x1000 | 0x2000 => Some(Page::Mapped),
///     0x3000 => None,
///     _ => Some(Page::Unmapped),
/// };
/// let mut walk = Walk::new(0x1000..0x5000, 0x1000);
/// walk.line(0x1000..0x2000, known);
/// walk.line(0x2000..0x4000, known);
/// assert_eq!(walk.end(known).first, None);
///
/// let mut walk = Walk::new(0x1000..0x5000, 0x1000);
/// walk.line(0x2000..0x5000, known);
/// let findings = walk.end(known);
/// assert_eq!((findings.missed, findings.resurrected), (1, 1));
/// assert_eq!(findings.first, Some(Broken::Missed(0x1000)));
/// ```
///
/// # Invariants
/// `next` is a page's address of the region, or its end.
#[derive(Clone, Debug)]
pub struct Walk {
    region: Range<u64>,
    page_bytes: u64,
    /// Where the line before ended.
    cursor: u64,
    /// The first page of the region that has not been passed.
    next: u64,
    findings: Findings,
}

impl Walk {
    /// Begins a walk in which the pages of `region` are judged.
    ///
    /// # Panics
    /// If the region is not of whole pages of `page_bytes`.
    #[must_use]
    pub fn new(region: Range<u64>, page_bytes: u64) -> Self {
        let bytes = region.end.saturating_sub(region.start);
        assert!(bytes.is_multiple_of(page_bytes), "a region of whole pages");
        Self {
            cursor: 0,
            // INVARIANT: the region's first page, or its end.
            next: region.start,
            region,
            page_bytes,
            findings: Findings::default(),
        }
    }

    /// Takes the next line. What lies between it and the line before is shown as unmapped.
    ///
    /// `known` says what a page was from the beginning of the walk until now; `None` if it has
    /// changed, or is not known.
    pub fn line(&mut self, line: Range<u64>, mut known: impl FnMut(u64) -> Option<Page>) {
        if line.is_empty() {
            self.findings.empty += 1;
            self.broken(Broken::Empty(line));
            return;
        }
        if line.start < self.cursor {
            self.findings.overlaps += 1;
            self.broken(Broken::Overlap {
                line: line.clone(),
                cursor: self.cursor,
            });
        }
        self.cursor = line.end;
        self.pass(line.start, Page::Unmapped, &mut known);
        self.pass(line.end, Page::Mapped, &mut known);
    }

    /// Passes the pages below `to` that have not been passed, all of which the walk shows as
    /// `shown`.
    ///
    /// It is for readers that see pages and not lines; [`line`](Self::line) does it for both sides
    /// of a line's start.
    pub fn pass(&mut self, to: u64, shown: Page, mut known: impl FnMut(u64) -> Option<Page>) {
        let to = to.min(self.region.end);
        while self.next < to {
            match (known(self.next), shown) {
                (Some(Page::Mapped), Page::Unmapped) => {
                    self.findings.missed += 1;
                    self.broken(Broken::Missed(self.next));
                }
                (Some(Page::Unmapped), Page::Mapped) => {
                    self.findings.resurrected += 1;
                    self.broken(Broken::Resurrected(self.next));
                }
                _ => {}
            }
            // INVARIANT: the next page of a region that is of whole pages.
            self.next += self.page_bytes;
        }
    }

    /// Ends the walk: all that it has not passed is shown as unmapped.
    #[must_use]
    pub fn end(mut self, known: impl FnMut(u64) -> Option<Page>) -> Findings {
        self.pass(u64::MAX, Page::Unmapped, known);
        self.findings
    }

    /// Returns the findings so far; of a walk that was cut off, all of them.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Returns where the last line ended.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Returns the first page of the region that has not been passed, or the region's end.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    #[cold]
    fn broken(&mut self, broken: Broken) {
        self.findings.first.get_or_insert(broken);
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(line) => write!(f, "the line {:x}-{:x} is empty", line.start, line.end),
            Self::Overlap { line, cursor } => {
                let (start, end) = (line.start, line.end);
                write!(
                    f,
                    "the line {start:x}-{end:x} begins below {cursor:x}, where the line before it ended"
                )
            }
            Self::Missed(addr) => write!(f, "the page at {addr:x} was mapped all the time and is in no line"),
            Self::Resurrected(addr) => write!(f, "the page at {addr:x} was unmapped all the time and is in a line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const PAGE: u64 = 0x1000;

    /// The findings of lines of pages of a region of eight, in which 2 and 5 are unmapped, 6
    /// changes, and the others are mapped.
    fn findings(lines: &[Range<u64>]) -> Findings {
        let start = 0x7f00_0000_0000;
        let known = |addr| match (addr - start) / PAGE {
            2 | 5 => Some(Page::Unmapped),
            6 => None,
            _ => Some(Page::Mapped),
        };
        let mut walk = Walk::new(start..start + 8 * PAGE, PAGE);
        for line in lines {
            walk.line(start + line.start * PAGE..start + line.end * PAGE, known);
        }
        walk.end(known)
    }

    #[test]
    fn the_truth_breaks_nothing() {
        for lines in [
            &[0..2, 3..5, 6..8][..],
            &[0..1, 1..2, 3..5, 7..8],
            &[0..2, 3..5, 7..900],
        ] {
            assert_eq!(findings(lines), Findings::default(), "{lines:?}");
        }
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one line")]
    fn what_breaks_the_contract_is_counted_and_the_first_is_told() {
        let counts = |lines: &[Range<u64>]| {
            let found = findings(lines);
            (found.empty, found.overlaps, found.missed, found.resurrected)
        };
        assert_eq!(counts(&[]), (0, 0, 5, 0));
        assert_eq!(counts(&[0..8]), (0, 0, 0, 2));
        assert_eq!(counts(&[0..2, 1..5, 7..8]), (0, 1, 0, 1));
        assert_eq!(counts(&[0..2, 2..2, 3..5, 7..8]), (1, 0, 0, 0));
        assert_eq!(counts(&[3..5, 0..2, 7..8]), (0, 1, 2, 0));
        assert_eq!(counts(&[4..5]), (0, 0, 4, 0));
        let first = |lines: &[Range<u64>]| findings(lines).first.unwrap().to_string();
        assert!(first(&[0..2, 4..5]).contains("page at 7f0000003000 was mapped all"));
        assert!(first(&[0..3]).contains("page at 7f0000002000 was unmapped all"));
        assert!(first(&[0..2, 1..2]).contains("begins below 7f0000002000"));
        assert!(first(&[1..1]).contains("7f0000001000-7f0000001000 is empty"));
    }

    #[test]
    fn pages_are_judged_as_they_were_known_when_they_were_passed() {
        let mut walk = Walk::new(0..4 * PAGE, PAGE);
        walk.pass(PAGE, Page::Mapped, |_| Some(Page::Unmapped));
        walk.pass(2 * PAGE, Page::Unmapped, |_| Some(Page::Mapped));
        walk.pass(PAGE, Page::Unmapped, |_| Some(Page::Mapped)); // passed already
        assert_eq!((walk.next(), walk.cursor()), (2 * PAGE, 0));
        let found = walk.findings();
        assert_eq!((found.resurrected, found.missed), (1, 1));
        assert_eq!(walk.end(|_| None).missed, 1);
    }
}
