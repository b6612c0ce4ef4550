//! `mmap_sem` of Linux v5.4 once somebody has waited for it for 4 ms: fair, sleeps, and keeps later readers out while a writer waits.
//!
//! Who finds it taken, or others waiting, lines up and sleeps at once. Whoever gives it up hands it to the first in line, asleep
//! as that one is, and if that is a reader to all readers in line, up to 256, those after writers too, as v5.4 does since 5.3. So a
//! reader of low priority may be given the semaphore long before the scheduler lets it run, which is half of the problem that this
//! model is there to show. A lock that yields its CPU before it sleeps, as those made for applications do, hides it: the reader then
//! waits without the lock.
//!
//! # What v5.4 does besides
//! | v5.4 | here | what it means for a comparison |
//! |---|---|---|
//! | A writer spins while the owner runs, on readers for some tens of microseconds; a reader spins too (`RWSEM_SPIN_ON_OWNER`). | sleeps at once | short waits are cheaper in v5.4: the model's means and 99.9 % are too high there |
//! | Readers and writers that spin take it before those in line (`rwsem_try_read_lock_unqueued`), until the first in line has waited for 4 ms and sets `HANDOFF`. | nobody passes | a writer may wait longer in v5.4, by up to 4 ms a time: the model's are too low there |
//! | A writer that is woken competes for it. | it is handed over | as above |
//!
//! A spinner needs a CPU, and the owner to be on one; where a reader has lost its CPU, and after 4 ms in line, both do the same:
//! the long waits, which the experiment is about, are the same by construction, means are not.
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

/// Readers that are let in at a time.
const MAX_READERS_WAKEUP: usize = 256;

/// Readers that are woken under one hold of the queue's lock: more would have it allocate.
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

    /// Hands it to the first in line, and if that is a reader to the readers in line. Nobody holds it, and nobody else hands it over.
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
            // This thread is a reader too, until it has woken the others.
            let holders = if writer.get() {
                WRITER
            } else {
                (readers.get() + 1) * READER
            };
            let waiters = usize::from(result.have_more_threads) * WAITERS;
            // INVARIANT: those who are woken. Nobody else changes it: it was taken, with others in line.
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
            // SAFETY: it is a reader, as was said above.
            unsafe { self.unlock_shared() };
        }
    }

    /// Lets some readers more in, beside others that have it.
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
            // INVARIANT: those who are woken. Relaxed: they come after who gave it up, as the queue's lock says.
            self.state.fetch_add(readers.get() * READER, Ordering::Relaxed);
            if !result.have_more_threads {
                // INVARIANT: nobody is in line, and nobody lines up but under the queue's lock.
                self.state.fetch_and(!WAITERS, Ordering::Relaxed);
            }
            DEFAULT_UNPARK_TOKEN
        };
        // SAFETY: as in `wait`.
        unsafe { unpark_filter(self.key(), filter, hand) };
    }
}

/// A lock that can say whether somebody waits for it.
pub trait Contended: RawRwLock {
    /// Whether somebody is in line; what it was a moment ago.
    #[doc(alias = "rwsem_is_contended")]
    fn is_contended(&self) -> bool;
}

impl Contended for RwSem {
    fn is_contended(&self) -> bool {
        // Relaxed: a hint.
        self.state.load(Ordering::Relaxed) & WAITERS != 0
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
