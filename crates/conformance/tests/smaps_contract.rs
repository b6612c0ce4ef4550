//! Checks the contract of smaps, smaps_rollup, pagemap and statm under change: their counts while
//! threads map, touch and drop memory, against the log of pages. Also checks the checker, with
//! counts that break one rule each.
//!
//! `VMAPLE_CONTRACT_SECONDS` is how long (`ci/deep/long.sh contract`), `VMAPLE_SEED` repeats a run.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex; // ThreadSanitizer sees it: the standard library's is not rebuilt
use vmaple_conformance::history::pages::PageLog;
use vmaple_conformance::history::smaps_scan::SmapsScan;
use vmaple_conformance::history::{Clock, History, Recorder};
use vmaple_conformance::workload::pages::{Touch, settle};
use vmaple_conformance::workload::{BASE, Change, Workload};
use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{MapleStore, Mm, PAGE_SIZE, RbStore, VmaLockStore, VmaStore};
use vmaple_proc::{Pagemap, Smaps, SmapsRollup, Statm};

/// Changes between two checks.
const CHANGES: usize = 4_000;
/// The most observations of each reader that can be checked.
const MOST: usize = 150;
/// What is logged.
const ALL: std::ops::Range<u64> = BASE..BASE + (16 << 20);

/// What was seen, so that a run that checks nothing is noticed.
#[derive(Debug, Default)]
struct Tally {
    records: usize,
    /// Records whose VMA was replaced before all pages were counted.
    not_live: usize,
    /// Records whose pages changed during the count, so that several counts would be right.
    beside_changes: usize,
    roll_ups: usize,
    entries: usize,
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// A sum over the address space, and the versions that it may show.
type Sum = (PageCounts, (usize, usize));

/// Entries of pagemap from an address on, and the versions that they may show.
type Entries = (u64, Vec<u8>, (usize, usize));

/// What readers saw.
#[derive(Default)]
struct Seen {
    scans: Vec<SmapsScan>,
    sums: Vec<Sum>,
    entries: Vec<Entries>,
}

/// A store, and how a snapshot of it is read.
trait Design: VmaStore {
    fn snapshot(_: &Mm<Self>, _: &Clock, _: impl FnMut()) -> Option<SmapsScan> {
        None
    }
}

impl Design for RbStore {}

impl Design for VmaLockStore {}

impl Design for MapleStore {
    fn snapshot(mm: &Mm<Self>, clock: &Clock, between: impl FnMut()) -> Option<SmapsScan> {
        Some(SmapsScan::snapshot(mm, clock, between))
    }
}

/// Runs two threads that map and touch memory, and three readers. Checks after each round of
/// changes.
fn run<S: Design>() {
    let seed = from_env("VMAPLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("VMAPLE_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(from_env("VMAPLE_CONTRACT_SECONDS").unwrap_or(3));
    let mut tally = Tally::default();
    for round in 0.. {
        let (history, pages, seen) = one_round::<S>(seed.wrapping_add(round));
        let during = |window: (usize, usize)| format!("in round {round}, during {window:?}");
        for scan in &seen.scans {
            scan.check(&history, &pages)
                .unwrap_or_else(|broken| panic!("{broken}, {}", during(scan.scan.span)));
            tally.records += scan.counts.len();
            tally.not_live += scan
                .counts
                .iter()
                .filter(|counts| counts.was_live == Some(false))
                .count();
            let has_choice = |seen: &&vmaple_conformance::history::scan::Seen| {
                let (always, ever) = pages.bounds(seen.part.start..seen.part.end, seen.window);
                always < ever
            };
            tally.beside_changes += scan.scan.seen.iter().filter(has_choice).count();
        }
        for (counts, window) in &seen.sums {
            let checked = pages.check(counts, &ALL, *window);
            checked.unwrap_or_else(|broken| panic!("{broken:x?}, {}: {counts:x?}", during(*window)));
            tally.roll_ups += 1;
        }
        for (addr, bytes, window) in &seen.entries {
            for (i, entry) in bytes.chunks_exact(8).enumerate() {
                let is_present = u64::from_ne_bytes(entry.try_into().unwrap()) >> 63 == 1;
                let at = addr + i as u64 * PAGE_SIZE;
                let (may_be, may_be_none) = pages.may_be(at, *window);
                let is_possible = if is_present { may_be } else { may_be_none };
                assert!(is_possible, "a page at {at:x}: {is_present}, {}", during(*window));
                tally.entries += 1;
            }
        }
        // A round lasts until some changes happened during reads, however slow the machine is.
        if Instant::now() >= end && tally.beside_changes > 0 && tally.roll_ups > 0 && tally.entries > 0 {
            break;
        }
    }
    println!("{tally:?}");
}

fn one_round<S: Design>(seed: u64) -> (History, PageLog, Seen) {
    let workload = Workload::<S>::new();
    settle(&workload.mm.thread().unwrap());
    let clock = Clock::default();
    let recorder = Mutex::new(Recorder::new(&workload.mm, &clock, BASE));
    let done = AtomicBool::new(false);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let (workload, clock, recorder, done) = (&workload, &clock, &recorder, &done);
        let readers = [
            scope.spawn(move || read_smaps(workload, clock, seed, done)),
            scope.spawn(move || add_up(workload, clock, done)),
            scope.spawn(move || read_pagemap(workload, clock, seed, done)),
        ];
        let writers = [3, 4].map(|writer| {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ writer);
                let thread = workload.mm.thread().unwrap();
                for _ in 0..CHANGES / 2 {
                    if random.u32(..3) > 0 {
                        let touch = Touch::random(&mut random, clock.cursor());
                        recorder.lock().change(|| touch.make(&thread));
                    } else {
                        for change in Change::random(&mut random, clock.cursor()) {
                            recorder.lock().change(|| workload.make(change));
                        }
                    }
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            let its = reader.join().unwrap();
            seen.scans.extend(its.scans);
            seen.sums.extend(its.sums);
            seen.entries.extend(its.entries);
        }
    });
    let recorder = recorder.into_inner();
    (recorder.history, recorder.pages, seen)
}

fn read_smaps<S: Design>(workload: &Workload<S>, clock: &Clock, seed: u64, done: &AtomicBool) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut smaps = Smaps::open(&workload.mm).unwrap();
    let mut seen = Seen::default();
    while !done.load(Ordering::Relaxed) {
        let patience = random.u32(1..50);
        let mut between = || {
            if random.u32(..patience) == 0 {
                std::thread::yield_now();
            }
        };
        let scan = match patience % 4 {
            3 => match S::snapshot(&workload.mm, clock, &mut between) {
                Some(scan) => scan,
                None => continue,
            },
            0 => SmapsScan::buffers(&mut smaps, clock, between),
            1 => SmapsScan::records(&mut smaps, clock, between),
            _ => SmapsScan::text(&mut smaps, clock, || {
                between();
                [1 + patience as usize, 700, 4096][patience as usize % 3]
            }),
        };
        if seen.scans.len() < MOST {
            seen.scans.push(scan);
        }
    }
    seen
}

fn add_up<S: VmaStore>(workload: &Workload<S>, clock: &Clock, done: &AtomicBool) -> Seen {
    let [walk, add] = [CountBy::Walk, CountBy::Counters].map(|by| SmapsRollup::open(&workload.mm, by).unwrap());
    let statm = Statm::open(&workload.mm).unwrap();
    let mut seen = Seen::default();
    while !done.load(Ordering::Relaxed) {
        let sums = [
            clock.during(|| walk.record().unwrap().counts),
            clock.during(|| add.record().unwrap().counts),
            clock.during(|| {
                let rss = statm.record().unwrap().resident * PAGE_SIZE;
                let private_dirty = rss;
                {
                    let mut counts = PageCounts::default();
                    counts.rss = rss;
                    counts.private_dirty = private_dirty;
                    counts
                }
            }),
        ];
        if seen.sums.len() < MOST * 10 {
            seen.sums.extend(sums);
        }
        std::thread::yield_now();
    }
    seen
}

fn read_pagemap<S: VmaStore>(workload: &Workload<S>, clock: &Clock, seed: u64, done: &AtomicBool) -> Seen {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pagemap = Pagemap::open(&workload.mm).unwrap();
    let mut seen = Seen::default();
    while !done.load(Ordering::Relaxed) {
        let addr = ALL.start + random.u64(..3800) * PAGE_SIZE;
        let mut bytes = vec![0; random.usize(1..200) * 8];
        let (length, window) = clock.during(|| pagemap.read_at(addr / PAGE_SIZE * 8, &mut bytes).unwrap());
        assert_eq!(length, bytes.len());
        if seen.entries.len() < MOST * 10 {
            seen.entries.push((addr, bytes, window));
        }
        std::thread::yield_now();
    }
    seen
}

#[test]
fn readers_of_pages_in_the_maple_store_see_what_the_contract_says() {
    run::<MapleStore>();
}

#[test]
fn readers_of_pages_in_the_v5_4_model_see_what_the_contract_says() {
    run::<RbStore>();
}

#[test]
fn readers_of_pages_in_the_v6_17_model_see_what_the_contract_says() {
    run::<VmaLockStore>();
}

/// The checker's own test: page 3 exists all the time, page 70 and page 4 each in one of two
/// versions.
mod checker {
    use super::*;
    use vmaple_conformance::history::pages::BrokenCounts;

    fn log() -> PageLog {
        PageLog::of(BASE, &[&[3, 70], &[3, 4]])
    }

    fn counts(pages: u64) -> PageCounts {
        {
            let mut counts = PageCounts::default();
            counts.rss = pages * PAGE_SIZE;
            counts.private_dirty = pages * PAGE_SIZE;
            counts
        }
    }

    fn verdict(counts: &PageCounts, pages: u64, window: (usize, usize)) -> Result<(), BrokenCounts> {
        log().check(counts, &(BASE..BASE + pages * PAGE_SIZE), window)
    }

    #[test]
    fn the_checker_accepts_what_there_was() {
        for pages in 1..=3 {
            assert_eq!(verdict(&counts(pages), 100, (0, 1)), Ok(()));
        }
        assert_eq!(verdict(&counts(2), 100, (0, 0)), Ok(()));
        assert_eq!(verdict(&counts(1), 4, (1, 1)), Ok(()));
        assert_eq!(verdict(&counts(0), 3, (0, 1)), Ok(()));
        assert_eq!(log().may_be(BASE + 3 * PAGE_SIZE, (0, 1)), (true, false));
        assert_eq!(log().may_be(BASE + 4 * PAGE_SIZE, (0, 1)), (true, true));
        assert_eq!(log().may_be(BASE + 4 * PAGE_SIZE, (0, 0)), (false, true));
    }

    #[test]
    fn the_checker_notices_pages_that_are_missing_or_too_many() {
        assert_eq!(verdict(&counts(0), 100, (0, 1)), Err(BrokenCounts::TooFew(1)));
        assert_eq!(verdict(&counts(1), 100, (1, 1)), Err(BrokenCounts::TooFew(2)));
        assert_eq!(verdict(&counts(4), 100, (0, 1)), Err(BrokenCounts::TooMany(3)));
        assert_eq!(verdict(&counts(2), 4, (0, 1)), Err(BrokenCounts::TooMany(1)));
        assert_eq!(verdict(&counts(1), 3, (0, 1)), Err(BrokenCounts::TooMany(0)));
    }

    #[test]
    fn the_checker_notices_counts_that_do_not_fit_together() {
        let more = |change: fn(&mut PageCounts)| {
            let mut counts = counts(1);
            change(&mut counts);
            verdict(&counts, 4, (0, 1))
        };
        assert_eq!(more(|counts| counts.private_clean = PAGE_SIZE), Err(BrokenCounts::Sum));
        assert_eq!(more(|counts| counts.shared_dirty = PAGE_SIZE), Err(BrokenCounts::Sum));
        let too_large: [fn(&mut PageCounts); 5] = [
            |counts| counts.pss = (PAGE_SIZE + 1) << 12,
            |counts| counts.pss_dirty = (PAGE_SIZE + 1) << 12,
            |counts| counts.pss_anon = 1,
            |counts| counts.referenced = 2 * PAGE_SIZE,
            |counts| counts.anonymous = 2 * PAGE_SIZE,
        ];
        for change in too_large {
            assert_eq!(more(change), Err(BrokenCounts::TooLarge));
        }
        assert_eq!(verdict(&counts(5), 4, (0, 1)), Err(BrokenCounts::TooLarge));
    }
}
