//! A signal handler may read at any point of what it interrupts, with a reader of its own.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use vmaple_rcu::{RcuBox, RcuDomain, RcuPtr, Reader};

struct Shared {
    ptr: RcuPtr<[u64; 8]>,
    /// The handler's own reader. Only the handler locks it, which does not interrupt itself.
    reader: Mutex<Reader>,
    handled: AtomicU64,
    wrong: AtomicBool,
}

static SHARED: OnceLock<Shared> = OnceLock::new();

#[test]
fn a_handler_with_its_own_reader_is_protected_wherever_it_comes() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    assert!(ptr.assign(&mut updater, Some(RcuBox::new([1; 8]).unwrap())).is_ok());
    let shared = Shared {
        ptr,
        reader: Mutex::new(domain.reader().unwrap()),
        handled: AtomicU64::new(0),
        wrong: AtomicBool::new(false),
    };
    assert!(SHARED.set(shared).is_ok());
    let shared = SHARED.get().unwrap();
    let handler = || {
        let Ok(reader) = shared.reader.try_lock() else { return };
        let guard = reader.read_lock();
        let object = shared.ptr.dereference(&guard).unwrap();
        if object.iter().any(|&word| word != object[0]) {
            shared.wrong.store(true, Ordering::Relaxed);
        }
        shared.handled.fetch_add(1, Ordering::Relaxed);
    };
    // SAFETY: the handler calls nothing but atomics and an uncontended try_lock: async-signal-safe.
    let id = unsafe { signal_hook::low_level::register(signal_hook::consts::SIGUSR1, handler) }.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let own = rustix::process::getpid();
            while !stop.load(Ordering::Relaxed) {
                // To the process: the running thread is interrupted, wherever it is.
                rustix::process::kill_process(own, rustix::process::Signal::USR1).unwrap();
                std::thread::yield_now();
            }
        })
    };
    let reader = domain.reader().unwrap();
    for i in 0..200_000_u64 {
        let guard = reader.read_lock();
        let object = shared.ptr.dereference(&guard).unwrap();
        assert!(object.iter().all(|&word| word == object[0]));
        drop(guard);
        assert!(
            shared
                .ptr
                .assign(&mut updater, Some(RcuBox::new([i; 8]).unwrap()))
                .is_ok()
        );
        if updater.reap_due() {
            domain.reap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    signal_hook::low_level::unregister(id);
    assert!(shared.handled.load(Ordering::Relaxed) > 0, "no signal was handled");
    assert!(!shared.wrong.load(Ordering::Relaxed));
}
