//! Who waits for whom: one is stopped, another calls; the call is done while the first stands still, or it waits in the lock
//! and is done after.

#![cfg(all(not(loom), feature = "std"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod stop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stop::{Gate, MUTEX_WAITS, Mutex, Point, RWLOCK_WAITS, RwLock, Stopping, stop_at};
use vmaple_mm::{Layout, Limits, MapFlags, MapleStore, Mm, MmRef, PAGE_SIZE, Prot, RbStore, VirtAddr, VmaStore};
use vmaple_proc::{Maps, QueryFlags};

/// `.` goes on, `W` waits, `-` cannot be. Rows are who is stopped, columns what another calls.
///
/// The last user cannot go while a writer is in a call: that is one. "behind it": a writer that waits for the monitor.
const MAPLE: &str = "
                      mmap munmap mprotect brk name exit open read query change snapshot
    in-a-section      .    .      .        .   .    .    .    .    .     .      .
    in-a-read         .    .      .        .   .    .    .    .    .     .      .
    between-two-reads .    .      .        .   .    .    .    .    .     .      .
    has-a-snapshot    .    .      .        .   .    .    .    .    .     .      .
    writes            W    W      W        W   W    -    .    .    .     .      .
";

const RB: &str = "
                      mmap munmap mprotect brk name exit open read query change snapshot
    in-a-section      W    W      W        W   W    W    .    .    .     .      -
    in-a-read         W    W      W        W   W    W    .    .    .     .      -
    a-writer-behind   W    W      W        W   W    -    .    W    W     .      -
    between-two-reads .    .      .        .   .    .    .    .    .     .      -
    writes            W    W      W        W   W    -    .    W    W     .      -
";

/// A store with a lock that counts who waits.
trait Design: VmaStore {
    const MATRIX: &'static str;
    fn waits() -> usize;
    /// Opens a snapshot.
    fn snapshot(mm: &MmRef<Self>) -> Box<dyn Send>;
}

impl Design for Stopping<MapleStore<Mutex>> {
    const MATRIX: &'static str = MAPLE;

    fn waits() -> usize {
        MUTEX_WAITS.load(Ordering::SeqCst)
    }

    fn snapshot(mm: &MmRef<Self>) -> Box<dyn Send> {
        Box::new(Maps::snapshot(mm).unwrap())
    }
}

impl Design for Stopping<RbStore<RwLock>> {
    const MATRIX: &'static str = RB;

    fn waits() -> usize {
        RWLOCK_WAITS.load(Ordering::SeqCst)
    }

    fn snapshot(_: &MmRef<Self>) -> Box<dyn Send> {
        unreachable!("there are none")
    }
}

const AT: VirtAddr = VirtAddr(0x10_0000);

fn map<S: VmaStore>(mm: &Mm<S>, addr: VirtAddr) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(addr, 4 * PAGE_SIZE, Prot::READ | Prot::WRITE, flags, None, 0)
        .unwrap();
}

/// Makes the call of a column.
fn call<S: Design>(what: &str, mm: Mm<S>, mut maps: Maps<vmaple_mm::MmReader<S>>, is_done: &AtomicBool) {
    match what {
        "mmap" => map(&mm, VirtAddr(0x20_0000)),
        "munmap" => mm.munmap(AT, PAGE_SIZE).unwrap(),
        "mprotect" => mm.mprotect(AT, PAGE_SIZE, Prot::READ).unwrap(),
        "brk" => assert_eq!(mm.brk(VirtAddr(mm.layout().start_brk + 1)).0, mm.layout().start_brk + 1),
        "name" => mm.set_anon_vma_name(AT, PAGE_SIZE, Some(b"arena")).unwrap(),
        "open" => drop(Maps::open(&mm).unwrap()),
        "read" => assert!(maps.read(&mut [0; 4096]).unwrap() > 0),
        "query" => assert_eq!(maps.query(AT.0, QueryFlags::empty()).unwrap().start, AT.0),
        "change" => assert!(mm.change() > 0 && mm.map_count() > 0 && mm.total_vm() > 0),
        "snapshot" => drop(S::snapshot(&mm)),
        "exit" => {
            drop(mm);
            is_done.store(true, Ordering::SeqCst);
            return;
        }
        _ => unreachable!("{what}"),
    }
    is_done.store(true, Ordering::SeqCst);
}

/// Stops as a row says, at the gate.
fn stop<S: Design>(how: &str, monitor: &MmRef<S>, writer: Option<Mm<S>>, gate: &Arc<Gate>) {
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
            assert!(maps.read(&mut [0; 4096]).unwrap() > 0);
        }
        "between-two-reads" => {
            let mut maps = Maps::open(monitor).unwrap();
            assert_eq!(maps.read(&mut [0]).unwrap(), 1);
            gate.stop();
        }
        "has-a-snapshot" => {
            let snapshot = S::snapshot(monitor);
            gate.stop();
            drop(snapshot);
        }
        "writes" => {
            let mm = writer.unwrap();
            stop_at(Point::Locked, 0, gate);
            map(&mm, VirtAddr(0x30_0000));
        }
        _ => unreachable!("{how}"),
    }
}

/// Whether the call is done while the other stands still; else it waits in the lock.
fn goes_on<S: Design>(how: &str, what: &str) -> bool {
    let mm = Mm::<S>::new(Layout::default(), Limits::default()).unwrap();
    map(&mm, AT);
    map(&mm, VirtAddr(0x40_0000));
    let (monitor, maps) = (mm.grab(), Maps::open(&mm).unwrap());
    let writers = [how == "writes", how == "a-writer-behind"].map(|writes| writes.then(|| mm.clone()));
    let [stopped_writer, waiting_writer] = writers;
    let _not_the_last = (what != "exit").then(|| mm.clone());
    let (gate, is_done) = (Gate::new(), AtomicBool::new(false));
    // Waits until something has happened; nothing on the way to it takes as long.
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
        scope.spawn(move || stop(how, monitor, stopped_writer, gate));
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

/// The matrix as it is, in the form of the one that should be.
fn measure<S: Design>() {
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
