//! The model of v6.17: which thread waits for which, and that nothing is seen or freed too early.
//!
//! Without these properties it would model something else.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod asleep;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use asleep::{Watchdog, start_and_let_wait};
use vmaple_mm::store::VmaLockSection;
use vmaple_mm::{
    FaultCause, File, Kref, Layout, Limits, MapFlags, Mm, MmReader, PAGE_SIZE, Prot, RwSem, VirtAddr, VmaLockStore,
    VmaRead, VmaState, VmaStore,
};

type Section<'r> = VmaLockSection<'r>;

const BASE: u64 = 0x7000_0000_0000;
const RW: Prot = Prot::READ.union(Prot::WRITE);

fn at(page: u64) -> VirtAddr {
    VirtAddr(BASE + page * PAGE_SIZE)
}

/// Makes an address space with four pages mapped from each of these pages on.
fn new(pages: &[u64]) -> Mm<VmaLockStore> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    pages.iter().for_each(|&page| map(&mm, page, 4));
    mm
}

fn map(mm: &Mm<VmaLockStore>, first: u64, pages: u64) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(at(first), pages * PAGE_SIZE, RW, flags, None, 0).unwrap();
}

fn unmap(mm: &Mm<VmaLockStore>, first: u64, pages: u64) {
    mm.munmap(at(first), pages * PAGE_SIZE).unwrap();
}

/// Returns the pages of the first VMA that ends above a page.
fn find(section: &Section<'_>, page: u64) -> Option<(u64, u64)> {
    let page_of = |addr: VirtAddr| (addr.0 - BASE) / PAGE_SIZE;
    section
        .find(at(page))
        .map(|vma| (page_of(vma.start()), page_of(vma.end())))
}

/// A section of the whole address space.
fn mmap_read_lock<'r>(reader: &'r <VmaLockStore as VmaStore>::Reader<'_>) -> Section<'r> {
    VmaLockStore::mmap_read_lock(reader)
}

/// The events in order. The mutex is not that of the standard library, into which ThreadSanitizer
/// does not see.
#[derive(Default)]
struct Events(lock_api::RwLock<RwSem, Vec<&'static str>>);

impl Events {
    fn note(&self, what: &'static str) {
        self.0.write().push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.write())
    }
}

#[test]
fn a_reader_that_holds_a_vma_delays_a_writer_of_that_vma_and_not_of_others() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0, 10, 20]), Events::default());
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    // No VMA is held before one is found.
    unmap(&mm, 0, 1);
    assert_eq!(find(&section, 5), Some((10, 14)));
    // Writers of other VMAs, in this very thread: before it, after it, and in a hole.
    unmap(&mm, 1, 1);
    mm.mprotect(at(20), PAGE_SIZE, Prot::READ).unwrap();
    map(&mm, 15, 2);
    thread::scope(|scope| {
        let writer = start_and_let_wait(scope, || {
            unmap(&mm, 12, 1);
            events.note("written");
        });
        assert_eq!(events.take(), [""; 0]);
        // It goes on to another one, and never returns to the one it held.
        let section = section;
        assert_eq!(find(&section, 2), Some((2, 4)));
        writer.join().unwrap();
        assert_eq!(section.iter_from(VirtAddr(0)).count(), 6);
    });
}

#[test]
fn a_reader_that_holds_a_vma_delays_who_merges_with_it() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0]), Events::default());
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    assert_eq!(find(&section, 0), Some((0, 4)));
    thread::scope(|scope| {
        start_and_let_wait(scope, || {
            map(&mm, 4, 1);
            events.note("written");
        });
        events.note("left");
        drop(section);
    });
    assert_eq!(events.take(), ["left", "written"]);
}

#[test]
fn a_writer_that_waits_for_a_reader_has_others_wait_behind_it() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0, 10, 20]), Events::default());
    let [reader, locked, elsewhere] = [(); 3].map(|()| mm.reader().unwrap());
    let section = reader.read_lock().unwrap();
    assert_eq!(find(&section, 10), Some((10, 14)));
    thread::scope(|scope| {
        // It locks the first VMA, and waits for the second.
        start_and_let_wait(scope, || unmap(&mm, 0, 14));
        start_and_let_wait(scope, || {
            map(&mm, 30, 1);
            events.note("another writer");
        });
        let events = &events;
        let loser = start_and_let_wait(scope, move || {
            let section = locked.read_lock().unwrap();
            let found = find(&section, 0);
            events.note("a reader of what is locked");
            found
        });
        // Readers of other VMAs go on.
        let other = elsewhere.read_lock().unwrap();
        assert_eq!(find(&other, 20), Some((20, 24)));
        assert_eq!(find(&other, 24), None);
        assert_eq!(events.take(), [""; 0]);
        drop(section);
        // It finds the newest.
        assert_eq!(loser.join().unwrap(), Some((20, 24)));
    });
    assert_eq!(events.take().len(), 2);
}

#[test]
fn a_reader_that_loses_the_race_falls_back_and_finds_the_newest() {
    let _watchdog = Watchdog::new();
    let mm = new(&[0, 10]);
    let [reader, in_front, behind] = [(); 3].map(|()| mm.reader().unwrap());
    let section = reader.read_lock().unwrap();
    assert_eq!(find(&section, 10), Some((10, 14)));
    thread::scope(|scope| {
        // One mapping replaces both.
        start_and_let_wait(scope, || {
            let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
            mm.mmap(at(2), 10 * PAGE_SIZE, Prot::READ, flags, None, 0).unwrap();
        });
        let losers = [(in_front, 3), (behind, 10)].map(|(reader, page)| {
            start_and_let_wait(scope, move || {
                let section = reader.read_lock().unwrap();
                let found = find(&section, page);
                assert_eq!(section.find_prev(at(page)).unwrap().state(), VmaState::Live);
                found
            })
        });
        drop(section);
        assert_eq!(losers.map(|loser| loser.join().unwrap()), [Some((2, 12)); 2]);
    });
}

#[test]
fn a_reader_gives_its_vma_up_before_it_waits() {
    let _watchdog = Watchdog::new();
    let mm = new(&[0, 10]);
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    assert_eq!(find(&section, 10), Some((10, 14)));
    thread::scope(|scope| {
        start_and_let_wait(scope, || unmap(&mm, 0, 11));
        // Locked by the writer that waits for this very reader.
        let section = section;
        assert_eq!(find(&section, 0), Some((11, 14)));
    });
}

#[test]
fn a_page_fault_waits_as_a_reader_does() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0, 10, 20]), Events::default());
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    assert_eq!(find(&section, 10), Some((10, 14)));
    // A fault does not wait for another reader.
    let process = mm.thread().unwrap();
    assert!(process.write(at(10), b"maple").is_ok());
    // The first write to a mapping takes mmap_lock.
    assert!(process.write(at(20), b"maple").is_ok());
    thread::scope(|scope| {
        start_and_let_wait(scope, || unmap(&mm, 0, 11));
        assert!(process.write(at(21), b"maple").is_ok());
        let (process, events) = (mm.thread().unwrap(), &events);
        let faults = start_and_let_wait(scope, move || {
            let done = process.write(at(0), b"maple");
            events.note("faulted");
            done.map_err(|fault| fault.cause)
        });
        events.note("left");
        drop(section);
        assert_eq!(faults.join().unwrap(), Err(FaultCause::MapErr));
    });
    assert_eq!(events.take(), ["left", "faulted"]);
}

#[test]
fn a_reader_of_the_whole_address_space_delays_every_writer() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0, 10]), Events::default());
    let whole_reader = mm.store().reader().unwrap();
    let reader = mm.reader().unwrap();
    let whole = mmap_read_lock(&whole_reader);
    // Between two records it keeps the lock.
    let whole = VmaLockStore::renew(&whole_reader, whole);
    thread::scope(|scope| {
        start_and_let_wait(scope, || {
            map(&mm, 30, 1);
            events.note("written");
        });
        // Readers of VMAs go on, and it sees one state.
        let section = reader.read_lock().unwrap();
        assert_eq!(find(&section, 0), Some((0, 4)));
        assert_eq!(whole.iter_from(VirtAddr(0)).count(), 2);
        events.note("left");
        drop(whole);
    });
    assert_eq!(events.take(), ["left", "written"]);
}

#[test]
fn a_renewed_section_holds_nothing() {
    let _watchdog = Watchdog::new();
    let mm = new(&[0]);
    let reader = mm.store().reader().unwrap();
    let section = VmaLockStore::read_lock(&reader);
    assert_eq!(find(&section, 0), Some((0, 4)));
    let section = VmaLockStore::renew(&reader, section);
    unmap(&mm, 0, 1);
    assert_eq!(find(&section, 0), Some((1, 4)));
}

#[test]
fn the_last_user_waits_for_a_reader_that_holds_a_vma() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0, 10]), Events::default());
    let monitor = mm.grab();
    let reader = monitor.reader().unwrap();
    let section = reader.read_lock().unwrap();
    assert_eq!(find(&section, 10), Some((10, 14)));
    thread::scope(|scope| {
        start_and_let_wait(scope, || {
            drop(mm);
            events.note("gone");
        });
        events.note("left");
        drop(section);
    });
    assert_eq!(events.take(), ["left", "gone"]);
    assert!(reader.read_lock().is_none());
}

#[test]
fn what_a_section_has_found_stays_readable() {
    let _watchdog = Watchdog::new();
    let mm = new(&[]);
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    let map = |page: u64| mm.mmap(at(page), PAGE_SIZE, RW, flags, Some(&file), 0).unwrap();
    map(0);
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    // Each was inserted after the section started, and is removed again.
    let found: Vec<_> = (0..1000)
        .map(|page| {
            map(page + 1);
            let found = section.find(at(page)).unwrap();
            assert!(section.find(VirtAddr(0)).is_some() && section.find(at(page + 1)).is_some());
            unmap(&mm, page, 1);
            found
        })
        .collect();
    for (page, vma) in found.iter().enumerate() {
        assert_eq!((vma.start(), vma.state()), (at(page as u64), VmaState::Superseded));
        assert!(Kref::ptr_eq(vma.file().unwrap(), &file));
    }
    drop(section);
    drop(mm);
    assert_eq!(Kref::count(&file), 1);
}

/// The pages of the random calls. One in the middle stays as it is.
const PAGES: u64 = 64;
const FIXED_PAGE: u64 = 32;

/// Reads at random until told to stop; returns the number of VMAs found.
fn read(reader: &MmReader<VmaLockStore>, mut rng: fastrand::Rng, stop: &AtomicBool) -> u64 {
    let mut found = 0;
    while !stop.load(Ordering::Relaxed) {
        let section = reader.read_lock().unwrap();
        if rng.u8(..) < 16 {
            // Between two searches.
            let vma = section.find(at(rng.u64(..PAGES)));
            thread::yield_now();
            assert!(vma.is_none_or(|vma| vma.state() == VmaState::Live));
            found += 1;
            continue;
        }
        let (mut last, mut has_fixed) = (0, false);
        for vma in section.iter_from(VirtAddr(0)) {
            assert!(vma.end().0 > last, "it goes up");
            last = vma.end().0;
            has_fixed |= vma.range().contains(at(FIXED_PAGE));
            if rng.u8(..) < 32 {
                thread::yield_now();
            }
            assert_eq!(vma.state(), VmaState::Live, "it was locked");
            found += 1;
        }
        assert!(has_fixed, "what is mapped all the time was missed");
    }
    found
}

/// Makes random calls on any range without the fixed page, and reads that page.
fn write(mm: &Mm<VmaLockStore>, file: &Kref<File>, rng: &mut fastrand::Rng) {
    let (first, pages) = (rng.u64(..PAGES), rng.u64(1..12));
    let is_fixed = (first..first + pages).contains(&FIXED_PAGE);
    let len = pages * PAGE_SIZE;
    let prot = if rng.bool() { RW } else { Prot::READ };
    match rng.u8(..4) {
        0 if !is_fixed => unmap(mm, first, pages),
        // Replaced and split, but never unmapped.
        1 => drop(mm.mprotect(at(first), len, prot)),
        _ => {
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            mm.mmap(at(first), len, prot, flags, Some(file), first * PAGE_SIZE)
                .unwrap();
        }
    }
}

#[test]
fn nothing_is_missed_freed_early_or_kept_beside_random_writers() {
    let seed = std::env::var("VMAPLE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("VMAPLE_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..10 {
        let _watchdog = Watchdog::new();
        let mm = new(&[]);
        let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        mm.mmap(
            at(FIXED_PAGE),
            PAGE_SIZE,
            RW,
            flags,
            Some(&file),
            FIXED_PAGE * PAGE_SIZE,
        )
        .unwrap();
        let (stop, found) = (AtomicBool::new(false), AtomicU64::new(0));
        let whole = mm.store().reader().unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                let (reader, rng, stop, found) = (mm.reader().unwrap(), rng.fork(), &stop, &found);
                scope.spawn(move || found.fetch_add(read(&reader, rng, stop), Ordering::Relaxed));
            }
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let (mut rng, mm, file) = (rng.fork(), &mm, &file);
                    scope.spawn(move || (0..3000).for_each(|_| write(mm, file, &mut rng)))
                })
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                let section = mmap_read_lock(&whole);
                let vmas: Vec<_> = section.iter_from(VirtAddr(0)).collect();
                thread::yield_now();
                assert!(vmas.is_sorted_by(|one, other| one.end() <= other.start()), "one state");
                assert!(vmas.iter().all(|vma| vma.state() == VmaState::Live), "the state of now");
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(found.load(Ordering::Relaxed) > 0);
        drop(whole);
        let monitor = mm.grab();
        drop(mm);
        let stats = monitor.store().rcu().stats();
        assert_eq!((stats.deferred_objects, stats.deferred_bytes), (0, 0));
        assert_eq!(Kref::count(&file), 1, "a VMA was lost");
    }
}

#[test]
fn a_reader_of_the_whole_address_space_gives_way_between_two_records() {
    let _watchdog = Watchdog::new();
    let (mm, events) = (new(&[0, 10]), Events::default());
    let reader = mm.store().reader().unwrap();
    let whole = mmap_read_lock(&reader);
    assert_eq!(find(&whole, 0), Some((0, 4)));
    let whole = thread::scope(|scope| {
        start_and_let_wait(scope, || {
            unmap(&mm, 10, 1);
            events.note("written");
        });
        let whole = VmaLockStore::renew(&reader, whole);
        events.note("renewed");
        whole
    });
    assert_eq!(find(&whole, 4), Some((11, 14)), "what was there before");
    let events = events.take();
    assert_eq!(events.len(), 2, "{events:?}");
}
