//! Atomics of `core`, or of loom under `cfg(loom)`: the only file that knows.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

/// Lets others run while this thread waits for them, for the `round`th time.
#[cfg(loom)]
pub(crate) fn relax(_round: u32) {
    loom::thread::yield_now();
}

/// Lets others run while this thread waits for them, for the `round`th time.
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

/// A number that no other call gets. A plain counter, of no order with anything, so loom need not know of it.
pub(crate) fn unique_id() -> u64 {
    use core::sync::atomic::{AtomicU64 as Counter, Ordering as Order};
    static NEXT: Counter = Counter::new(0);
    NEXT.fetch_add(1, Order::Relaxed)
}
