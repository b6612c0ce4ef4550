//! Stops readers at each access of shared memory, and at any instruction by a signal. The
//! application goes on: no call waits, and memory stays bounded. When the reader wakes, its lines
//! keep the contract.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, Ordering};

use vmaple_conformance::history::check::check;
use vmaple_conformance::history::scan::Scan;
use vmaple_conformance::history::{Clock, Recorder};
use vmaple_conformance::signal;
use vmaple_conformance::stop::{Gate, MUTEX_WAITS, Mutex, Point, Stopping, never_stopped, stop_at};
use vmaple_conformance::workload::{BASE, Change, Workload};
use vmaple_mm::{MapleStore, MmReader, MmRef};
use vmaple_proc::Maps;

type Store = Stopping<MapleStore<Mutex>>;

/// The most bytes that may wait for readers. These are what is mapped when a reader stops, at most
/// 400 mappings of less than 200 bytes with their part of the tree, and the constant of
/// `vmaple_rcu`: an era of 64 KiB, and four blocks of 63 nodes.
const BOUND: u64 = 400 * 200 + (64 << 10) + 4 * 63 * 512;

fn deferred_bytes(mm: &MmRef<Store>) -> u64 {
    mm.store().0.rcu().stats().deferred_bytes
}

/// How a scan reads.
type Read = fn(&mut Maps<MmReader<Store>>, &Clock) -> Scan;

/// Stops one scan at its first access of a kind, the next at its second, and so on. Each time,
/// `changes` changes are made.
fn stop_at_each(wanted: Point, read: Read, changes: usize) {
    let workload = Workload::<Store>::new();
    let clock = Clock::default();
    let mut recorder = Recorder::new(&workload.mm, &clock, BASE);
    let (gate, is_over) = (Gate::new(), AtomicBool::new(false));
    let (mut made, mut most) = (0, 0);
    let mut scans = Vec::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut maps = Maps::open(&workload.mm).unwrap();
            let mut scans = Vec::new();
            for n in 0.. {
                stop_at(wanted, n, &gate);
                let scan = read(&mut maps, &clock);
                if never_stopped() {
                    break;
                }
                scans.push(scan);
            }
            is_over.store(true, Ordering::Relaxed);
            gate.stop();
            scans
        });
        let mut random = fastrand::Rng::with_seed(1);
        loop {
            gate.wait();
            if is_over.load(Ordering::Relaxed) {
                gate.go();
                break;
            }
            // One version: the reader sees nothing of the states in between.
            recorder.change(|| made += make(&workload, &mut random, clock.cursor(), changes));
            most = most.max(deferred_bytes(&workload.mm));
            gate.go();
        }
        scans = reader.join().unwrap();
    });
    println!(
        "{wanted:?}: {} stops, {made} changes, at most {most} bytes deferred",
        scans.len()
    );
    for scan in scans {
        check(&recorder.history, &scan).unwrap();
    }
    assert!(made >= 100_000);
    assert!(most <= BOUND, "{most} bytes deferred");
    assert_eq!(MUTEX_WAITS.load(Ordering::SeqCst), 0, "a writer waited");
}

/// Makes at least this many changes.
fn make(workload: &Workload<Store>, random: &mut fastrand::Rng, cursor: u64, changes: usize) -> usize {
    let mut made = 0;
    while made < changes {
        for change in Change::random(random, cursor) {
            workload.make(change);
            made += 1;
        }
    }
    made
}

#[test]
fn a_reader_that_stops_at_an_access_delays_nobody_and_keeps_what_there_was() {
    stop_at_each(Point::Begin, |maps, clock| Scan::records(maps, clock, || ()), 600);
    stop_at_each(Point::Find, |maps, clock| Scan::records(maps, clock, || ()), 600);
    stop_at_each(Point::Next, |maps, clock| Scan::buffers(maps, clock, || ()), 600);
    // Three buffers and the end.
    stop_at_each(Point::Begin, |maps, clock| Scan::buffers(maps, clock, || ()), 30_000);
}

#[test]
fn a_reader_that_stops_anywhere_delays_nobody_and_keeps_what_there_was() {
    signal::install();
    let workload = Workload::<Store>::new();
    let clock = Clock::default();
    let mut recorder = Recorder::new(&workload.mm, &clock, BASE);
    let is_over = AtomicBool::new(false);
    let mut random = fastrand::Rng::new();
    println!("seed {}", random.get_seed());
    let (mut made, mut most) = (0, 0);
    let mut scans = Vec::new();
    std::thread::scope(|scope| {
        let (thread, its_thread) = std::sync::mpsc::channel();
        let (workload, clock, is_over) = (&workload, &clock, &is_over);
        let reader = scope.spawn(move || {
            thread.send(signal::this_thread()).unwrap();
            let mut maps = Maps::open(&workload.mm).unwrap();
            let mut scans = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let scan = match fastrand::u32(..3) {
                    0 => Scan::buffers(&mut maps, clock, || ()),
                    1 => Scan::records(&mut maps, clock, || ()),
                    _ => Scan::text(&mut maps, clock, || fastrand::usize(1..=500)),
                };
                // The rest shows one version.
                if scan.span.0 < scan.span.1 {
                    scans.push(scan);
                }
            }
            scans
        });
        let reader_thread = its_thread.recv().unwrap();
        let mut parked = 0;
        while parked < 200 {
            (0..random.u32(..5_000)).for_each(|_| std::hint::spin_loop());
            let was_parked = signal::interrupt(reader_thread, || {
                recorder.change(|| made += make(workload, &mut random, clock.cursor(), 500));
                most = most.max(deferred_bytes(&workload.mm));
            });
            parked += u32::from(was_parked);
        }
        is_over.store(true, Ordering::Relaxed);
        scans = reader.join().unwrap();
    });
    println!("{made} changes, {} scans, at most {most} bytes deferred", scans.len());
    for scan in scans {
        check(&recorder.history, &scan).unwrap();
    }
    assert!(most <= BOUND, "{most} bytes deferred");
    assert_eq!(MUTEX_WAITS.load(Ordering::SeqCst), 0, "a writer waited");
}
