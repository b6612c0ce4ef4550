//! A signal that parks a thread at any instruction inside the library.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::history::IS_READING;

/// How often a thread was parked, how often it was released, and how often the handler is done: the
/// words between the handler and the sender.
static PARKED: AtomicU32 = AtomicU32::new(0);
static RELEASED: AtomicU32 = AtomicU32::new(0);
static HANDLED: AtomicU32 = AtomicU32::new(0);

/// Parks the thread where it is, if it is inside the library.
extern "C" fn park(_: libc::c_int) {
    if IS_READING.get() {
        let turn = PARKED.fetch_add(1, Ordering::SeqCst) + 1;
        while RELEASED.load(Ordering::SeqCst) < turn {
            let moment = libc::timespec {
                tv_sec: 0,
                tv_nsec: 20_000,
            };
            // SAFETY: a valid time, and the remaining time is not requested.
            unsafe { libc::nanosleep(&raw const moment, std::ptr::null_mut()) };
        }
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Makes the signal park threads.
pub fn install() {
    let handler: extern "C" fn(libc::c_int) = park;
    // SAFETY: the handler uses atomics, a thread-local without a destructor and nanosleep, all
    // async-signal-safe.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
}

/// Returns the calling thread, to be interrupted.
pub fn this_thread() -> libc::pthread_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::pthread_self() }
}

/// Signals a thread and runs `meanwhile` while it is parked; returns whether it was parked.
///
/// The thread runs until this returns. One thread at a time signals, and signals one thread.
pub fn interrupt(thread: libc::pthread_t, meanwhile: impl FnOnce()) -> bool {
    let (handled, parked) = (HANDLED.load(Ordering::SeqCst), PARKED.load(Ordering::SeqCst));
    let mut meanwhile = Some(meanwhile);
    // SAFETY: the thread runs, as the caller says.
    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
    // Either it is parked, or it was outside the library.
    while HANDLED.load(Ordering::SeqCst) == handled {
        if PARKED.load(Ordering::SeqCst) > parked
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
            RELEASED.store(parked + 1, Ordering::SeqCst);
        }
        std::thread::yield_now();
    }
    meanwhile.is_none()
}
