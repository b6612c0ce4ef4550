//! The writers' locks of the models, which count who waits and time how long a writer holds them.
//!
//! A wait is counted when a first try fails. Holding is timed with two reads of the clock (in user space, about 20 ns each) and
//! a few additions that each call pays, of all models alike; other users of the address space's crate do not.
//!
//! A lock is made by a constant, so its figures are in a static: those of the process, which has one model.
//!
//! # Ordering
//! All of it is counters that order nothing and that nobody reads together with other words: Relaxed. `since_ns` belongs to
//! whoever holds the lock.

#![allow(unsafe_code)] // lock_api's contract

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use lock_api::{RawMutex, RawRwLock};
use vmaple_mm::{Contended, RwSem};

use crate::machine::now_ns;
use crate::sample::Latencies;

/// Buckets for each power of two, as its exponent: two significant digits.
const SUB_BITS: u32 = 7;

/// Longer times, of more than an hour, are counted as this.
const HIGHEST_NS: u64 = (1 << 42) - 1;

const BUCKETS: usize = bucket_of(HIGHEST_NS) + 1;

const fn bucket_of(ns: u64) -> usize {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ((shift as usize) << SUB_BITS) + (ns >> shift) as usize
}

/// The highest value in a bucket.
fn end_of(bucket: usize) -> u64 {
    let shift = (bucket >> SUB_BITS).saturating_sub(1);
    let within = bucket - (shift << SUB_BITS);
    ((within as u64 + 1) << shift) - 1
}

/// What all counted locks of this process have seen.
pub(crate) struct Counts {
    pub(crate) writer_waits: AtomicU64,
    pub(crate) reader_waits: AtomicU64,
    total_ns: AtomicU64,
    max_ns: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

pub(crate) static COUNTS: Counts = Counts {
    writer_waits: AtomicU64::new(0),
    reader_waits: AtomicU64::new(0),
    total_ns: AtomicU64::new(0),
    max_ns: AtomicU64::new(0),
    buckets: [const { AtomicU64::new(0) }; BUCKETS],
};

impl Counts {
    /// Forgets all, and touches all of it.
    pub(crate) fn clear(&self) {
        let words = [&self.writer_waits, &self.reader_waits, &self.total_ns, &self.max_ns];
        words
            .into_iter()
            .chain(&self.buckets)
            .for_each(|word| word.store(0, Relaxed));
    }

    fn held(&self, ns: u64) {
        self.total_ns.fetch_add(ns, Relaxed);
        self.max_ns.fetch_max(ns, Relaxed);
        self.buckets[bucket_of(ns.min(HIGHEST_NS))].fetch_add(1, Relaxed);
    }

    /// How long writers have held their lock.
    pub(crate) fn latencies(&self) -> Latencies {
        let counts = self.buckets.iter().map(|count| count.load(Relaxed)).enumerate();
        let histogram: Vec<_> = counts.filter(|(_, n)| *n > 0).map(|(i, n)| (end_of(i), n)).collect();
        Latencies {
            count: histogram.iter().map(|(_, n)| n).sum(),
            total_ns: self.total_ns.load(Relaxed),
            max_ns: self.max_ns.load(Relaxed),
            histogram,
        }
    }
}

/// A writer's time with the lock.
struct Hold {
    since_ns: AtomicU64,
}

impl Hold {
    const fn new() -> Self {
        Self {
            since_ns: AtomicU64::new(0),
        }
    }

    /// When the lock has been taken.
    fn begin(&self) {
        self.since_ns.store(now_ns(), Relaxed);
    }

    /// Before the lock is given back by `unlock`; its own figures come after, and delay nobody.
    fn end(&self, unlock: impl FnOnce()) {
        let ns = now_ns() - self.since_ns.load(Relaxed);
        unlock();
        COUNTS.held(ns);
    }
}

/// Has the calling thread wait for a lock once. parking_lot allocates for each thread when it first waits, which is not to happen
/// in a run.
pub(crate) fn wait_once() {
    let lock = lock_api::Mutex::<parking_lot::RawMutex, ()>::new(());
    let held = lock.lock();
    // Long enough to be parked after the first spins.
    drop(lock.try_lock_for(Duration::from_millis(1)));
    drop(held);
}

/// A mutex of writers.
pub(crate) struct CountedMutex {
    raw: parking_lot::RawMutex,
    hold: Hold,
}

// SAFETY: exclusion is that of the raw lock, which each method takes or gives back exactly as its contract says.
unsafe impl RawMutex for CountedMutex {
    #[allow(clippy::declare_interior_mutable_const)] // lock_api makes locks so
    const INIT: Self = Self {
        raw: parking_lot::RawMutex::INIT,
        hold: Hold::new(),
    };

    type GuardMarker = <parking_lot::RawMutex as RawMutex>::GuardMarker;

    fn lock(&self) {
        if !self.raw.try_lock() {
            COUNTS.writer_waits.fetch_add(1, Relaxed);
            self.raw.lock();
        }
        self.hold.begin();
    }

    fn try_lock(&self) -> bool {
        let taken = self.raw.try_lock();
        if taken {
            self.hold.begin();
        }
        taken
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock.
        self.hold.end(|| unsafe { self.raw.unlock() });
    }
}

/// The semaphore of the v5.4 model.
pub(crate) struct CountedRwLock {
    raw: RwSem,
    hold: Hold,
}

// SAFETY: exclusion is that of the raw lock, which each method takes or gives back exactly as its contract says.
unsafe impl RawRwLock for CountedRwLock {
    #[allow(clippy::declare_interior_mutable_const)] // lock_api makes locks so
    const INIT: Self = Self {
        raw: RwSem::INIT,
        hold: Hold::new(),
    };

    type GuardMarker = <RwSem as RawRwLock>::GuardMarker;

    fn lock_shared(&self) {
        if !self.raw.try_lock_shared() {
            COUNTS.reader_waits.fetch_add(1, Relaxed);
            self.raw.lock_shared();
        }
    }

    fn try_lock_shared(&self) -> bool {
        self.raw.try_lock_shared()
    }

    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller holds a share.
        unsafe { self.raw.unlock_shared() };
    }

    fn lock_exclusive(&self) {
        if !self.raw.try_lock_exclusive() {
            COUNTS.writer_waits.fetch_add(1, Relaxed);
            self.raw.lock_exclusive();
        }
        self.hold.begin();
    }

    fn try_lock_exclusive(&self) -> bool {
        let taken = self.raw.try_lock_exclusive();
        if taken {
            self.hold.begin();
        }
        taken
    }

    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller holds the lock.
        self.hold.end(|| unsafe { self.raw.unlock_exclusive() });
    }
}

impl Contended for CountedRwLock {
    fn is_contended(&self) -> bool {
        self.raw.is_contended()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_end_within_two_digits() {
        for ns in (0..5_000).chain([1 << 20, (1 << 20) + 77_777, HIGHEST_NS]) {
            let bucket = bucket_of(ns);
            let end = end_of(bucket);
            assert_eq!(bucket_of(end), bucket, "{ns}");
            assert!(end >= ns && (end - ns) as f64 <= ns as f64 / 100.0, "{ns}: {end}");
            assert!(bucket_of(end.min(HIGHEST_NS - 1) + 1) <= bucket + 1, "{ns}");
        }
    }

    #[test]
    fn holding_and_waiting_are_counted() {
        static MUTEX: lock_api::Mutex<CountedMutex, ()> = lock_api::Mutex::from_raw(CountedMutex::INIT, ());
        static RWLOCK: lock_api::RwLock<CountedRwLock, ()> = lock_api::RwLock::from_raw(CountedRwLock::INIT, ());
        // Other tests may count as well, so only what must have grown is asked for.
        let held = || COUNTS.latencies().count;
        let before = (
            held(),
            COUNTS.writer_waits.load(Relaxed),
            COUNTS.reader_waits.load(Relaxed),
        );
        let (mutex, write) = (MUTEX.lock(), RWLOCK.write());
        std::thread::scope(|scope| {
            scope.spawn(|| drop(MUTEX.lock()));
            scope.spawn(|| drop(RWLOCK.read()));
            while COUNTS.writer_waits.load(Relaxed) == before.1 || COUNTS.reader_waits.load(Relaxed) == before.2 {
                std::thread::yield_now();
            }
            drop((mutex, write));
        });
        // Two of the mutex, one of the other: readers do not count.
        assert!(held() >= before.0 + 3);
        assert!(MUTEX.try_lock().is_some() && RWLOCK.try_write().is_some() && RWLOCK.try_read().is_some());
    }
}
