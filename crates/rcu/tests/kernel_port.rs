//! The example of a kernel's own RCU keeps the contract of `Reclaim`: users will copy it.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "../examples/kernel_port.rs"]
#[allow(dead_code)] // its main
mod kernel_port;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use kernel_port::{Callbacks, KernelRcu};
use vmaple_rcu::{Reclaim, Retired, Section, Update};

/// The example has one epoch for all: one test at a time.
static ONE: Mutex<()> = Mutex::new(());
static FREED: AtomicUsize = AtomicUsize::new(0);

unsafe fn free(object: *mut ()) {
    FREED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: from Box::into_raw, freed once.
    drop(unsafe { Box::from_raw(object.cast::<AtomicU64>()) });
}

/// Replaces the object of `word`.
fn replace(word: &AtomicPtr<AtomicU64>, callbacks: &mut Callbacks, value: u64) {
    let new = Box::into_raw(Box::new(AtomicU64::new(value)));
    let old = word.swap(new, Ordering::AcqRel);
    let retired = Retired {
        object: old.cast(),
        free,
        birth: 0,
        bytes: 8,
    };
    // SAFETY: the only word that held it has been overwritten.
    unsafe { callbacks.retire(retired) }.unwrap();
}

fn load(section: &impl Section, word: &AtomicPtr<AtomicU64>) -> u64 {
    let value = section.protect(|| word.load(Ordering::Acquire));
    // SAFETY: protected by the section.
    unsafe { &*value }.load(Ordering::Relaxed)
}

#[test]
fn sections_nest_and_end_in_any_order() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut callbacks = Callbacks::default();
    let word = AtomicPtr::new(Box::into_raw(Box::new(AtomicU64::new(1))));
    let before = FREED.load(Ordering::Relaxed);
    let outer = KernelRcu::read_lock(&());
    let held = outer.protect(|| word.load(Ordering::Acquire));
    let inner = KernelRcu::read_lock(&());
    drop(outer); // the outer first
    drop(KernelRcu::read_lock(&())); // and one that comes and goes
    replace(&word, &mut callbacks, 2);
    assert_eq!(
        FREED.load(Ordering::Relaxed),
        before,
        "freed under the section that is left"
    );
    // SAFETY: a section has been open since before it was found.
    assert_eq!(unsafe { &*held }.load(Ordering::Relaxed), 1);
    drop(inner);
    replace(&word, &mut callbacks, 3);
    assert_eq!(FREED.load(Ordering::Relaxed), before + 2);
    // SAFETY: no reader is left.
    unsafe { free(word.load(Ordering::Relaxed).cast()) };
}

#[test]
fn readers_of_several_cpus_keep_what_they_hold() {
    const ROUNDS: u64 = if cfg!(miri) { 12 } else { 20_000 };
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut callbacks = Callbacks::default();
    let word = AtomicPtr::new(Box::into_raw(Box::new(AtomicU64::new(0))));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let outer = KernelRcu::read_lock(&());
                    let held = outer.protect(|| word.load(Ordering::Acquire));
                    // SAFETY: protected by the section.
                    let before = unsafe { &*held }.load(Ordering::Relaxed);
                    let inner = KernelRcu::read_lock(&());
                    drop(outer);
                    assert!(load(&inner, &word) >= before);
                    // SAFETY: a section has been open since it was found.
                    assert_eq!(unsafe { &*held }.load(Ordering::Relaxed), before);
                }
            });
        }
        for value in 1..ROUNDS {
            replace(&word, &mut callbacks, value);
        }
        over.store(true, Ordering::Relaxed);
    });
    replace(&word, &mut callbacks, ROUNDS);
    assert!(callbacks.0.is_empty());
    // SAFETY: no reader is left.
    unsafe { free(word.load(Ordering::Relaxed).cast()) };
}
