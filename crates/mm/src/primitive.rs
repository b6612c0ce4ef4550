//! Atomics of `core`, or of loom under `cfg(loom)`: the only file that knows.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// What a word holds that nobody but the caller writes, for as long as it holds the lock under which the word is written.
#[cfg(not(loom))]
#[inline]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    // Relaxed: the caller's own store, or ordered by the lock.
    word.load(Ordering::Relaxed)
}

/// The same, not as an atomic access: loom 0.7 keeps one last access of each atomic, so the writer's own load before its store would
/// hide the loads of others, and the interleavings in which they come after. It checks instead that nobody else writes.
#[cfg(loom)]
pub(crate) fn own_load(word: &AtomicU64) -> u64 {
    // SAFETY: loom checks that no store is concurrent.
    unsafe { word.unsync_load() }
}
