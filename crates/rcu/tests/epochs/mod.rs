//! Another reclamation behind the traits: crossbeam-epoch.

use crossbeam_epoch::{Collector, Guard, LocalHandle};
use vmaple_rcu::{AllocError, Reclaim, Retired, Section, Update};

/// A collector, and the one whose handles belong to it.
pub(crate) struct Epochs(pub(crate) Collector);
pub(crate) struct EpochReader(LocalHandle);
pub(crate) struct EpochSection(Guard);
pub(crate) struct EpochUpdate(pub(crate) Collector);

// SAFETY: a LocalHandle is not Send because of its use, but this one is made where it is used: in
// this test the thread that reads calls `reader`.
unsafe impl Send for EpochReader {}

// SAFETY: an epoch's guard protects all that is loaded through it.
unsafe impl Section for EpochSection {
    fn protect<P>(&self, mut load: impl FnMut() -> P) -> P {
        let _ = &self.0;
        load()
    }
}

// SAFETY: a deferred closure runs once, after all present guards are gone.
unsafe impl Update for EpochUpdate {
    fn reserve(&mut self, _objects: usize) -> Result<(), AllocError> {
        Ok(())
    }

    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        let (object, free) = (retired.object.expose_provenance(), retired.free);
        let guard = self.0.register().pin();
        let work = move || {
            // SAFETY: the caller's contract.
            unsafe { free(std::ptr::with_exposed_provenance_mut(object)) }
        };
        // SAFETY: the caller's contract, which is crossbeam's.
        unsafe { guard.defer_unchecked(work) };
        guard.flush();
        Ok(())
    }
}

// SAFETY: one collector's handles belong together.
unsafe impl Reclaim for Epochs {
    type Reader = EpochReader;
    type Section<'r> = EpochSection;
    type Update = EpochUpdate;

    fn owns(&self, update: &EpochUpdate) -> bool {
        self.0 == update.0
    }

    fn reader(&self) -> Result<EpochReader, AllocError> {
        Ok(EpochReader(self.0.register()))
    }

    fn read_lock<'r>(reader: &'r EpochReader) -> EpochSection
    where
        Self: 'r,
    {
        EpochSection(reader.0.pin())
    }
}
