//! What a reader of smaps saw, from the lowest address to the end, and when.

use vmaple_mm::pgtable::PageCounts;
use vmaple_mm::{MmRef, SnapshotStore};
use vmaple_proc::{PageSource, Smaps};

use super::check::{check, lives};
use super::pages::{BrokenCounts, PageLog};
use super::scan::{Scan, Seen};
use super::{Clock, History, Piece};
use crate::smaps_text::Record;

/// The counts of a record.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub counts: PageCounts,
    /// `Size`, from a text.
    pub size: Option<u64>,
    /// Whether the mapping was live; `None` from a text.
    pub was_live: Option<bool>,
    /// The versions that its pages may show.
    pub window: (usize, usize),
}

/// The lines of a scan, and the counts of each.
pub struct SmapsScan {
    pub scan: Scan,
    pub counts: Vec<Counts>,
}

impl SmapsScan {
    fn new() -> Self {
        Self {
            scan: Scan {
                seen: Vec::new(),
                instants: Vec::new(),
                span: (usize::MAX, 0),
            },
            counts: Vec::new(),
        }
    }

    fn add(&mut self, record: &Record, window: (usize, usize)) {
        self.scan.instants.push(1);
        self.scan.seen.push(Seen {
            part: Piece::of_line(&record.line),
            whole: None,
            window,
        });
        self.counts.push(Counts {
            counts: record.counts(),
            size: Some(record.number("Size")),
            was_live: None,
            window,
        });
    }

    /// Reads text in pieces of `size()` bytes, called before each read.
    pub fn text<R: PageSource>(smaps: &mut Smaps<R>, clock: &Clock, mut size: impl FnMut() -> usize) -> Self {
        smaps.rewind();
        let mut scan = Self::new();
        let mut buffer = vec![0; 8192];
        let mut text = Vec::new();
        // Where each read began in the text, and its window.
        let mut reads = Vec::new();
        loop {
            let size = size();
            let (length, window) = clock.during(|| smaps.read(&mut buffer[..size]).unwrap());
            reads.push((text.len(), window));
            scan.scan.span = (scan.scan.span.0.min(window.0), window.1);
            if length == 0 {
                break;
            }
            text.extend_from_slice(&buffer[..length]);
        }
        let window = |at: usize| reads[reads.partition_point(|&(begin, _)| begin <= at) - 1].1;
        let mut at = 0_usize;
        for record in Record::parse_all(&text) {
            // A record is rendered with its buffer, of which 4095 bytes may have been read before
            // the record.
            scan.add(&record, (window(at.saturating_sub(4095)).0, window(at).1));
            at += record.text.len();
        }
        scan
    }

    /// Reads text in pieces that hold each buffer whole.
    pub fn buffers<R: PageSource>(smaps: &mut Smaps<R>, clock: &Clock, mut between: impl FnMut()) -> Self {
        smaps.rewind();
        let mut scan = Self::new();
        let mut buffer = vec![0; 8192];
        loop {
            between();
            let (length, window) = clock.during(|| smaps.read(&mut buffer).unwrap());
            scan.scan.span = (scan.scan.span.0.min(window.0), window.1);
            if length == 0 {
                return scan;
            }
            for record in Record::parse_all(&buffer[..length]) {
                scan.add(&record, window);
            }
            clock.meet_at(&scan.scan.seen);
        }
    }

    /// Reads record by record.
    pub fn records<R: PageSource>(smaps: &mut Smaps<R>, clock: &Clock, mut between: impl FnMut()) -> Self {
        smaps.rewind();
        let mut scan = Self::new();
        loop {
            between();
            let (seen, window) = clock.during(|| {
                let record = smaps.next_record().unwrap()?;
                let whole = Piece::of_record(&record.vma);
                let part = whole.part(record.vma.new_from);
                Some((part, whole, record.counts, record.was_live))
            });
            scan.scan.span = (scan.scan.span.0.min(window.0), window.1);
            let Some((part, whole, counts, was_live)) = seen else {
                return scan;
            };
            scan.scan.instants.push(1);
            scan.counts.push(Counts {
                counts,
                size: None,
                was_live: Some(was_live),
                window,
            });
            scan.scan.seen.push(Seen {
                part,
                whole: Some(whole),
                window,
            });
            clock.meet_at(&scan.scan.seen);
        }
    }

    /// Reads the records of a snapshot that is taken now.
    pub fn snapshot<S: SnapshotStore>(mm: &MmRef<S>, clock: &Clock, between: impl FnMut()) -> Self {
        let (smaps, window) = clock.during(|| Smaps::snapshot(mm));
        let mut scan = Self::records(&mut smaps.unwrap(), clock, between);
        // All lines show one instant.
        scan.scan.span = window;
        scan.scan.instants = Vec::from_iter((!scan.counts.is_empty()).then_some(scan.counts.len()));
        scan.scan.seen.iter_mut().for_each(|seen| seen.window = window);
        for counts in &scan.counts {
            assert!(counts.was_live == Some(true) || counts.counts == PageCounts::default());
        }
        scan
    }

    /// Checks lines and counts against all rules.
    pub fn check(&self, history: &History, pages: &PageLog) -> Result<(), String> {
        check(history, &self.scan).map_err(|broken| format!("{broken:x?}"))?;
        let mut cursor = 0;
        for (seen, counts) in self.scan.seen.iter().zip(&self.counts) {
            let range = seen.part.start..seen.part.end;
            let broken = |why: &dyn std::fmt::Debug| Err(format!("{why:x?}: {seen:x?}, {counts:x?}"));
            if counts.size.is_some_and(|size| size != range.end - range.start) {
                return broken(&"Size");
            }
            let (first, last) = counts.window;
            let checked = match counts.was_live {
                None => pages.check(&counts.counts, &range, counts.window),
                // A snapshot makes no claim about pages that may belong to another mapping.
                Some(false) if counts.counts == PageCounts::default() => Ok(()),
                Some(false) => pages.check(&counts.counts, &range, counts.window),
                // All pages are of the time when the mapping existed: of one of those that it may
                // have been.
                Some(true) => lives(history, seen, cursor)
                    .map(|life| (life.born.max(first), last.min(life.died - 1)))
                    .filter(|(first, last)| first <= last)
                    .map(|window| pages.check(&counts.counts, &range, window))
                    .min_by_key(Result::is_err)
                    .unwrap_or(Err(BrokenCounts::NotLive)),
            };
            if let Err(why) = checked {
                return broken(&why);
            }
            cursor = range.end;
        }
        Ok(())
    }
}
