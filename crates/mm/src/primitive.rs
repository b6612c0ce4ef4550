//! Atomics of `core`, or of loom under `cfg(loom)`: the only file that knows.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// Loads a word that only the caller writes, as it holds the lock under which the word is written.
#[cfg(not(loom))]
#[inline]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    // Relaxed: the caller's own store, or ordered by the lock.
    word.load(Ordering::Relaxed)
}

/// The same, but not as an atomic access. Loom 0.7 keeps one last access of each atomic: the
/// writer's own load before its store would hide the loads of other threads, and the interleavings
/// in which they come after. Loom checks instead that no other thread writes.
#[cfg(loom)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    // SAFETY: loom checks that no store is concurrent.
    unsafe { word.unsync_load() }
}
