//! The log of pages, version by version, and the check of counts against it.

use std::ops::{Range, RangeInclusive};

use vmaple_mm::pgtable::{PSS_SHIFT, PageCounts, PageFlags, Step, Walker};
use vmaple_mm::{Machine, PAGE_SIZE, VirtAddr};

/// The addresses whose pages are logged, in words of 64 pages.
const WORDS: usize = 16 << 20 >> 18;

/// One bit for each page above a base.
type Bits = [u64; WORDS];

/// The pages that existed in all noted states, and those that existed in some.
#[derive(Clone, Copy)]
struct Pages {
    in_all: Bits,
    in_some: Bits,
}

impl Pages {
    const NOT_NOTED: Self = Self {
        in_all: [u64::MAX; WORDS],
        in_some: [0; WORDS],
    };

    fn note(&mut self, pages: &Bits) {
        self.in_all
            .iter_mut()
            .zip(pages)
            .for_each(|(word, pages)| *word &= pages);
        self.in_some
            .iter_mut()
            .zip(pages)
            .for_each(|(word, pages)| *word |= pages);
    }
}

/// The pages of each version.
pub struct PageLog {
    base: u64,
    /// With the page of zeros.
    present: Vec<Pages>,
    /// Without the page of zeros, which counts for no mapping.
    resident: Vec<Pages>,
    /// Of the version to come.
    noted: [Pages; 2],
}

/// A rule that counts break.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BrokenCounts {
    /// `Rss` is not the sum of the four shared and private counts.
    Sum,
    /// A count exceeds the addresses that are counted, or a part exceeds the whole.
    TooLarge,
    /// The count is below the pages that existed all the time; their number.
    TooFew(u64),
    /// The mapping existed all the time, but in none of these versions.
    NotLive,
    /// The count is above the pages that ever existed; their number.
    TooMany(u64),
}

impl PageLog {
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            present: Vec::new(),
            resident: Vec::new(),
            noted: [Pages::NOT_NOTED; 2],
        }
    }

    /// Returns a log whose versions have these pages, by their numbers.
    pub fn of(base: u64, versions: &[&[usize]]) -> Self {
        let mut log = Self::new(base);
        for pages in versions {
            let mut bits = [0; WORDS];
            pages.iter().for_each(|page| bits[page / 64] |= 1 << (page % 64));
            log.note_pages(&bits, &bits);
            log.finish();
        }
        log
    }

    /// Logs the next version.
    pub(super) fn push<M: Machine>(&mut self, walker: &Walker<'_, M>) {
        self.note(walker);
        self.finish();
    }

    fn finish(&mut self) {
        let [present, resident] = std::mem::replace(&mut self.noted, [Pages::NOT_NOTED; 2]);
        self.present.push(present);
        self.resident.push(resident);
    }

    /// Notes a state in the middle of the version to come. A reader may see a page table in it for
    /// the last time.
    pub(super) fn note<M: Machine>(&mut self, walker: &Walker<'_, M>) {
        let (mut present, mut resident) = ([0; WORDS], [0; WORDS]);
        let mut at = self.base;
        let end = self.base + WORDS as u64 * 64 * PAGE_SIZE;
        while at < end {
            let step = walker.leaf(VirtAddr(at), |leaf| {
                for (addr, pte) in leaf.ptes(at..end) {
                    let (word, bit) = self.place(addr.0);
                    present[word] |= bit;
                    if !pte.flags.contains(PageFlags::ZERO) {
                        resident[word] |= bit;
                    }
                }
                leaf.range().end
            });
            let (Step::Leaf(next) | Step::Hole { end: next }) = step;
            at = next.0;
        }
        self.note_pages(&present, &resident);
    }

    fn note_pages(&mut self, present: &Bits, resident: &Bits) {
        self.noted[0].note(present);
        self.noted[1].note(resident);
    }

    fn place(&self, addr: u64) -> (usize, u64) {
        let page = (addr - self.base) / PAGE_SIZE;
        ((page / 64) as usize, 1 << (page % 64))
    }

    /// Returns whether pagemap's entry for an address may be present, and whether it may be absent.
    pub fn may_be(&self, addr: u64, window: (usize, usize)) -> (bool, bool) {
        let (word, bit) = self.place(addr);
        let versions = &self.present[versions(window)];
        let may_be = versions.iter().any(|pages| pages.in_some[word] & bit != 0);
        let may_be_none = versions.iter().any(|pages| pages.in_all[word] & bit == 0);
        (may_be, may_be_none)
    }

    /// Checks the counts of `range`, which belong to some of these versions.
    pub fn check(&self, counts: &PageCounts, range: &Range<u64>, window: (usize, usize)) -> Result<(), BrokenCounts> {
        let PageCounts { rss, pss, .. } = *counts;
        let parts = [
            counts.shared_clean,
            counts.shared_dirty,
            counts.private_clean,
            counts.private_dirty,
        ];
        if parts.into_iter().sum::<u64>() != rss {
            return Err(BrokenCounts::Sum);
        }
        let dirty = counts.shared_dirty + counts.private_dirty;
        let is_within = rss <= range.end - range.start
            && pss >> PSS_SHIFT <= rss
            && counts.pss_dirty >> PSS_SHIFT <= dirty
            && counts.pss_anon <= pss
            && counts.referenced <= rss
            && counts.anonymous <= rss;
        if !is_within {
            return Err(BrokenCounts::TooLarge);
        }
        let (always, ever) = self.bounds(range.clone(), window);
        match rss / PAGE_SIZE {
            pages if pages < always => Err(BrokenCounts::TooFew(always)),
            pages if pages > ever => Err(BrokenCounts::TooMany(ever)),
            _ => Ok(()),
        }
    }

    /// Returns how many pages in `range` were resident all the time, and how many at some time.
    pub fn bounds(&self, range: Range<u64>, window: (usize, usize)) -> (u64, u64) {
        let versions = &self.resident[versions(window)];
        let pages = |bound: u64| bound.saturating_sub(self.base) / PAGE_SIZE;
        let range = pages(range.start)..pages(range.end);
        let (mut always, mut ever) = (0, 0);
        for word in 0..WORDS {
            let first = word as u64 * 64;
            let mask = below(range.end.saturating_sub(first)) & !below(range.start.saturating_sub(first));
            if mask != 0 {
                let all = versions.iter().fold(u64::MAX, |all, pages| all & pages.in_all[word]);
                let any = versions.iter().fold(0, |any, pages| any | pages.in_some[word]);
                always += u64::from((all & mask).count_ones());
                ever += u64::from((any & mask).count_ones());
            }
        }
        (always, ever)
    }
}

fn versions((first, last): (usize, usize)) -> RangeInclusive<usize> {
    first..=last
}

/// Returns a word with its `bits` lowest bits set.
fn below(bits: u64) -> u64 {
    1_u64.checked_shl(bits as u32).map_or(u64::MAX, |bit| bit - 1)
}
