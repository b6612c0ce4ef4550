//! The contract: what a scan may report, given what the address space was.

use std::ops::RangeInclusive;

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
}

/// Checks a scan against all rules.
pub fn check(history: &History, scan: &Scan) -> Result<(), Broken> {
    let mut cursor = 0;
    let mut cursors = vec![0];
    for seen in &scan.seen {
        let part = seen.part;
        if part.start < cursor || part.end <= part.start {
            return Err(Broken::Overlap(part));
        }
        if !lives(history, seen, cursor).any(|life| meets(life, seen.window)) {
            return Err(Broken::NeverExisted(part));
        }
        cursor = part.end;
        cursors.push(cursor);
    }
    covers(history, scan)?;
    shows_what_is_untouched_once(history, scan)?;
    let mut first = 0;
    for &count in &scan.instants {
        if !is_one_instant(history, &scan.seen[first..first + count], cursors[first]) {
            return Err(Broken::NotOneInstant(scan.seen[first].part));
        }
        first += count;
    }
    Ok(())
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

fn covers(history: &History, scan: &Scan) -> Result<(), Broken> {
    let versions = &history.mapped[scan.span.0..=scan.span.1];
    let mut always = versions[0].clone();
    for mapped in &versions[1..] {
        always.truncate(mapped.len());
        always.iter_mut().zip(mapped).for_each(|(word, mapped)| *word &= mapped);
    }
    for (i, word) in always.iter().enumerate() {
        for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
            let addr = history.addr(i, bit);
            let behind = scan.seen.partition_point(|seen| seen.part.end <= addr);
            if scan.seen.get(behind).is_none_or(|seen| seen.part.start > addr) {
                return Err(Broken::NotCovered(addr));
            }
        }
    }
    Ok(())
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
