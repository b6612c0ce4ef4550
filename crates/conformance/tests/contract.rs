//! Checks the contract under change: what readers see while writers work, against the log of what
//! the address space was. Also checks the checker, with scans that break one rule each.
//!
//! `VMAPLE_CONTRACT_SECONDS` is how long (`ci/deep/long.sh contract`), `VMAPLE_SEED` repeats a run.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex; // ThreadSanitizer sees it: the standard library's is not rebuilt
use vmaple_conformance::history::check::{Broken, check};
use vmaple_conformance::history::scan::{Scan, Seen};
use vmaple_conformance::history::{Clock, History, Piece, Recorder, padded};
use vmaple_conformance::workload::{BASE, Change, Workload};
use vmaple_mm::{MapleStore, RbStore, VmaLockStore, VmaStore};
use vmaple_proc::Maps;

/// Changes between two checks.
const CHANGES: usize = 3_000;

/// What was seen, so that a run that checks nothing is noticed.
#[derive(Debug, Default)]
struct Tally {
    scans: usize,
    beside_changes: usize,
    /// Lines that are only a part of a VMA.
    clipped: usize,
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// A store, and whether all lines of a buffer show one instant.
trait Design: VmaStore {
    const IS_A_BUFFER_ONE_INSTANT: bool;
}

impl Design for MapleStore {
    const IS_A_BUFFER_ONE_INSTANT: bool = true;
}

impl Design for RbStore {
    const IS_A_BUFFER_ONE_INSTANT: bool = true;
}

impl Design for VmaLockStore {
    const IS_A_BUFFER_ONE_INSTANT: bool = false;
}

/// Runs two writers and three readers: of whole buffers, of small pieces, of records. Checks after
/// each round of changes.
fn run<S: Design>() {
    let seed = from_env("VMAPLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("VMAPLE_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(from_env("VMAPLE_CONTRACT_SECONDS").unwrap_or(3));
    let mut tally = Tally::default();
    for round in 0.. {
        let (history, scans) = one_round::<S>(seed.wrapping_add(round));
        for scan in &scans {
            if let Err(broken) = check(&history, scan) {
                let seen: Vec<_> = scan.seen.iter().map(|seen| format!("{seen:x?}")).collect();
                panic!("{broken:x?}, in round {round}, during {:?}: {seen:#?}", scan.span);
            }
            tally.scans += 1;
            tally.beside_changes += usize::from(scan.span.0 < scan.span.1);
            tally.clipped += scan.seen.iter().filter(|seen| !history.has(&seen.part)).count();
        }
        // A round lasts until some changes happened during scans, however slow the machine is.
        if Instant::now() >= end && tally.beside_changes > 0 && tally.clipped > 0 {
            break;
        }
    }
    println!("{tally:?}");
}

fn one_round<S: Design>(seed: u64) -> (History, Vec<Scan>) {
    let workload = Workload::<S>::new();
    let clock = Clock::default();
    let recorder = Mutex::new(Recorder::new(&workload.mm, &clock, BASE));
    let done = AtomicBool::new(false);
    let mut scans = Vec::new();
    std::thread::scope(|scope| {
        let (workload, clock, recorder, done) = (&workload, &clock, &recorder, &done);
        let readers = [0, 1, 2].map(|kind| {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ kind);
                let mut maps = Maps::open(&workload.mm).unwrap();
                let mut scans = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    // A writer comes in between now and then, but not always.
                    let patience = random.u32(1..50);
                    let mut between = || {
                        if random.u32(..patience) == 0 {
                            std::thread::yield_now();
                        }
                    };
                    let mut scan = match kind {
                        0 => Scan::buffers(&mut maps, clock, between),
                        1 => Scan::records(&mut maps, clock, between),
                        _ => Scan::text(&mut maps, clock, || {
                            between();
                            let most = [1, 100, 4096, 8192][patience as usize % 4];
                            fastrand::usize(1..=most)
                        }),
                    };
                    if kind == 0 && !S::IS_A_BUFFER_ONE_INSTANT {
                        scan.instants.clear();
                    }
                    // As many as can be checked.
                    if scans.len() < 300 {
                        scans.push(scan);
                    }
                }
                scans
            })
        });
        let writers = [3, 4].map(|writer| {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ writer);
                for _ in 0..CHANGES / 2 {
                    for change in Change::random(&mut random, clock.cursor()) {
                        recorder.lock().change(|| workload.make(change));
                    }
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        scans = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
    });
    (recorder.into_inner().history, scans)
}

#[test]
fn readers_of_the_maple_store_see_what_the_contract_says() {
    run::<MapleStore>();
}

#[test]
fn readers_of_the_v5_4_model_see_what_the_contract_says() {
    run::<RbStore>();
}

#[test]
fn readers_of_the_v6_17_model_see_what_the_contract_says() {
    run::<VmaLockStore>();
}

/// The checker's own test: three VMAs, of which version 1 replaces the second by a larger one.
mod checker {
    use super::*;

    const PAGE: u64 = 4096;

    fn piece(start: u64, end: u64, offset: u64) -> Piece {
        Piece {
            start: start * PAGE,
            end: end * PAGE,
            perms: *b"rw-p",
            offset: offset * PAGE,
            dev: (8, 1),
            inode: 1,
            name: padded(b"/file"),
        }
    }

    fn seen(part: Piece) -> Seen {
        Seen {
            part,
            whole: None,
            window: (0, 1),
        }
    }

    const FIRST: (u64, u64, u64) = (0, 2, 10);
    const OLD: (u64, u64, u64) = (3, 4, 20);
    const NEW: (u64, u64, u64) = (2, 5, 19);
    const LAST: (u64, u64, u64) = (6, 8, 30);

    fn history() -> History {
        let mut history = History::new(0);
        for version in [[FIRST, OLD, LAST], [FIRST, NEW, LAST]] {
            history.push(
                version
                    .into_iter()
                    .map(|(start, end, offset)| piece(start, end, offset)),
            );
        }
        history
    }

    /// Checks these lines, seen during both versions, the first `instant` of them at one instant.
    fn verdict(lines: &[(u64, u64, u64)], instant: usize) -> Result<(), Broken> {
        let seen = lines
            .iter()
            .map(|&(start, end, offset)| seen(piece(start, end, offset)));
        let instants = if instant == 0 { Vec::new() } else { vec![instant] };
        check(
            &history(),
            &Scan {
                seen: seen.collect(),
                instants,
                span: (0, 1),
            },
        )
    }

    #[test]
    fn the_checker_accepts_what_there_was() {
        assert_eq!(verdict(&[FIRST, OLD, LAST], 3), Ok(()));
        assert_eq!(verdict(&[FIRST, NEW, LAST], 3), Ok(()));
        // The old one is gone, and the new one is not there yet.
        assert_eq!(verdict(&[FIRST, OLD, (4, 5, 21), LAST], 2), Ok(()));
    }

    #[test]
    fn the_checker_notices_lines_that_overlap() {
        assert_eq!(
            verdict(&[FIRST, OLD, NEW, LAST], 0),
            Err(Broken::Overlap(piece(2, 5, 19)))
        );
        assert_eq!(verdict(&[OLD, FIRST, LAST], 0), Err(Broken::Overlap(piece(0, 2, 10))));
        assert_eq!(verdict(&[(1, 1, 10)], 0), Err(Broken::Overlap(piece(1, 1, 10))));
    }

    #[test]
    fn the_checker_notices_lines_that_never_were() {
        let never = |(start, end, offset)| Err(Broken::NeverExisted(piece(start, end, offset)));
        assert_eq!(verdict(&[FIRST, (3, 5, 20), LAST], 0), never((3, 5, 20)));
        // The offset not advanced; cut where there was no cursor; another's offset.
        assert_eq!(verdict(&[FIRST, OLD, (4, 5, 19), LAST], 0), never((4, 5, 19)));
        assert_eq!(verdict(&[FIRST, NEW, (7, 8, 31)], 0), never((7, 8, 31)));
        assert_eq!(verdict(&[FIRST, (3, 4, 10), LAST], 0), never((3, 4, 10)));
    }

    #[test]
    fn the_checker_notices_lines_of_versions_that_were_over() {
        let mut scan = Scan {
            seen: [FIRST, OLD, LAST].map(|(s, e, o)| seen(piece(s, e, o))).to_vec(),
            instants: vec![],
            span: (0, 1),
        };
        scan.seen[1].window = (1, 1);
        assert_eq!(check(&history(), &scan), Err(Broken::NeverExisted(piece(3, 4, 20))));
    }

    #[test]
    fn the_checker_notices_records_whose_true_range_never_was() {
        let mut scan = Scan {
            seen: [FIRST, OLD, (4, 5, 21), LAST]
                .map(|(s, e, o)| seen(piece(s, e, o)))
                .to_vec(),
            instants: vec![],
            span: (0, 1),
        };
        scan.seen[2].whole = Some(piece(2, 5, 19));
        assert_eq!(check(&history(), &scan), Ok(()));
        scan.seen[2].whole = Some(piece(3, 5, 20));
        assert_eq!(check(&history(), &scan), Err(Broken::NeverExisted(piece(4, 5, 21))));
    }

    #[test]
    fn the_checker_notices_addresses_that_are_missing() {
        assert_eq!(verdict(&[FIRST, LAST], 0), Err(Broken::NotCovered(3 * PAGE)));
        assert_eq!(verdict(&[FIRST, NEW], 0), Err(Broken::NotCovered(6 * PAGE)));
        assert_eq!(verdict(&[], 0), Err(Broken::NotCovered(0)));
    }

    #[test]
    fn the_checker_notices_untouched_mappings_that_are_not_shown_once_and_whole() {
        let mut history = history();
        // An address in a second VMA, which existed for a moment only.
        let mut scan = Scan {
            seen: vec![
                seen(piece(0, 1, 10)),
                seen(piece(1, 2, 11)),
                seen(piece(2, 5, 19)),
                seen(piece(6, 8, 30)),
            ],
            instants: vec![],
            span: (0, 1),
        };
        for part in [piece(0, 1, 10), piece(1, 2, 11)] {
            history.by_end.entry(part.end).or_default().push(history.lives.len());
            history.lives.push(vmaple_conformance::history::Life {
                piece: part,
                born: 1,
                died: 2,
            });
        }
        assert_eq!(check(&history, &scan), Err(Broken::UntouchedShown(0, piece(0, 2, 10))));
        scan.seen.splice(0..2, [seen(piece(0, 2, 10))]);
        assert_eq!(check(&history, &scan), Ok(()));
    }

    #[test]
    fn the_checker_notices_buffers_of_two_instants() {
        assert_eq!(
            verdict(&[FIRST, OLD, (4, 5, 21), LAST], 3),
            Err(Broken::NotOneInstant(piece(0, 2, 10)))
        );
        // One is left out between two that existed together.
        let mut history = history();
        history.mapped = vec![vec![0]; 2];
        let scan = Scan {
            seen: vec![seen(piece(0, 2, 10)), seen(piece(6, 8, 30))],
            instants: vec![2],
            span: (0, 1),
        };
        assert_eq!(check(&history, &scan), Err(Broken::NotOneInstant(piece(0, 2, 10))));
    }
}
