//! One structure, written against the traits, over this crate's domain and over crossbeam-epoch.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crossbeam_epoch::{Collector, Guard, LocalHandle};
use vmaple_rcu::{AllocError, RcuDomain, Reclaim, Retired, Section, Update};

/// Somebody else's reclamation.
struct Epochs(Collector);
struct EpochReader(LocalHandle);
struct EpochSection(Guard);
struct EpochUpdate(Collector);

// SAFETY: a LocalHandle is not Send for its use, but this one is made where it is used: `reader` is called by the thread
// that reads, in this test.
unsafe impl Send for EpochReader {}

// SAFETY: an epoch's guard protects whatever is loaded through it.
unsafe impl Section for EpochSection {
    fn protect<P>(&self, mut load: impl FnMut() -> P) -> P {
        let _ = &self.0;
        load()
    }
}

// SAFETY: what is deferred runs once, after all guards of now are gone.
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

static ALIVE: AtomicUsize = AtomicUsize::new(0);

struct Value {
    number: u64,
    copy: u64,
}

unsafe fn free(object: *mut ()) {
    ALIVE.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: a Value from Box::into_raw, freed once.
    drop(unsafe { Box::from_raw(object.cast::<Value>()) });
}

/// A value that a writer replaces and readers copy out.
fn replace_while_others_read<D: Reclaim + 'static>(domain: &Arc<D>, update: &mut D::Update) {
    let word = Arc::new(AtomicPtr::new(std::ptr::null_mut::<Value>()));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (domain, word, stop) = (Arc::clone(domain), Arc::clone(&word), Arc::clone(&stop));
            std::thread::spawn(move || {
                let reader = domain.reader().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let section = D::read_lock(&reader);
                    let value = section.protect(|| word.load(Ordering::Acquire));
                    // SAFETY: protected by the section.
                    if let Some(value) = unsafe { value.as_ref() } {
                        assert_eq!(value.number, value.copy);
                    }
                }
            })
        })
        .collect();
    let mut born = 0;
    for number in 0..20_000 {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        let new = Box::into_raw(Box::new(Value { number, copy: number }));
        update.reserve(1).unwrap();
        let birth = update.birth(size_of::<Value>());
        let old = word.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            let retired = Retired {
                object: old.cast(),
                free,
                birth: born,
                bytes: size_of::<Value>(),
            };
            // SAFETY: the only word that held it has been overwritten.
            assert!(unsafe { update.retire(retired) }.is_ok());
        }
        born = birth;
        if update.reap_due() {
            domain.reap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|r| r.join().unwrap());
    // SAFETY: nobody is left.
    unsafe { free(word.load(Ordering::Relaxed).cast()) };
}

#[test]
fn a_structure_runs_over_any_reclamation() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    replace_while_others_read(&Arc::new(domain.clone()), &mut updater);
    updater.rcu_barrier();
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);

    let collector = Collector::new();
    let mut update = EpochUpdate(collector.clone());
    replace_while_others_read(&Arc::new(Epochs(collector)), &mut update);
}
