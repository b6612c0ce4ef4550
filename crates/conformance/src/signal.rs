//! A signal that parks a thread at whatever instruction it finds it, if that is inside of the library.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::history::IS_READING;

/// What the handler and who sends the signal tell each other: how often a thread was parked, how often it was let go, and how often
/// the handler is done.
static PARKED: AtomicU32 = AtomicU32::new(0);
static RELEASED: AtomicU32 = AtomicU32::new(0);
static HANDLED: AtomicU32 = AtomicU32::new(0);

/// Parks the thread where it is, if it is inside of the library.
extern "C" fn park(_: libc::c_int) {
    if IS_READING.get() {
        let turn = PARKED.fetch_add(1, Ordering::SeqCst) + 1;
        while RELEASED.load(Ordering::SeqCst) < turn {
            let moment = libc::timespec {
                tv_sec: 0,
                tv_nsec: 20_000,
            };
            // SAFETY: a valid time, and nobody asks for the rest of it.
            unsafe { libc::nanosleep(&raw const moment, std::ptr::null_mut()) };
        }
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Has the signal park.
pub fn install() {
    let handler: extern "C" fn(libc::c_int) = park;
    // SAFETY: the handler calls atomics, a thread-local without a destructor and nanosleep: async-signal-safe.
    unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
}

/// The calling thread, to be interrupted.
pub fn this_thread() -> libc::pthread_t {
    // SAFETY: it has no preconditions.
    unsafe { libc::pthread_self() }
}

/// Sends the signal to a thread that runs until this returns, and does `meanwhile` while it is parked; whether it was.
///
/// One thread at a time sends, to one thread.
pub fn interrupt(thread: libc::pthread_t, meanwhile: impl FnOnce()) -> bool {
    let (handled, parked) = (HANDLED.load(Ordering::SeqCst), PARKED.load(Ordering::SeqCst));
    let mut meanwhile = Some(meanwhile);
    // SAFETY: the thread runs, as the caller says.
    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
    // It is parked, or was outside of the library.
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
