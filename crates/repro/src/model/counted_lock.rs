//! The writers' locks of the models, which count waits and time how long a writer holds them.
//!
//! A wait is counted when a first try fails. Holding is timed with two reads of the clock (in user
//! space, about 20 ns each) and a few additions. Each call of every model pays for these; other
//! users of `vmaple-mm` do not.
//!
//! A lock is made by a constant, so its figures are in a static, for the process, which has one
//! model.
//!
//! # Ordering
//! All words are counters that order nothing and are not read together with other words: Relaxed.
//! `since_ns` belongs to the holder of the lock.

#![allow(unsafe_code)] // lock_api's contract

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use lock_api::{RawMutex, RawRwLock};
use vmaple_mm::{Contended, RwSem};

use crate::machine::now_ns;
use crate::sample::{BUCKETS, Latencies, bucket_of};

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
    /// Sets all to zero, which also touches all of it.
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
        self.buckets[bucket_of(ns)].fetch_add(1, Relaxed);
    }

    /// Returns how long writers have held their lock.
    pub(crate) fn latencies(&self) -> Latencies {
        let counts = self.buckets.iter().map(|count| count.load(Relaxed));
        Latencies::of_buckets(counts, self.total_ns.load(Relaxed), self.max_ns.load(Relaxed))
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

    /// Begins a hold, after the lock was taken.
    fn begin(&self) {
        self.since_ns.store(now_ns(), Relaxed);
    }

    /// Ends a hold and releases the lock by `unlock`. The figures are counted after that, and delay
    /// no thread.
    fn end(&self, unlock: impl FnOnce()) {
        let ns = now_ns() - self.since_ns.load(Relaxed);
        unlock();
        COUNTS.held(ns);
    }
}

/// A mutex of writers.
pub(crate) struct CountedMutex {
    raw: parking_lot::RawMutex,
    hold: Hold,
}

// SAFETY: exclusion is that of the raw lock, which each method takes or releases exactly as its
// contract says.
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

// SAFETY: exclusion is that of the raw lock, which each method takes or releases exactly as its
// contract says.
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
