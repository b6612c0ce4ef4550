//! `mmap_sem` of Linux v5.4 after a thread has waited for it for 4 ms: fair, with a queue of
//! sleepers.
//!
//! A thread that finds it taken, or others in the queue, queues up and sleeps at once. While a
//! writer waits, later readers stay out. The thread that releases it hands it to the first sleeper.
//! If that is a reader, it hands it to all readers in the queue, up to 256, also those after
//! writers, as Linux does since 5.3.
//!
//! So a reader of low priority may get the semaphore long before the scheduler lets it run. That is
//! half of the problem that this model shows. A lock that yields its CPU before it sleeps, as locks
//! for applications do, hides it: its reader waits without the lock.
//!
//! # What v5.4 does besides
//! | v5.4 | here | effect on a comparison |
//! |---|---|---|
//! | A writer spins while the owner runs, on readers for some tens of microseconds; a reader spins too (`RWSEM_SPIN_ON_OWNER`). | sleeps at once | short waits are cheaper in v5.4: means and 99.9 % of the model are too high |
//! | Readers and writers that spin take it before the queue (`rwsem_try_read_lock_unqueued`), until the first in the queue has waited for 4 ms and sets `HANDOFF`. | no thread passes the queue | a writer may wait up to 4 ms longer in v5.4 each time: waits of the model are too low |
//! | A woken writer competes for it. | it is handed over | as above |
//!
//! A spinner needs a CPU, and an owner that runs. After a reader has lost its CPU, and after 4 ms
//! in the queue, both do the same. So the long waits, which the experiment is about, are the same
//! by construction. Means are not.
//!
//! # Ordering
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | `state`, taken | `try_lock_*` | Acquire | Release of the previous holder |
//! | `state`, released | `unlock_*` | Release, of readers AcqRel | Acquire of the thread that takes it next, or hands it over |
//! | `state`, handed over | the thread that releases it, under the queue's lock | Release | the queue's lock, which the woken thread has passed |

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use lock_api::{GuardSend, RawRwLock};
use parking_lot_core::{DEFAULT_UNPARK_TOKEN, FilterOp, ParkResult, ParkToken, UnparkResult, park, unpark_filter};

/// A writer holds it.
const WRITER: usize = 1;
/// A thread is in the queue.
const WAITERS: usize = 2;
/// One reader holds it.
const READER: usize = 4;

/// Readers that one handover lets in.
const MAX_READERS_WAKEUP: usize = 256;

/// Readers woken under one hold of the queue's lock. More would make it allocate.
const BATCH: usize = 8;

const WAITS_TO_READ: ParkToken = ParkToken(0);
const WAITS_TO_WRITE: ParkToken = ParkToken(1);

/// The semaphore, for use as [`lock_api::RwLock<RwSem, T>`](lock_api::RwLock).
///
/// # Invariants
/// `state` is the number of readers that hold it, or `WRITER`, and `WAITERS` if a thread is in
/// the queue. While one is, only the thread that releases it lets others in.
#[derive(Debug)]
pub struct RwSem {
    state: AtomicUsize,
}

impl RwSem {
    /// Returns the key of the queue.
    fn key(&self) -> usize {
        (&raw const self.state).addr()
    }

    /// Takes it, if `taken` returns the next state for the present one.
    fn take(&self, taken: impl Fn(usize) -> Option<usize>) -> bool {
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, taken)
            .is_ok()
    }

    /// Queues up, and returns with the semaphore.
    #[cold]
    fn wait(&self, token: ParkToken, taken: fn(usize) -> Option<usize>) {
        loop {
            // The thread that releases it looks at the queue after this, under the queue's lock: so
            // it finds us.
            let still_taken = || {
                let line_up = |state| {
                    if taken(state).is_some() {
                        None
                    } else {
                        Some(state | WAITERS)
                    }
                };
                self.state
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, line_up)
                    .is_ok()
            };
            // SAFETY: the key is an address in this semaphore, so no other queue uses it; the
            // closures neither park nor panic.
            let parked = unsafe { park(self.key(), still_taken, || (), |_, _| (), token, None) };
            match parked {
                // It was handed over.
                ParkResult::Unparked(_) => return,
                _ if self.take(taken) => return,
                _ => {}
            }
        }
    }

    /// Hands it to the first in the queue; if that is a reader, to the readers in the queue.
    ///
    /// No thread holds it, and no other thread hands it over.
    #[cold]
    #[doc(alias = "rwsem_mark_wake")]
    fn hand_over(&self) {
        let (readers, writer) = (Cell::new(0), Cell::new(false));
        let filter = |token| match token {
            WAITS_TO_WRITE if readers.get() == 0 && !writer.get() => {
                writer.set(true);
                FilterOp::Unpark
            }
            WAITS_TO_READ if readers.get() < BATCH && !writer.get() => {
                readers.set(readers.get() + 1);
                FilterOp::Unpark
            }
            WAITS_TO_WRITE if readers.get() < BATCH && !writer.get() => FilterOp::Skip,
            _ => FilterOp::Stop,
        };
        let hand = |result: UnparkResult| {
            // This thread counts as a reader too, until it has woken the others.
            let holders = if writer.get() {
                WRITER
            } else {
                (readers.get() + 1) * READER
            };
            let waiters = usize::from(result.have_more_threads) * WAITERS;
            // INVARIANT: the woken threads. No other thread changes it: it was taken, with others
            // in the queue.
            self.state.store(holders + waiters, Ordering::Release);
            DEFAULT_UNPARK_TOKEN
        };
        // SAFETY: as in `wait`.
        unsafe { unpark_filter(self.key(), filter, hand) };
        if !writer.get() {
            let mut woken = readers.get();
            while woken < MAX_READERS_WAKEUP && readers.get() == BATCH {
                readers.set(0);
                self.wake_readers(&readers);
                woken += readers.get();
            }
            // SAFETY: this thread is a reader, as above.
            unsafe { self.unlock_shared() };
        }
    }

    /// Lets more readers in, next to those that have it.
    fn wake_readers(&self, readers: &Cell<usize>) {
        let filter = |token| match token {
            WAITS_TO_READ if readers.get() < BATCH => {
                readers.set(readers.get() + 1);
                FilterOp::Unpark
            }
            _ if readers.get() < BATCH => FilterOp::Skip,
            _ => FilterOp::Stop,
        };
        let hand = |result: UnparkResult| {
            // INVARIANT: the woken threads. Relaxed: the queue's lock orders them after the thread
            // that released it.
            self.state.fetch_add(readers.get() * READER, Ordering::Relaxed);
            if !result.have_more_threads {
                // INVARIANT: the queue is empty, and threads queue up only under its lock.
                self.state.fetch_and(!WAITERS, Ordering::Relaxed);
            }
            DEFAULT_UNPARK_TOKEN
        };
        // SAFETY: as in `wait`.
        unsafe { unpark_filter(self.key(), filter, hand) };
    }
}

/// A lock that can tell whether a thread waits for it.
pub trait Contended: RawRwLock {
    /// Whether a thread is in the queue; it may have changed since.
    #[doc(alias = "rwsem_is_contended")]
    fn is_contended(&self) -> bool;
}

impl Contended for RwSem {
    fn is_contended(&self) -> bool {
        // Relaxed: a hint.
        self.state.load(Ordering::Relaxed) & WAITERS != 0
    }
}

/// Returns the state after a reader takes it, if it can.
fn to_read(state: usize) -> Option<usize> {
    (state & (WRITER | WAITERS) == 0).then_some(state + READER)
}

/// Returns the state after a writer takes it, if it can.
fn to_write(state: usize) -> Option<usize> {
    (state == 0).then_some(WRITER)
}

// SAFETY: by the type's invariant a writer holds it alone, and readers only while no writer does.
unsafe impl RawRwLock for RwSem {
    const INIT: Self = Self {
        state: AtomicUsize::new(0),
    };

    type GuardMarker = GuardSend;

    fn lock_shared(&self) {
        if !self.try_lock_shared() {
            self.wait(WAITS_TO_READ, to_read);
        }
    }

    fn try_lock_shared(&self) -> bool {
        self.take(to_read)
    }

    unsafe fn unlock_shared(&self) {
        // AcqRel pairs with itself, of the readers before: the next holder comes after them all.
        if self.state.fetch_sub(READER, Ordering::AcqRel) == READER + WAITERS {
            self.hand_over();
        }
    }

    fn lock_exclusive(&self) {
        if !self.try_lock_exclusive() {
            self.wait(WAITS_TO_WRITE, to_write);
        }
    }

    fn try_lock_exclusive(&self) -> bool {
        self.take(to_write)
    }

    unsafe fn unlock_exclusive(&self) {
        let given_up = self
            .state
            .compare_exchange(WRITER, 0, Ordering::Release, Ordering::Relaxed);
        if given_up.is_err() {
            self.hand_over();
        }
    }
}
