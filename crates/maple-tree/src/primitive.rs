//! Atomics of `core`, or of loom under `cfg(loom)`: the only file that knows.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Loads a word that is stored to by the calling thread alone, or under a lock that it holds.
///
/// loom 0.7 keeps one last access of each atomic: a load before the thread's next store would hide from it that others have
/// loaded the word, and it would not try that store earlier. So it is told of no access here, and checks instead that all
/// stores come before.
#[inline(always)]
pub(crate) fn own_load<T>(word: &AtomicPtr<T>) -> *mut T {
    #[cfg(not(loom))]
    {
        // Relaxed: what is loaded is the caller's own store, or comes before the caller by its lock.
        word.load(Ordering::Relaxed)
    }
    #[cfg(loom)]
    {
        // SAFETY: loom checks that no store is concurrent.
        unsafe { word.unsync_load() }
    }
}

/// Stands in memory that is not atomic, and tells loom of accesses to it, so that a model in which two of them race fails. Zeros
/// are one of memory that is not watched yet.
pub(crate) struct Watch(#[cfg(loom)] *const loom::cell::UnsafeCell<()>);

impl Watch {
    /// The memory is taken for something new. A node's memory is one model's, so this is where its watch begins.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        #[cfg(loom)]
        if self.0.is_null() {
            self.0 = Box::leak(Box::new(loom::cell::UnsafeCell::new(())));
        }
    }

    /// The memory is read, by the calling thread and now.
    #[cfg(loom)]
    pub(crate) fn read(&self) {
        // SAFETY: begun, so it points to a cell that is never freed.
        unsafe { &*self.0 }.with(|_| ());
    }

    /// The memory is written, by the calling thread and now.
    #[inline(always)]
    pub(crate) fn write(&self) {
        #[cfg(loom)]
        // SAFETY: as in `read`.
        unsafe { &*self.0 }.with_mut(|_| ());
    }
}
