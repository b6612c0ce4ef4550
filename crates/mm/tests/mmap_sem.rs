//! The semaphore of the v5.4 model is fair, sleeps, and keeps later readers out while a writer waits: without these properties the
//! model would not have the problem that it is there to show.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, RbStore, VirtAddr};

fn new() -> Mm<RbStore> {
    Mm::new(Layout::default(), Limits::default()).unwrap()
}

/// Long enough for a thread to come to wait. That it came there is what the tests go on from, none of them fails for its length
/// but by missing a fault.
fn settle() {
    thread::sleep(Duration::from_millis(50));
}

/// A thread that reads until it is told to end, and notes when it has begun.
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

    fn read<'s>(&'s self, scope: &'s Scope<'s, '_>, mm: &'s Mm<RbStore>) {
        scope.spawn(|| {
            let reader = mm.reader().unwrap();
            let section = reader.read_lock().unwrap();
            self.begun.fetch_add(1, Ordering::SeqCst);
            while !self.end.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            drop(section);
        });
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

/// Ends the readers also when a test fails, which would else wait for them for ever.
impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[test]
fn readers_read_together() {
    let (mm, held) = (new(), Held::new());
    thread::scope(|scope| {
        held.read(scope, &mm);
        held.read(scope, &mm);
        held.wait_for(2);
        held.release();
    });
}

#[test]
fn a_waiting_writer_keeps_later_readers_out() {
    let (mm, early, late) = (new(), Held::new(), Held::new());
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        early.read(scope, &mm);
        early.wait_for(1);
        scope.spawn(|| {
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
        settle();
        late.read(scope, &mm);
        settle();
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
    let order = Mutex::new(Vec::new());
    thread::scope(|scope| {
        held.read(scope, &mm);
        held.wait_for(1);
        for i in 0..8_u64 {
            let (mm, order) = (&mm, &order);
            scope.spawn(move || {
                let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
                // Each calls only once, and what it did is seen by who comes after: the order of the count is that of the calls.
                mm.mmap(
                    VirtAddr(0x7000_0000_0000 + i * 0x2000),
                    4096,
                    Prot::READ,
                    flags,
                    None,
                    0,
                )
                .unwrap();
                order.lock().unwrap().push(i);
            });
            settle();
        }
        held.release();
    });
    // The note comes after the call: neighbours may swap, those further apart not.
    let order = order.into_inner().unwrap();
    for (place, &i) in order.iter().enumerate() {
        assert!(place.abs_diff(i as usize) <= 1, "{order:?}");
    }
}

#[test]
fn who_waits_sleeps() {
    let (mm, held) = (new(), Held::new());
    thread::scope(|scope| {
        held.read(scope, &mm);
        held.wait_for(1);
        let writer = scope.spawn(|| {
            mm.brk(VirtAddr(Layout::default().start_brk + 4096));
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

/// CPU time of the calling thread, from its scheduler statistics.
fn thread_cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}
