//! Checks which calls wait for which. One thread is stopped and another makes a call: either the
//! call completes while the first stands still, or it waits in the lock and completes afterwards.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vmaple_conformance::stop::{
    self, Gate, MUTEX_WAITS, Mutex, Point, RWLOCK_WAITS, RwLock, Stopping, StoppingMachine, TABLE_WAITS, stop_at,
};
use vmaple_mm::pgtable::{CountBy, Step};
use vmaple_mm::{
    Access, Advice, Layout, Limits, MapFlags, MapleStore, Mm, MmReader, MmRef, PAGE_SIZE, Prot, RbStore, VirtAddr,
    VmaStore,
};
use vmaple_proc::{Maps, Pagemap, QueryFlags, Smaps, SmapsRollup, Statm};

type OpenMaps<S> = Maps<MmReader<S, StoppingMachine>>;

/// The matrix: `.` completes, `W` waits, `-` is impossible. Rows are where a thread is stopped,
/// columns what another calls.
///
/// The last user cannot go while a thread is in a call or a fault: that is one. "behind it": a
/// writer that waits for the monitor. Calls and faults concern the mapping whose pages the others
/// look at, except mmap, which maps free addresses.
const MAPLE: &str = "
                      mmap munmap mprotect brk name exit fault dontneed open read query change snapshot smaps rollup pagemap statm
    in-a-section      .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    in-a-read         .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    in-smaps          .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    in-a-roll-up      .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    in-pagemap        .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    in-statm          .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    in-a-leaf         .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    between-two-reads .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    has-a-snapshot    .    .      .        .   .    .    .     .        .    .    .     .      .        .     .      .       .
    writes            W    W      W        W   W    -    .     .        .    .    .     .      .        .     .      .       .
    replaces          W    W      W        W   W    -    W     .        .    .    .     .      .        .     .      .       .
    faults            .    W      W        .   .    -    W     W        .    .    .     .      .        .     .      .       .
";

const RB: &str = "
                      mmap munmap mprotect brk name exit fault dontneed open read query change snapshot smaps rollup pagemap statm
    in-a-section      W    W      W        W   W    W    .     .        .    .    .     .      -        .     .      .       .
    in-a-read         W    W      W        W   W    W    .     .        .    .    .     .      -        .     .      .       .
    in-smaps          W    W      W        W   W    W    .     .        .    .    .     .      -        .     .      .       .
    in-a-roll-up      W    W      W        W   W    W    .     .        .    .    .     .      -        .     .      .       .
    in-pagemap        W    W      W        W   W    W    .     .        .    .    .     .      -        .     .      .       .
    in-statm          .    .      .        .   .    .    .     .        .    .    .     .      -        .     .      .       .
    in-a-leaf         .    .      .        .   .    .    .     .        .    .    .     .      -        .     .      .       .
    a-writer-behind   W    W      W        W   W    -    W     W        .    W    W     .      -        W     W      W       .
    between-two-reads .    .      .        .   .    .    .     .        .    .    .     .      -        .     .      .       .
    writes            W    W      W        W   W    -    W     W        .    W    W     .      -        W     W      W       .
    replaces          W    W      W        W   W    -    W     W        .    W    W     .      -        W     W      W       .
    faults            W    W      W        W   W    -    W     W        .    .    .     .      -        .     .      .       .
";

/// A store with a lock that counts its waiters, as the locks of page tables do.
trait Design: VmaStore {
    const MATRIX: &'static str;
    fn waits() -> usize;
    /// Opens a snapshot.
    fn snapshot(mm: &MmRef<Self, StoppingMachine>) -> Box<dyn Send>;
}

impl Design for Stopping<MapleStore<Mutex>> {
    const MATRIX: &'static str = MAPLE;

    fn waits() -> usize {
        MUTEX_WAITS.load(Ordering::SeqCst) + TABLE_WAITS.load(Ordering::SeqCst)
    }

    fn snapshot(mm: &MmRef<Self, StoppingMachine>) -> Box<dyn Send> {
        Box::new(Maps::snapshot(mm).unwrap())
    }
}

impl Design for Stopping<RbStore<RwLock>> {
    const MATRIX: &'static str = RB;

    fn waits() -> usize {
        RWLOCK_WAITS.load(Ordering::SeqCst) + TABLE_WAITS.load(Ordering::SeqCst)
    }

    fn snapshot(_: &MmRef<Self, StoppingMachine>) -> Box<dyn Send> {
        unreachable!("there are none")
    }
}

const AT: VirtAddr = VirtAddr(0x10_0000);
/// Of the same mapping.
const NEXT: VirtAddr = VirtAddr(AT.0 + PAGE_SIZE);

fn map<S: VmaStore>(mm: &Mm<S, StoppingMachine>, addr: VirtAddr) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(addr, 4 * PAGE_SIZE, Prot::READ | Prot::WRITE, flags, None, 0)
        .unwrap();
}

/// Makes the call of a column.
fn call<S: Design>(what: &str, mm: Mm<S, StoppingMachine>, mut maps: OpenMaps<S>, is_done: &AtomicBool) {
    let mut buffer = [0; 4096];
    match what {
        "mmap" => map(&mm, VirtAddr(0x20_0000)),
        "munmap" => mm.munmap(AT, PAGE_SIZE).unwrap(),
        "mprotect" => mm.mprotect(AT, PAGE_SIZE, Prot::READ).unwrap(),
        "brk" => assert_eq!(mm.brk(mm.layout().start_brk + 1), mm.layout().start_brk + 1),
        "name" => mm.set_anon_vma_name(AT, PAGE_SIZE, Some(b"arena")).unwrap(),
        "fault" => mm.thread().unwrap().fault(AT, Access::Write).unwrap(),
        "dontneed" => mm.thread().unwrap().madvise(AT, PAGE_SIZE, Advice::DontNeed).unwrap(),
        "open" => drop(Maps::open(&mm).unwrap()),
        "read" => assert!(maps.read(&mut buffer).unwrap() > 0),
        "query" => assert_eq!(maps.query(AT, QueryFlags::empty()).unwrap().start, AT.0),
        "change" => assert!(mm.change() > 0 && mm.map_count() > 0 && mm.total_vm() > 0),
        "snapshot" => drop(S::snapshot(&mm)),
        "smaps" => assert!(Smaps::open(&mm).unwrap().read(&mut buffer).unwrap() > 0),
        "rollup" => {
            for by in [CountBy::Walk, CountBy::Counters] {
                assert!(SmapsRollup::open(&mm, by).unwrap().record().unwrap().counts.rss > 0);
            }
        }
        "pagemap" => assert_eq!(
            Pagemap::open(&mm)
                .unwrap()
                .read_at(AT.0 / PAGE_SIZE * 8, &mut buffer)
                .unwrap(),
            4096
        ),
        "statm" => assert!(Statm::open(&mm).unwrap().record().unwrap().resident > 0),
        "exit" => {
            drop(mm);
            is_done.store(true, Ordering::SeqCst);
            return;
        }
        _ => unreachable!("{what}"),
    }
    is_done.store(true, Ordering::SeqCst);
}

/// Stops as a row says, at the gate. When it goes on, the address space may be gone.
fn stop<S: Design>(
    how: &str,
    monitor: &MmRef<S, StoppingMachine>,
    user: Option<Mm<S, StoppingMachine>>,
    gate: &Arc<Gate>,
) {
    let mut buffer = [0; 4096];
    match how {
        "in-a-section" | "a-writer-behind" => {
            let reader = monitor.reader().unwrap();
            let section = reader.read_lock().unwrap();
            gate.stop();
            drop(section);
        }
        "in-a-read" => {
            let mut maps = Maps::open(monitor).unwrap();
            stop_at(Point::Next, 1, gate);
            assert!(maps.read(&mut buffer).unwrap() > 0);
        }
        "in-smaps" => {
            let mut smaps = Smaps::open(monitor).unwrap();
            stop_at(Point::Page, 1, gate);
            assert!(smaps.read(&mut buffer).unwrap() > 0);
        }
        "in-a-roll-up" => {
            let rollup = SmapsRollup::open(monitor, CountBy::Walk).unwrap();
            stop_at(Point::Page, 1, gate);
            let _ = rollup.record();
        }
        "in-pagemap" => {
            let mut pagemap = Pagemap::open(monitor).unwrap();
            stop_at(Point::Page, 1, gate);
            let _ = pagemap.read_at(AT.0 / PAGE_SIZE * 8, &mut buffer);
        }
        "in-statm" => {
            let statm = Statm::open(monitor).unwrap();
            stop_at(Point::Table, 5, gate);
            let _ = statm.record();
        }
        "in-a-leaf" => {
            let reader = monitor.reader().unwrap();
            assert_eq!(reader.walker().leaf(AT, |_| gate.stop()), Step::Leaf(()));
        }
        "between-two-reads" => {
            let mut maps = Maps::open(monitor).unwrap();
            let mut smaps = Smaps::open(monitor).unwrap();
            assert_eq!((maps.read(&mut [0]).unwrap(), smaps.read(&mut [0]).unwrap()), (1, 1));
            gate.stop();
        }
        "has-a-snapshot" => {
            let snapshot = S::snapshot(monitor);
            gate.stop();
            drop(snapshot);
        }
        "writes" => {
            let mm = user.unwrap();
            stop_at(Point::Locked, 0, gate);
            map(&mm, VirtAddr(0x30_0000));
        }
        "replaces" => {
            let mm = user.unwrap();
            // The new mapping exists, and the old pages are not gone.
            stop_at(Point::TableLocked, 0, gate);
            map(&mm, AT);
        }
        "faults" => {
            let thread = user.unwrap().thread().unwrap();
            stop_at(Point::TableLocked, 0, gate);
            thread.fault(NEXT, Access::Write).unwrap();
        }
        _ => unreachable!("{how}"),
    }
}

/// Returns whether the call completes while the other thread stands still; otherwise it waits in
/// the lock.
fn goes_on<S: Design>(how: &str, what: &str) -> bool {
    let mm = Mm::<S, _>::with_machine(Layout::default(), Limits::default(), stop::machine()).unwrap();
    map(&mm, AT);
    map(&mm, VirtAddr(0x40_0000));
    // Page tables exist, and a page that stays.
    mm.thread().unwrap().fault(VirtAddr(0x40_0000), Access::Write).unwrap();
    mm.thread()
        .unwrap()
        .fault(VirtAddr(AT.0 + 2 * PAGE_SIZE), Access::Write)
        .unwrap();
    let (monitor, maps) = (mm.grab(), Maps::open(&mm).unwrap());
    let users = [
        ["writes", "replaces", "faults"].contains(&how),
        how == "a-writer-behind",
    ]
    .map(|is_one| is_one.then(|| mm.clone()));
    let [stopped_user, waiting_writer] = users;
    let _not_the_last = (what != "exit").then(|| mm.clone());
    let (gate, is_done) = (Gate::new(), AtomicBool::new(false));
    // Waits until something has happened; nothing on the way takes as long.
    let until = |happened: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !happened() {
            if Instant::now() > end {
                return;
            }
            std::thread::yield_now();
        }
    };
    let (waits, is_done) = std::thread::scope(|scope| {
        let (gate, is_done, monitor) = (&gate, &is_done, &monitor);
        scope.spawn(move || stop(how, monitor, stopped_user, gate));
        gate.wait();
        if let Some(mm) = waiting_writer {
            let waits = S::waits();
            scope.spawn(move || map(&mm, VirtAddr(0x50_0000)));
            until(&|| S::waits() > waits);
        }
        let waits = S::waits();
        scope.spawn(move || call(what, mm, maps, is_done));
        until(&|| S::waits() > waits || is_done.load(Ordering::SeqCst));
        let verdict = (S::waits() > waits, is_done.load(Ordering::SeqCst));
        gate.go();
        verdict
        // The scope waits until all are done.
    });
    assert!(waits != is_done, "{how}, {what}: waits {waits}, done {is_done}");
    is_done
}

/// Both designs have the same locks of page tables and the same counter of waiters: one design at a
/// time.
static ONE_AT_A_TIME: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// The matrix as measured, in the form of the expected one.
fn measure<S: Design>() {
    let _one = ONE_AT_A_TIME.lock();
    let mut lines = S::MATRIX.lines().filter(|line| !line.trim().is_empty());
    let calls: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    for line in lines {
        let mut words = line.split_whitespace();
        let how = words.next().unwrap();
        for (what, expected) in calls.iter().zip(words) {
            if expected != "-" {
                let is = if goes_on::<S>(how, what) { "." } else { "W" };
                assert_eq!(is, expected, "one {how}, another calls {what}");
            }
        }
    }
}

#[test]
fn nobody_waits_for_a_monitor() {
    measure::<Stopping<MapleStore<Mutex>>>();
}

#[test]
fn in_the_v5_4_model_writers_wait_for_monitors_and_all_behind_writers() {
    measure::<Stopping<RbStore<RwLock>>>();
}
