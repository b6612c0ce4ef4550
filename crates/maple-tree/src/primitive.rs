//! Atomics of `core`, or of loom under `cfg(loom)`. No other file knows which.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Loads a word that only the calling thread stores to, or a thread that holds a lock of the
/// caller's.
///
/// loom 0.7 keeps one last access of each atomic. A load before the thread's next store would hide
/// that other threads have loaded the word, and loom would not try that store earlier. So loom is
/// told of no access here, and checks instead that all stores come before.
#[inline(always)]
pub(crate) fn own_load<T>(word: &AtomicPtr<T>) -> *mut T {
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
///
/// Zeros are the value for memory that is not watched yet.
pub(crate) struct Watch(#[cfg(loom)] *const loom::cell::UnsafeCell<()>);

impl Watch {
    /// Begins the watch of memory that is taken for something new. A node's memory is one model's.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        #[cfg(loom)]
        if self.0.is_null() {
            self.0 = Box::leak(Box::new(loom::cell::UnsafeCell::new(())));
        }
    }

    /// Reports a read by the calling thread, now.
    #[cfg(loom)]
    pub(crate) fn read(&self) {
        // SAFETY: begun, so it points to a cell that is never freed.
        unsafe { &*self.0 }.with(|_| ());
    }

    /// Reports a write by the calling thread, now.
    #[inline(always)]
    pub(crate) fn write(&self) {
        #[cfg(loom)]
        // SAFETY: as in `read`.
        unsafe { &*self.0 }.with_mut(|_| ());
    }
}
