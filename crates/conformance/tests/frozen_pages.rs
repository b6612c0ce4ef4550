//! Stops readers of pages at each entry of a page table that they load, and at any instruction by a
//! signal. The application maps, touches and drops memory: no call waits, and memory stays bounded.
//! When the reader wakes, its counts keep the contract.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, Ordering};

use vmaple_conformance::history::pages::PageLog;
use vmaple_conformance::history::smaps_scan::SmapsScan;
use vmaple_conformance::history::{Clock, History, Recorder};
use vmaple_conformance::signal;
use vmaple_conformance::stop::{
    self, Gate, MUTEX_WAITS, Mutex, Point, Stopping, StoppingMachine, TABLE_WAITS, never_stopped, stop_at,
};
use vmaple_conformance::workload::pages::{Touch, settle};
use vmaple_conformance::workload::{BASE, Change, Workload};
use vmaple_mm::pgtable::{CountBy, PSS_SHIFT, PageCounts, PageFlags, Step};
use vmaple_mm::{MapleStore, MmReader, MmRef, MmThread, PAGE_SIZE, VirtAddr};
use vmaple_proc::{Pagemap, Smaps, SmapsRollup, Statm};

type Store = Stopping<MapleStore<Mutex>>;
type Space = Workload<Store, StoppingMachine>;
type Application = MmThread<Store, StoppingMachine>;

/// What is logged.
const ALL: std::ops::Range<u64> = BASE..BASE + (16 << 20);

/// The most bytes of mappings that may wait for readers: see `frozen.rs`.
const BOUND: u64 = 400 * 200 + (64 << 10) + 4 * 63 * 512;

/// The same of page tables: those that exist when a reader stops, at most twenty, and the constant
/// of `vmaple_rcu`: an era of 64 KiB, and four blocks of 63 tables.
const TABLES_BOUND: u64 = (20 + 16 + 4 * 63) * 4200;

/// A monitor with all its files open.
struct Monitor {
    smaps: Smaps<MmReader<Store, StoppingMachine>>,
    walked_smaps: Smaps<MmReader<Store, StoppingMachine>>,
    walk: SmapsRollup<Store, StoppingMachine>,
    add: SmapsRollup<Store, StoppingMachine>,
    statm: Statm<Store, StoppingMachine>,
    pagemap: Pagemap<Store, StoppingMachine>,
    reader: MmReader<Store, StoppingMachine>,
}

impl Monitor {
    fn open(mm: &MmRef<Store, StoppingMachine>) -> Self {
        Self {
            smaps: Smaps::open(mm).unwrap(),
            walked_smaps: Smaps::open_by(mm, CountBy::Walk).unwrap(),
            walk: SmapsRollup::open(mm, CountBy::Walk).unwrap(),
            add: SmapsRollup::open(mm, CountBy::Counters).unwrap(),
            statm: Statm::open(mm).unwrap(),
            pagemap: Pagemap::open(mm).unwrap(),
            reader: mm.reader().unwrap(),
        }
    }
}

/// What a monitor saw.
enum Seen {
    Scan(SmapsScan),
    Sum(PageCounts, (usize, usize)),
    /// The pages that existed, by their numbers from the first logged page on.
    Present(Vec<bool>, (usize, usize)),
}

impl Seen {
    fn check(&self, history: &History, pages: &PageLog) {
        match self {
            Self::Scan(scan) => scan.check(history, pages).unwrap_or_else(|broken| panic!("{broken}")),
            Self::Sum(counts, window) => pages.check(counts, &ALL, *window).unwrap(),
            Self::Present(present, window) => {
                for (page, &is_present) in present.iter().enumerate() {
                    let (may_be, may_be_none) = pages.may_be(BASE + page as u64 * PAGE_SIZE, *window);
                    assert!(
                        if is_present { may_be } else { may_be_none },
                        "page {page}: {is_present}"
                    );
                }
            }
        }
    }

    fn window(&self) -> (usize, usize) {
        match self {
            Self::Scan(scan) => scan.scan.span,
            Self::Sum(_, window) | Self::Present(_, window) => *window,
        }
    }
}

/// How a monitor reads.
type Read = fn(&mut Monitor, &Clock) -> Seen;

fn smaps(monitor: &mut Monitor, clock: &Clock) -> Seen {
    Seen::Scan(SmapsScan::records(&mut monitor.smaps, clock, || ()))
}

fn smaps_text(monitor: &mut Monitor, clock: &Clock) -> Seen {
    Seen::Scan(SmapsScan::buffers(&mut monitor.walked_smaps, clock, || ()))
}

fn walk(monitor: &mut Monitor, clock: &Clock) -> Seen {
    let (counts, window) = clock.during(|| monitor.walk.record().unwrap().counts);
    Seen::Sum(counts, window)
}

fn add(monitor: &mut Monitor, clock: &Clock) -> Seen {
    let (counts, window) = clock.during(|| monitor.add.record().unwrap().counts);
    Seen::Sum(counts, window)
}

fn statm(monitor: &mut Monitor, clock: &Clock) -> Seen {
    let (record, window) = clock.during(|| monitor.statm.record().unwrap());
    let rss = record.resident * PAGE_SIZE;
    let mut counts = PageCounts::default();
    counts.rss = rss;
    counts.pss = rss << PSS_SHIFT;
    counts.private_dirty = rss;
    Seen::Sum(counts, window)
}

fn pagemap(monitor: &mut Monitor, clock: &Clock) -> Seen {
    let mut bytes = vec![0; ((ALL.end - ALL.start) / PAGE_SIZE * 8) as usize];
    let (_, window) = clock.during(|| monitor.pagemap.read_at(BASE / PAGE_SIZE * 8, &mut bytes).unwrap());
    Seen::Present(bytes.chunks(8).map(|entry| entry[7] & 0x80 != 0).collect(), window)
}

/// Walks as an embedder does, leaf table by leaf table.
fn leaves(monitor: &mut Monitor, clock: &Clock) -> Seen {
    let mut present = vec![false; ((ALL.end - ALL.start) / PAGE_SIZE) as usize];
    let ((), window) = clock.during(|| {
        let mut at = ALL.start;
        while at < ALL.end {
            at = match monitor.reader.walker().leaf(VirtAddr(at), |leaf| {
                for (addr, pte) in leaf.ptes(at..ALL.end) {
                    assert!(pte.flags.contains(PageFlags::ZERO) || leaf.mapcount(pte) < 2);
                    present[((addr.0 - ALL.start) / PAGE_SIZE) as usize] = true;
                }
                leaf.range().end
            }) {
                Step::Leaf(end) | Step::Hole { end } => end.0,
            };
        }
    });
    Seen::Present(present, window)
}

/// What was done while readers were stopped, and what waited for them.
#[derive(Debug, Default)]
struct Tally {
    changes: usize,
    most_bytes: u64,
    most_tables_bytes: u64,
}

impl Tally {
    /// Maps, touches and drops memory, at least this many times, as one version.
    fn change(
        &mut self,
        space: &Space,
        thread: &Application,
        random: &mut fastrand::Rng,
        recorder: &mut Recorder<'_, Store, StoppingMachine>,
        cursor: u64,
        changes: usize,
    ) {
        recorder.change_all(|recorder| {
            let end = self.changes + changes;
            while self.changes < end {
                let touch = Touch::random(random, cursor);
                touch.make(thread);
                // The page tables of mappings that never go stay where they are.
                if touch.is_far() {
                    recorder.note_pages();
                }
                for change in Change::random(random, cursor) {
                    space.make(change);
                    self.changes += 1;
                }
                self.changes += 1;
            }
        });
        let bytes = space.mm.store().0.rcu().stats().deferred_bytes;
        let tables_bytes = space.mm.pgtables_rcu().stats().deferred_bytes;
        self.most_bytes = self.most_bytes.max(bytes);
        self.most_tables_bytes = self.most_tables_bytes.max(tables_bytes);
    }

    fn check(&self) {
        assert!(
            self.most_bytes <= BOUND && self.most_tables_bytes <= TABLES_BOUND,
            "{self:?}"
        );
        assert_eq!(MUTEX_WAITS.load(Ordering::SeqCst), 0, "a call waited");
        assert_eq!(TABLE_WAITS.load(Ordering::SeqCst), 0, "a call or a fault waited");
    }
}

/// Stops one scan at its first access of a kind, the next at its second, and so on. Each time,
/// `changes` changes are made.
fn stop_at_each(wanted: Point, read: Read, changes: usize) {
    let space = Space::on(stop::machine());
    let thread = space.mm.thread().unwrap();
    settle(&thread);
    let clock = Clock::default();
    let mut recorder = Recorder::new(&space.mm, &clock, BASE);
    let (gate, is_over) = (Gate::new(), AtomicBool::new(false));
    let mut tally = Tally::default();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut monitor = Monitor::open(&space.mm);
            let mut all = Vec::new();
            for n in 0.. {
                stop_at(wanted, n, &gate);
                let seen = read(&mut monitor, &clock);
                if never_stopped() {
                    break;
                }
                all.push(seen);
            }
            is_over.store(true, Ordering::Relaxed);
            gate.stop();
            all
        });
        let mut random = fastrand::Rng::with_seed(1);
        loop {
            gate.wait();
            if is_over.load(Ordering::Relaxed) {
                gate.go();
                break;
            }
            tally.change(&space, &thread, &mut random, &mut recorder, clock.cursor(), changes);
            gate.go();
        }
        all = reader.join().unwrap();
    });
    println!("{wanted:?}: {} stops, {tally:?}", all.len());
    assert!(!all.is_empty());
    for seen in all {
        seen.check(&recorder.history, &recorder.pages);
    }
    tally.check();
}

#[test]
fn a_reader_of_pages_that_stops_at_an_access_delays_nobody_and_keeps_what_there_was() {
    stop_at_each(Point::Begin, smaps, 200);
    stop_at_each(Point::Table, smaps, 15);
    stop_at_each(Point::Page, smaps, 15);
    stop_at_each(Point::Page, smaps_text, 10);
    stop_at_each(Point::Table, walk, 15);
    stop_at_each(Point::Page, walk, 10);
    // Statm's too.
    stop_at_each(Point::Table, add, 5);
    stop_at_each(Point::Begin, pagemap, 1_000);
    // A million in all, where it takes seconds.
    stop_at_each(
        Point::Table,
        pagemap,
        if cfg!(debug_assertions) { 10_000 } else { 40_000 },
    );
    stop_at_each(Point::Page, pagemap, 5);
    stop_at_each(Point::Page, leaves, 5);
}

#[test]
fn a_reader_of_pages_that_stops_anywhere_delays_nobody_and_keeps_what_there_was() {
    signal::install();
    let space = Space::on(stop::machine());
    let application = space.mm.thread().unwrap();
    settle(&application);
    let clock = Clock::default();
    let mut recorder = Recorder::new(&space.mm, &clock, BASE);
    let is_over = AtomicBool::new(false);
    let mut random = fastrand::Rng::new();
    println!("seed {}", random.get_seed());
    let mut tally = Tally::default();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let (thread, its_thread) = std::sync::mpsc::channel();
        let (space, clock, is_over) = (&space, &clock, &is_over);
        let reader = scope.spawn(move || {
            thread.send(signal::this_thread()).unwrap();
            let mut monitor = Monitor::open(&space.mm);
            let mut all = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let reads = [smaps, smaps_text, walk, add, statm, pagemap, leaves];
                let seen = reads[fastrand::usize(..reads.len())](&mut monitor, clock);
                // The rest shows one version.
                if seen.window().0 < seen.window().1 {
                    all.push(seen);
                }
            }
            all
        });
        let reader_thread = its_thread.recv().unwrap();
        let mut parked = 0;
        while parked < 200 {
            (0..random.u32(..5_000)).for_each(|_| std::hint::spin_loop());
            let was_parked = signal::interrupt(reader_thread, || {
                tally.change(space, &application, &mut random, &mut recorder, clock.cursor(), 300);
            });
            parked += u32::from(was_parked);
        }
        is_over.store(true, Ordering::Relaxed);
        all = reader.join().unwrap();
    });
    println!("{} seen, {tally:?}", all.len());
    for seen in all {
        seen.check(&recorder.history, &recorder.pages);
    }
    tally.check();
}
