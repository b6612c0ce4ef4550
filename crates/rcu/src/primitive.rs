//! Atomics of `core`, or of loom under `cfg(loom)`. No other file knows which.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(all(feature = "std", not(loom)))]
pub(crate) use std::thread_local;

/// loom's macro takes no `const` block.
#[cfg(all(feature = "std", loom))]
macro_rules! loom_thread_local {
    (static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! { static $name: $type = $value; }
    };
}
#[cfg(all(feature = "std", loom))]
pub(crate) use loom_thread_local as thread_local;

/// Loads a word that only the calling thread stores to, or a thread that holds a lock of the
/// caller's.
///
/// loom 0.7 keeps one last access of each atomic. A load before the thread's next store would hide
/// that other threads have loaded the word, and loom would not try that store earlier. So loom is
/// told of no access here, and checks instead that all stores come before.
#[inline(always)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    #[cfg(not(loom))]
    {
        // Relaxed: the value is the caller's own store, or comes before the caller by its lock.
        word.load(Ordering::Relaxed)
    }
    #[cfg(loom)]
    {
        // SAFETY: loom checks that no store is concurrent.
        unsafe { word.unsync_load() }
    }
}

/// Stands in memory that is not atomic and reports accesses to loom, so that a model in which two
/// of them race fails.
pub(crate) struct Watch(#[cfg(loom)] loom::cell::UnsafeCell<()>);

impl Watch {
    pub(crate) fn new() -> Self {
        Self(
            #[cfg(loom)]
            loom::cell::UnsafeCell::new(()),
        )
    }

    /// Reports a read by the calling thread, now.
    #[inline(always)]
    pub(crate) fn read(&self) {
        #[cfg(loom)]
        self.0.with(|_| ());
    }

    /// Reports a write by the calling thread, now.
    #[inline(always)]
    pub(crate) fn write(&self) {
        #[cfg(loom)]
        self.0.with_mut(|_| ());
    }
}

/// Lets other threads run while this one waits for them, for the `round`th time.
#[cfg(loom)]
pub(crate) fn relax(_round: u32) {
    loom::thread::yield_now();
}

/// Lets other threads run while this one waits for them, for the `round`th time.
#[cfg(not(loom))]
pub(crate) fn relax(round: u32) {
    #[cfg(feature = "std")]
    match round {
        0..64 => core::hint::spin_loop(),
        64..128 => std::thread::yield_now(),
        _ => std::thread::sleep(std::time::Duration::from_micros(50)),
    }
    #[cfg(not(feature = "std"))]
    {
        let _ = round;
        core::hint::spin_loop();
    }
}

/// Returns a number that no other call returns. A plain counter that orders nothing, so loom need
/// not know of it.
pub(crate) fn unique_id() -> u64 {
    use core::sync::atomic::{AtomicU64 as Counter, Ordering as Order};
    static NEXT: Counter = Counter::new(0);
    NEXT.fetch_add(1, Order::Relaxed)
}
