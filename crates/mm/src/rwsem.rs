//! `mmap_sem` of Linux v5.4: a reader-writer semaphore that is fair, sleeps, and keeps later readers out while a writer waits.
//!
//! Who finds it taken, or others waiting, lines up and sleeps at once. Whoever gives it up hands it to the first in line, asleep
//! as that one is, and if that is a reader to all readers right behind it. So a reader of low priority may be given the
//! semaphore long before the scheduler lets it run, which is half of the problem that this model is there to show. A lock that
//! yields its CPU before it sleeps, as those made for applications do, hides it: the reader then waits without the lock.
//!
//! # Ordering
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | `state`, taken | `try_lock_*` | Acquire | Release of who gave it up before |
//! | `state`, given up | `unlock_*` | Release, of readers AcqRel | Acquire of who takes it next, or hands it over |
//! | `state`, handed over | who gives it up, under the queue's lock | Release | the queue's lock, which the one who wakes up has passed |

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use lock_api::{GuardSend, RawRwLock};
use parking_lot_core::{DEFAULT_UNPARK_TOKEN, FilterOp, ParkResult, ParkToken, UnparkResult, park, unpark_filter};

/// A writer holds it.
const WRITER: usize = 1;
/// Somebody is in line.
const WAITERS: usize = 2;
/// One reader holds it.
const READER: usize = 4;

/// Readers that are woken at a time: more would have the queue allocate.
const BATCH: usize = 8;

const WAITS_TO_READ: ParkToken = ParkToken(0);
const WAITS_TO_WRITE: ParkToken = ParkToken(1);

/// The semaphore; to be had as [`lock_api::RwLock<RwSem, T>`](lock_api::RwLock).
///
/// # Invariants
/// `state` is the readers that hold it, or that a writer does, and whether somebody is in line. While somebody is, only who
/// gives it up lets others in.
#[derive(Debug)]
pub struct RwSem {
    state: AtomicUsize,
}

impl RwSem {
    /// Where those in line are found.
    fn key(&self) -> usize {
        (&raw const self.state).addr()
    }

    /// Takes it if it can be had as `taken` says of a state, which it turns into another one.
    fn take(&self, taken: impl Fn(usize) -> Option<usize>) -> bool {
        self.state
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, taken)
            .is_ok()
    }

    /// Lines up, and returns with the semaphore.
    #[cold]
    fn wait(&self, token: ParkToken, taken: fn(usize) -> Option<usize>) {
        loop {
            // Whoever gives it up looks at the line after this, under the queue's lock: then it finds us.
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
            // SAFETY: the key is an address of this semaphore's, which no other queue uses; the closures neither park nor panic.
            let parked = unsafe { park(self.key(), still_taken, || (), |_, _| (), token, None) };
            match parked {
                // It was handed over.
                ParkResult::Unparked(_) => return,
                _ if self.take(taken) => return,
                _ => {}
            }
        }
    }

    /// Hands it to the first in line, and to the readers right behind a reader. Nobody holds it, and nobody else hands it over.
    #[cold]
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
            _ => FilterOp::Stop,
        };
        let hand = |result: UnparkResult| {
            let holders = readers.get() * READER + usize::from(writer.get()) * WRITER;
            let waiters = usize::from(result.have_more_threads) * WAITERS;
            // INVARIANT: those who are woken. Nobody else changes it: it was taken, with others in line.
            self.state.store(holders + waiters, Ordering::Release);
            DEFAULT_UNPARK_TOKEN
        };
        // SAFETY: as in `wait`.
        unsafe { unpark_filter(self.key(), filter, hand) };
    }
}

/// What a reader makes of a state that lets it in.
fn to_read(state: usize) -> Option<usize> {
    (state & (WRITER | WAITERS) == 0).then_some(state + READER)
}

/// What a writer makes of a state that lets it in.
fn to_write(state: usize) -> Option<usize> {
    (state == 0).then_some(WRITER)
}

// SAFETY: by the type's invariant a writer holds it alone, and readers while no writer does.
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
        // AcqRel pairs with itself, of the readers before: who comes next comes after them all.
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
