//! The default writers' lock.

use lock_api::{GuardNoSend, RawMutex};

#[cfg(feature = "std")]
type Lock = parking_lot::RawMutex;
#[cfg(not(feature = "std"))]
type Lock = spin::mutex::SpinMutex<()>;

/// The default writers' lock: spins, and then parks if there is `std`.
pub struct DefaultLock(Lock);

// SAFETY: the contract of the lock inside.
unsafe impl RawMutex for DefaultLock {
    #[allow(clippy::declare_interior_mutable_const)] // as the trait has it
    const INIT: Self = Self(<Lock as RawMutex>::INIT);

    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        RawMutex::lock(&self.0);
    }

    #[inline]
    fn try_lock(&self) -> bool {
        RawMutex::try_lock(&self.0)
    }

    #[inline]
    unsafe fn unlock(&self) {
        // SAFETY: the same contract.
        unsafe { RawMutex::unlock(&self.0) };
    }

    #[inline]
    fn is_locked(&self) -> bool {
        RawMutex::is_locked(&self.0)
    }
}
