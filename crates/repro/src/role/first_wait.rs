//! The first time that a thread waits for a lock.

use std::time::Duration;

/// Makes the calling thread wait for a lock once.
///
/// parking_lot allocates for each thread when it first waits, which must not happen in a run.
pub(crate) fn wait_once() {
    let lock = lock_api::Mutex::<parking_lot::RawMutex, ()>::new(());
    let held = lock.lock();
    // Long enough to be parked after the first spins.
    drop(lock.try_lock_for(Duration::from_millis(1)));
    drop(held);
}
