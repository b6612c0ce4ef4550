//! The contract: what a scan may report, given what the address space was.

use std::ops::RangeInclusive;

use vmaple_mm::PAGE_SIZE;
use vmaple_smaps::walk::{self, Page, Walk};

use super::scan::{Scan, Seen};
use super::{History, Life, Piece};

/// A rule of the contract that a scan breaks, and where.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// A line begins below the end of the line before it, or is empty.
    Overlap(Piece),
    /// A line was true in none of the versions that it may show.
    NeverExisted(Piece),
    /// No line covers an address that was mapped in all versions.
    NotCovered(u64),
    /// A VMA that stayed unchanged through all versions is shown this many times, instead of once.
    UntouchedShown(usize, Piece),
    /// The lines of one instant match no version; the first of these lines.
    NotOneInstant(Piece),
    /// Another rule of every walk.
    Walk(walk::Broken),
}

/// Checks a scan against all rules: those of every walk ([`Walk`]), of lines and of instants.
pub fn check(history: &History, scan: &Scan) -> Result<(), Broken> {
    let pages = Pages::during(history, scan.span);
    let known = |addr| pages.known(addr);
    let mut walk = Walk::new(pages.base..pages.addr(pages.always.len() * 64), PAGE_SIZE);
    let mut cursors = vec![0];
    for seen in &scan.seen {
        let part = seen.part;
        let cursor = walk.cursor();
        walk.line(part.start..part.end, known);
        if walk.findings().empty + walk.findings().overlaps > 0 {
            return Err(Broken::Overlap(part));
        }
        if !lives(history, seen, cursor).any(|life| meets(life, seen.window)) {
            return Err(Broken::NeverExisted(part));
        }
        cursors.push(part.end);
    }
    let found = walk.end(known).first;
    if let Some(walk::Broken::Missed(addr)) = found {
        return Err(Broken::NotCovered(addr));
    }
    shows_what_is_untouched_once(history, scan)?;
    let mut first = 0;
    for &count in &scan.instants {
        if !is_one_instant(history, &scan.seen[first..first + count], cursors[first]) {
            return Err(Broken::NotOneInstant(scan.seen[first].part));
        }
        first += count;
    }
    found.map_or(Ok(()), |broken| Err(Broken::Walk(broken)))
}

/// The pages that were mapped in all of some versions, and in any of them; 64 to a word.
struct Pages {
    base: u64,
    always: Vec<u64>,
    ever: Vec<u64>,
}

impl Pages {
    fn during(history: &History, (first, last): (usize, usize)) -> Self {
        let versions = &history.mapped[first..=last];
        let words = versions.iter().map(Vec::len).max().unwrap_or(0);
        let mut pages = Self {
            base: history.base,
            always: vec![u64::MAX; words],
            ever: vec![0; words],
        };
        for mapped in versions {
            for (i, (always, ever)) in pages.always.iter_mut().zip(&mut pages.ever).enumerate() {
                let word = mapped.get(i).copied().unwrap_or(0);
                *always &= word;
                *ever |= word;
            }
        }
        pages
    }

    fn addr(&self, page: usize) -> u64 {
        self.base + page as u64 * PAGE_SIZE
    }

    /// Returns what a page was in all versions, or `None` if it changed.
    fn known(&self, addr: u64) -> Option<Page> {
        let page = ((addr - self.base) / PAGE_SIZE) as usize;
        let is_in = |words: &[u64]| words[page / 64] >> (page % 64) & 1 == 1;
        match (is_in(&self.always), is_in(&self.ever)) {
            (true, _) => Some(Page::Mapped),
            (_, false) => Some(Page::Unmapped),
            _ => None,
        }
    }
}

/// Returns the VMAs of which a line may be the part that begins at the cursor.
pub(super) fn lives<'h>(history: &'h History, seen: &Seen, cursor: u64) -> impl Iterator<Item = &'h Life> {
    let (part, whole) = (seen.part, seen.whole);
    let lives = history.by_end.get(&part.end).into_iter().flatten();
    lives
        .map(|&life| &history.lives[life])
        .filter(move |life| life.piece.part(cursor) == part && whole.is_none_or(|whole| whole == life.piece))
}

fn meets(life: &Life, (first, last): (usize, usize)) -> bool {
    life.born <= last && life.died > first
}

fn shows_what_is_untouched_once(history: &History, scan: &Scan) -> Result<(), Broken> {
    for &life in &history.versions[scan.span.0] {
        let life = history.lives[life];
        if life.died <= scan.span.1 {
            continue;
        }
        let shown = scan.seen.iter().filter(|seen| seen.part == life.piece).count();
        if shown != 1 {
            return Err(Broken::UntouchedShown(shown, life.piece));
        }
    }
    Ok(())
}

/// Returns whether the lines are all that one version has between the cursor and their end.
fn is_one_instant(history: &History, lines: &[Seen], cursor: u64) -> bool {
    let (first, last) = lines[0].window;
    let end = lines[lines.len() - 1].part.end;
    let mut versions: Vec<RangeInclusive<usize>> = vec![first..=last];
    let mut from = cursor;
    for line in lines {
        let mut both = Vec::new();
        for life in lives(history, line, from) {
            for range in &versions {
                let range = life.born.max(*range.start())..=(life.died - 1).min(*range.end());
                if !range.is_empty() {
                    both.push(range);
                }
            }
        }
        versions = both;
        from = line.part.end;
    }
    versions.into_iter().flatten().any(|version| {
        let lives = &history.versions[version];
        let first = lives.partition_point(|&life| history.lives[life].piece.end <= cursor);
        let behind = lives.partition_point(|&life| history.lives[life].piece.start < end);
        behind - first == lines.len()
    })
}
