//! A lock that loom models.

use core::cell::{OnceCell, UnsafeCell};

use lock_api::{GuardSend, RawMutex};
use loom::sync::{Mutex, MutexGuard};

/// The mutex of loom as a [`RawMutex`]. It is made at its first use: loom cannot make one in a
/// constant.
///
/// # Invariants
/// `guard` holds the mutex, and only the holder touches it.
pub(super) struct LoomLock {
    mutex: OnceCell<Mutex<()>>,
    guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
}

// SAFETY: the threads of loom run on one thread of the system, one at a time; making the mutex lets
// no other run.
unsafe impl Send for LoomLock {}
// SAFETY: as above.
unsafe impl Sync for LoomLock {}

impl LoomLock {
    fn mutex(&self) -> &'static Mutex<()> {
        let mutex: *const _ = self.mutex.get_or_init(|| Mutex::new(()));
        // SAFETY: a lock is not moved while it is used, and no guard outlives it: the holder refers
        // to it.
        unsafe { &*mutex }
    }
}

// SAFETY: loom's mutex is one.
unsafe impl RawMutex for LoomLock {
    const INIT: Self = Self {
        mutex: OnceCell::new(),
        guard: UnsafeCell::new(None),
    };

    type GuardMarker = GuardSend;

    fn lock(&self) {
        let guard = self.mutex().lock().unwrap();
        // SAFETY: by the type's invariant the mutex is held.
        unsafe { *self.guard.get() = Some(guard) };
    }

    fn try_lock(&self) -> bool {
        unreachable!("page tables wait for their locks")
    }

    unsafe fn unlock(&self) {
        // SAFETY: by the type's invariant: the caller holds it.
        let guard = unsafe { (*self.guard.get()).take() };
        drop(guard);
    }
}
