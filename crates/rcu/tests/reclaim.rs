//! One structure, written against the traits, over this crate's domain and over crossbeam-epoch.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod epochs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crossbeam_epoch::Collector;
use epochs::{EpochUpdate, Epochs};
use vmaple_rcu::{RcuDomain, Reclaim, Retired, Section, Update};

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

/// A value that a writer replaces and readers copy.
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
    // SAFETY: no reader is left.
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
