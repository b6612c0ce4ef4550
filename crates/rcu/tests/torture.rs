//! In the manner of rcutorture: readers, an updater, freezers and short-lived threads on one
//! domain, over objects that are poisoned when they are freed. `VMAPLE_TORTURE_SECONDS` lengthens
//! it, `VMAPLE_SEED` repeats it; `ci/deep/long.sh torture`.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vmaple_rcu::{Fences, RcuDomain, Retired, Updater};

const POISON: u64 = 0xdead_dead_dead_dead;
const WORDS: usize = 16;

/// An object whose words are all equal while it lives. Freed ones go to a pool and come back with
/// another value. So a reader that holds one too long sees words that differ, poison, or another
/// generation.
struct Object {
    generation: AtomicU64,
    /// Plain memory, so that ThreadSanitizer sees a use after free as the race that it is.
    words: UnsafeCell<[u64; WORDS]>,
    next_free: AtomicPtr<Object>,
}

// SAFETY: the updater writes the words before publication, the reaper after the last reader: that
// is under test.
unsafe impl Sync for Object {}
// SAFETY: as above.
unsafe impl Send for Object {}

static FREE: AtomicPtr<Object> = AtomicPtr::new(std::ptr::null_mut());

unsafe fn poison(object: *mut ()) {
    // SAFETY: objects are never given back to the allocator while the test runs.
    let this = unsafe { &*object.cast::<Object>() };
    // SAFETY: no reader reads a freed object: that is under test.
    unsafe { *this.words.get() = [POISON; WORDS] };
    this.generation.store(POISON, Ordering::Relaxed);
    let mut head = FREE.load(Ordering::Relaxed);
    loop {
        this.next_free.store(head, Ordering::Relaxed);
        match FREE.compare_exchange(head, object.cast(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// All free objects; the taker owns them.
fn take_free() -> Vec<*mut Object> {
    let mut object = FREE.swap(std::ptr::null_mut(), Ordering::Acquire);
    let mut taken = Vec::new();
    while !object.is_null() {
        taken.push(object);
        // SAFETY: taken by the exchange.
        object = unsafe { (*object).next_free.load(Ordering::Relaxed) };
    }
    taken
}

fn check(object: *mut Object) -> u64 {
    // SAFETY: the section protects it: that is under test.
    let this = unsafe { &*object };
    let generation = this.generation.load(Ordering::Relaxed);
    // SAFETY: as above.
    let words = unsafe { &*this.words.get() };
    assert!(
        words.iter().all(|&w| w == generation),
        "torn or freed: {generation:#x} {words:x?}"
    );
    assert_ne!(generation, POISON, "freed");
    generation
}

fn torture(fences: Fences, seconds: f64, seed: u64) {
    println!("seed {seed}, {fences:?}");
    let (domain, mut updater) = RcuDomain::with_fences(fences).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let slots: Arc<Vec<AtomicPtr<Object>>> = Arc::new((0..64).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect());
    let mut threads = Vec::new();
    for id in 0..6_u64 {
        let (domain, stop, slots) = (domain.clone(), Arc::clone(&stop), Arc::clone(&slots));
        threads.push(std::thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed ^ (id << 32));
            let mut reader = domain.reader().unwrap();
            let mut sections = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                if rng.u32(..1000) == 0 {
                    reader = domain.reader().unwrap(); // another slot, perhaps a used one
                }
                let guard = reader.read_lock();
                let mut held = Vec::new();
                for _ in 0..rng.usize(1..6) {
                    let slot = &slots[rng.usize(..slots.len())];
                    let object = guard.protect(|| slot.load(Ordering::Acquire));
                    if !object.is_null() {
                        held.push((object, check(object)));
                    }
                    match (id, rng.u32(..2000)) {
                        (0, 0) => std::thread::sleep(Duration::from_millis(20)), // a freezer
                        (_, 0..20) => std::thread::yield_now(),
                        _ => {}
                    }
                }
                for (object, generation) in held {
                    assert_eq!(check(object), generation, "another object's life");
                }
                drop(guard);
                sections += 1;
            }
            sections
        }));
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut births = vec![0; slots.len()];
    let mut pool = Vec::new();
    let mut changes = 0_u64;
    while Instant::now() < end {
        for _ in 0..100 {
            change(&mut updater, &slots, &mut births, &mut pool, &mut rng, &mut changes);
            if updater.reap_due() {
                domain.reap();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let sections: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    for (i, slot) in slots.iter().enumerate() {
        let old = slot.swap(std::ptr::null_mut(), Ordering::Release);
        retire(&mut updater, old, births[i]);
    }
    updater.rcu_barrier();
    let stats = domain.stats();
    println!(
        "{changes} changes, {sections} sections, peak {} bytes deferred",
        stats.peak_deferred_bytes
    );
    assert_eq!(stats.deferred_objects, 0);
    assert!(sections > 0 && changes > 0);
    for object in pool.into_iter().chain(take_free()) {
        // SAFETY: all threads are gone; each object is in the pool or in the list, once.
        drop(unsafe { Box::from_raw(object) });
    }
}

fn retire(updater: &mut Updater, object: *mut Object, birth: u64) {
    if object.is_null() {
        return;
    }
    let retired = Retired {
        object: object.cast(),
        free: poison,
        birth,
        bytes: size_of::<Object>(),
    };
    // SAFETY: the only word that held it has been overwritten.
    unsafe { updater.retire(retired) }.unwrap();
}

fn change(
    updater: &mut Updater,
    slots: &[AtomicPtr<Object>],
    births: &mut [u64],
    pool: &mut Vec<*mut Object>,
    rng: &mut fastrand::Rng,
    changes: &mut u64,
) {
    *changes += 1;
    if pool.is_empty() {
        pool.append(&mut take_free());
    }
    let object = pool.pop().unwrap_or_else(|| {
        Box::into_raw(Box::new(Object {
            generation: AtomicU64::new(0),
            words: UnsafeCell::new([0; WORDS]),
            next_free: AtomicPtr::new(std::ptr::null_mut()),
        }))
    });
    // SAFETY: from the pool or new, so this thread's alone.
    let this = unsafe { &*object };
    // SAFETY: as above.
    unsafe { *this.words.get() = [*changes; WORDS] };
    this.generation.store(*changes, Ordering::Relaxed);
    let i = rng.usize(..slots.len());
    let birth = updater.birth(size_of::<Object>());
    let old = slots[i].swap(object, Ordering::Release);
    retire(updater, old, std::mem::replace(&mut births[i], birth));
}

/// One after the other: the pool of free objects is shared.
#[test]
fn no_reader_meets_a_freed_or_reused_object() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let seconds = number("VMAPLE_TORTURE_SECONDS").unwrap_or(2.0) / 2.0;
    let seed = number("VMAPLE_SEED").map_or_else(|| fastrand::u64(..1 << 50), |n| n as u64);
    torture(Fences::Symmetric, seconds, seed);
    torture(Fences::cheapest_for_readers(), seconds, seed);
}
