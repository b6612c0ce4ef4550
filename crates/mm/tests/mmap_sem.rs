//! The semaphore of the v5.4 model is fair, sleeps, and keeps later readers out while a writer
//! waits.
//!
//! Without these properties the model would not show the problem.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod asleep;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use asleep::{Watchdog, start_and_let_wait};
use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, RbStore, RwSem, VirtAddr};

fn new() -> Mm<RbStore> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    // With memory at hand: a call that has to allocate queues up twice.
    mm.brk(Layout::default().start_brk + 1);
    mm
}

/// A thread that reads until it is told to end, and notes when it has started.
struct Held {
    end: AtomicBool,
    begun: AtomicUsize,
}

impl Held {
    fn new() -> Self {
        Self {
            end: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
        }
    }

    fn read(&self, mm: &Mm<RbStore>) {
        let reader = mm.reader().unwrap();
        let section = reader.read_lock().unwrap();
        self.begun.fetch_add(1, Ordering::SeqCst);
        while !self.end.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        drop(section);
    }

    fn wait_for(&self, readers: usize) {
        while self.begun.load(Ordering::SeqCst) < readers {
            thread::yield_now();
        }
    }

    fn release(&self) {
        self.end.store(true, Ordering::SeqCst);
    }
}

/// Ends the readers when a test fails too; else it would wait for them for ever.
impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[test]
fn readers_read_together() {
    let (mm, held) = (new(), Held::new());
    thread::scope(|scope| {
        scope.spawn(|| held.read(&mm));
        scope.spawn(|| held.read(&mm));
        held.wait_for(2);
        held.release();
    });
}

#[test]
fn a_waiting_writer_keeps_later_readers_out() {
    let (mm, early, late) = (new(), Held::new(), Held::new());
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| early.read(&mm));
        early.wait_for(1);
        start_and_let_wait(scope, || {
            mm.mmap(
                VirtAddr(0),
                4096,
                Prot::READ,
                MapFlags::PRIVATE | MapFlags::ANONYMOUS,
                None,
                0,
            )
            .unwrap();
            written.store(true, Ordering::SeqCst);
        });
        start_and_let_wait(scope, || late.read(&mm));
        let (early_written, late_begun) = (written.load(Ordering::SeqCst), late.begun.load(Ordering::SeqCst));
        early.release();
        late.release();
        assert!(!early_written, "the writer did not wait for the reader");
        assert_eq!(late_begun, 0, "a later reader went past the waiting writer");
    });
    assert!(written.load(Ordering::SeqCst));
}

#[test]
fn who_waits_gets_it_in_order() {
    let (mm, held) = (new(), Held::new());
    let addresses: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| held.read(&mm));
        held.wait_for(1);
        let map = || {
            let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
            mm.mmap(VirtAddr(0), 4096, Prot::READ, flags, None, 0).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| start_and_let_wait(scope, map)).collect();
        held.release();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // The first thread gets the highest room.
    assert!(addresses.is_sorted_by(|one, next| one > next), "{addresses:?}");
}

#[test]
fn who_waits_sleeps() {
    let (mm, held) = (new(), Held::new());
    thread::scope(|scope| {
        scope.spawn(|| held.read(&mm));
        held.wait_for(1);
        let writer = start_and_let_wait(scope, || {
            mm.brk(Layout::default().start_brk + 8192);
            thread_cpu_time()
        });
        thread::sleep(Duration::from_millis(300));
        held.release();
        let used = writer.join().unwrap();
        assert!(
            used < Duration::from_millis(150),
            "{used:?} of CPU time in 300 ms of waiting"
        );
    });
}

/// Returns the CPU time of the calling thread, from its scheduler statistics.
fn thread_cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Two words that a writer writes in two steps. No reader may see half of it.
#[test]
fn a_writer_holds_it_alone() {
    const ROUNDS: u64 = 5_000;
    let pair = lock_api::RwLock::<RwSem, _>::new((0_u64, 0_u64));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut pair = pair.write();
                    pair.0 += 1;
                    thread::yield_now();
                    pair.1 += 1;
                }
            });
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let pair = pair.read();
                    let first = pair.0;
                    thread::yield_now();
                    assert_eq!(first, pair.1);
                }
            });
        }
    });
    assert_eq!(*pair.read(), (2 * ROUNDS, 2 * ROUNDS));
}

/// As v5.4: if the first in the queue is a reader, all readers in the queue enter at once, also
/// those after a writer.
#[test]
fn readers_in_line_are_let_in_together_and_the_writer_between_them_after() {
    let _watchdog = Watchdog::new();
    let (sem, early, late) = (lock_api::RwLock::<RwSem, ()>::new(()), Held::new(), Held::new());
    let written = AtomicBool::new(false);
    let read = |held: &Held| {
        let guard = sem.read();
        held.begun.fetch_add(1, Ordering::SeqCst);
        while !held.end.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        drop(guard);
    };
    thread::scope(|scope| {
        let writer = sem.write();
        start_and_let_wait(scope, || read(&early));
        start_and_let_wait(scope, || {
            drop(sem.write());
            written.store(true, Ordering::SeqCst);
        });
        // More than are woken in one batch.
        for _ in 0..20 {
            start_and_let_wait(scope, || read(&late));
        }
        drop(writer);
        early.wait_for(1);
        late.wait_for(20);
        assert!(!written.load(Ordering::SeqCst));
        // No thread passes the writer, which is still in the queue.
        assert!(sem.is_locked() && sem.try_read().is_none());
        early.release();
        late.release();
    });
    assert!(written.load(Ordering::SeqCst));
    assert!(sem.try_write().is_some());
}
