//! What a reader saw, from the lowest address to the end, and when.

use std::io::Write;
use std::sync::atomic::Ordering;

use vmaple_proc::{Maps, Source, VmaRecord};

use super::{Clock, Piece, padded};
use crate::line::Line;

/// A line or a record.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The part that is new to the scan.
    pub part: Piece,
    /// The whole, for a record.
    pub whole: Option<Piece>,
    /// The versions that it may show.
    pub window: (usize, usize),
}

/// One reading from the lowest address to the end.
#[derive(Clone, Debug)]
pub struct Scan {
    pub seen: Vec<Seen>,
    /// How many of them each instant produced, if the reader knows.
    pub instants: Vec<usize>,
    /// The versions during which it ran.
    pub span: (usize, usize),
}

impl Scan {
    /// Reads text in pieces of `size()` bytes, called before each read.
    pub fn text<R: Source>(maps: &mut Maps<R>, clock: &Clock, mut size: impl FnMut() -> usize) -> Self {
        maps.rewind();
        let mut buffer = vec![0; 8192];
        let mut text = Vec::new();
        // Where each read began in the text, and its window.
        let mut reads = Vec::new();
        loop {
            let size = size();
            let (length, window) = clock.during(|| maps.read(&mut buffer[..size]).unwrap());
            reads.push((text.len(), window));
            if length == 0 {
                break;
            }
            text.extend_from_slice(&buffer[..length]);
        }
        let window = |at: usize| reads[reads.partition_point(|&(begin, _)| begin <= at) - 1].1;
        let (mut seen, mut at) = (Vec::new(), 0_usize);
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            seen.push(Seen {
                part: Piece::of_line(&Line::parse(&line[..line.len() - 1])),
                whole: None,
                // A line is rendered with its buffer, of which 4095 bytes may have been read before
                // the line.
                window: (window(at.saturating_sub(4095)).0, window(at).1),
            });
            at += line.len();
        }
        let span = (reads[0].1.0, reads[reads.len() - 1].1.1);
        Self {
            seen,
            instants: Vec::new(),
            span,
        }
    }

    /// Reads text in pieces that hold each buffer whole, so that each read shows one instant.
    pub fn buffers<R: Source>(maps: &mut Maps<R>, clock: &Clock, mut between: impl FnMut()) -> Self {
        maps.rewind();
        let mut buffer = vec![0; 8192];
        let mut scan = Self {
            seen: Vec::new(),
            instants: Vec::new(),
            span: (usize::MAX, 0),
        };
        loop {
            between();
            let (length, window) = clock.during(|| maps.read(&mut buffer).unwrap());
            scan.span = (scan.span.0.min(window.0), window.1);
            if length == 0 {
                return scan;
            }
            let lines = Line::parse_all(&buffer[..length]);
            scan.instants.push(lines.len());
            let seen = |line| Seen {
                part: Piece::of_line(line),
                whole: None,
                window,
            };
            scan.seen.extend(lines.iter().map(seen));
            clock.meet_at(&scan.seen);
        }
    }

    /// Reads record by record.
    pub fn records<R: Source>(maps: &mut Maps<R>, clock: &Clock, mut between: impl FnMut()) -> Self {
        maps.rewind();
        let mut scan = Self {
            seen: Vec::new(),
            instants: Vec::new(),
            span: (usize::MAX, 0),
        };
        loop {
            between();
            let (seen, window) = clock.during(|| {
                let record = maps.next_record().unwrap()?;
                let whole = Piece::of_record(&record);
                Some((whole.part(record.new_from), whole))
            });
            scan.span = (scan.span.0.min(window.0), window.1);
            let Some((part, whole)) = seen else { return scan };
            scan.instants.push(1);
            scan.seen.push(Seen {
                part,
                whole: Some(whole),
                window,
            });
            clock.meet_at(&scan.seen);
        }
    }
}

impl Clock {
    pub(super) fn meet_at(&self, seen: &[Seen]) {
        let cursor = seen.last().map_or(0, |seen| seen.part.end);
        self.cursor.store(cursor, Ordering::Relaxed);
    }
}

impl Piece {
    pub fn of_line(line: &Line) -> Self {
        Self {
            start: line.start,
            end: line.end,
            perms: line.perms.as_bytes().try_into().unwrap(),
            offset: line.offset,
            dev: line.dev,
            inode: line.inode,
            name: padded(&line.name),
        }
    }

    /// Converts without allocation.
    pub fn of_record(record: &VmaRecord<'_>) -> Self {
        let (mut perms, mut name) = ([0; 4], [0; 32]);
        write!(&mut perms[..], "{}", record.perms).unwrap();
        write!(&mut name[..], "{}", record.name).unwrap();
        Self {
            start: record.start,
            end: record.end,
            perms,
            offset: record.offset,
            dev: record.dev,
            inode: record.inode,
            name,
        }
    }
}
