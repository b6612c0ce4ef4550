//! The promises of a domain, on real threads.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vmaple_rcu::{Fences, RcuBox, RcuDomain, RcuPtr, Updater};

/// Counts its drops.
struct Counted {
    dropped: Arc<AtomicUsize>,
    _ballast: [u64; 30],
}

fn counted(dropped: &Arc<AtomicUsize>) -> RcuBox<Counted> {
    let value = Counted {
        dropped: Arc::clone(dropped),
        _ballast: [0; 30],
    };
    RcuBox::new(value).unwrap()
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns both kinds of fences, where there are two.
fn each(test: impl Fn(RcuDomain, Updater)) {
    for fences in [Fences::Symmetric, Fences::cheapest_for_readers()] {
        let (domain, updater) = RcuDomain::with_fences(fences).unwrap();
        test(domain, updater);
    }
}

fn assign<T: Send + Sync + 'static>(ptr: &RcuPtr<T>, updater: &mut Updater, new: RcuBox<T>) {
    assert!(ptr.assign(updater, Some(new)).is_ok());
}

#[test]
fn an_object_stays_while_a_guard_holds_it_and_goes_after() {
    each(|domain, mut updater| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let ptr = RcuPtr::null(&domain);
        assign(&ptr, &mut updater, counted(&dropped));
        let reader = domain.reader().unwrap();
        let guard = reader.read_lock();
        let held = ptr.dereference(&guard).unwrap();
        assign(&ptr, &mut updater, counted(&dropped));
        updater.flush();
        while domain.reap() {}
        assert_eq!(
            (dropped.load(Ordering::Relaxed), held.dropped.load(Ordering::Relaxed)),
            (0, 0)
        );
        drop(guard);
        while domain.reap() {}
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert_eq!(domain.stats().freed_objects, 1);
    });
}

#[test]
fn sections_nest_and_the_outermost_counts() {
    each(|domain, mut updater| {
        let ptr = RcuPtr::null(&domain);
        assign(&ptr, &mut updater, RcuBox::new(1).unwrap());
        let reader = domain.reader().unwrap();
        let outer = reader.read_lock();
        let inner = reader.read_lock();
        let held = ptr.dereference(&inner).unwrap();
        assert_eq!(*held, 1);
        drop(inner);
        assign(&ptr, &mut updater, RcuBox::new(2).unwrap());
        updater.flush();
        while domain.reap() {}
        assert_eq!(domain.stats().deferred_objects, 1);
        assert_eq!(domain.stats().readers_inside, 1);
        drop(outer);
        while domain.reap() {}
        assert_eq!(domain.stats().deferred_objects, 0);
    });
}

#[test]
fn a_frozen_reader_holds_what_was_live_and_no_more() {
    const LIVE: usize = 100;
    const RETIRED: usize = 10_000_000;
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptrs: Vec<RcuPtr<[u64; 30]>> = (0..LIVE).map(|_| RcuPtr::null(&domain)).collect();
    let new = || RcuBox::new([7; 30]).unwrap();
    for ptr in &ptrs {
        assign(ptr, &mut updater, new());
    }
    let reader = domain.reader().unwrap();
    let guard = reader.read_lock();
    let held = ptrs[0].dereference(&guard).unwrap();
    let object = size_of::<[u64; 30]>() + 8;
    // What was live, what was born in the era of the entry, and what is in flight: four blocks and
    // an open one.
    let bound = (object * (LIVE + 64 + 5 * 63)) as u64;
    let mut most = 0;
    for i in 0..RETIRED {
        assign(&ptrs[i % LIVE], &mut updater, new());
        if updater.reap_due() {
            domain.reap();
            most = most.max(domain.stats().deferred_bytes);
        }
    }
    assert!(most <= bound, "{most} bytes deferred, the bound is {bound}");
    assert!(domain.stats().freed_objects > RETIRED as u64 - 1_000);
    assert!(domain.stats().oldest_section_eras > 100_000);
    assert_eq!(held, &[7; 30]);
    drop(guard);
    updater.rcu_barrier();
    assert_eq!(domain.stats().deferred_objects, 0);
}

#[test]
fn what_is_pinned_is_told_by_the_reader_that_pins_it() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptrs: Vec<RcuPtr<u64>> = (0..200).map(|_| RcuPtr::null(&domain)).collect();
    for ptr in &ptrs {
        assign(ptr, &mut updater, RcuBox::new(1).unwrap());
    }
    let (idle, inside) = (domain.reader().unwrap(), domain.reader().unwrap());
    let guard = inside.read_lock();
    let since = domain.stats().era;
    for ptr in &ptrs {
        assert!(ptr.assign(&mut updater, None).is_ok());
    }
    updater.flush();
    domain.reap();
    let of = |id| domain.reader_stats().find(|reader| reader.id == id).unwrap();
    let (pinning, not) = (of(inside.id()), of(idle.id()));
    assert_eq!((pinning.pinned_objects, pinning.since_era), (200, Some(since)));
    assert_eq!(pinning.pinned_bytes, domain.stats().deferred_bytes);
    assert_eq!((not.pinned_objects, not.since_era), (0, None));
    drop(guard);
    domain.reap();
    assert_eq!((of(inside.id()).pinned_objects, of(inside.id()).pinned_bytes), (0, 0));
    assert_eq!(domain.stats().deferred_objects, 0);
}

#[test]
fn an_owned_section_keeps_what_was_there_wherever_it_goes() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let ptr = RcuPtr::null(&domain);
    assign(&ptr, &mut updater, counted(&dropped));
    let reader = domain.reader().unwrap();
    let id = reader.id();
    let (section, ()) = reader.read_lock_owned(|| ());
    assert_eq!(section.reader_id(), id);
    assert!(ptr.assign(&mut updater, None).is_ok());
    updater.flush();
    domain.reap();
    assert_eq!((dropped.load(Ordering::Relaxed), domain.stats().readers_inside), (0, 1));
    std::thread::spawn(move || drop(section)).join().unwrap();
    domain.reap();
    assert_eq!((dropped.load(Ordering::Relaxed), domain.stats().readers), (1, 0));
}

#[test]
fn births_alone_advance_the_era() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptrs: Vec<RcuPtr<u64>> = (0..100_000).map(|_| RcuPtr::null(&domain)).collect();
    let reader = domain.reader().unwrap();
    let guard = reader.read_lock();
    ptrs[0].dereference(&guard);
    for ptr in &ptrs {
        assign(ptr, &mut updater, RcuBox::new(1).unwrap());
    }
    // None of them was there when the reader stopped, except those born in the same era.
    for ptr in &ptrs {
        assert!(ptr.assign(&mut updater, None).is_ok());
    }
    updater.flush();
    while domain.reap() {}
    assert!(domain.stats().deferred_objects <= 64, "{:?}", domain.stats());
}

#[test]
fn a_reader_that_wakes_and_extends_holds_one_more_live_set_each_time() {
    const LIVE: usize = 100;
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptrs: Vec<RcuPtr<[u64; 30]>> = (0..LIVE).map(|_| RcuPtr::null(&domain)).collect();
    let mut churn = |rounds: usize| {
        for i in 0..rounds * LIVE {
            assign(&ptrs[i % LIVE], &mut updater, RcuBox::new([7; 30]).unwrap());
            if updater.reap_due() {
                while domain.reap() {}
            }
        }
    };
    churn(1);
    let reader = domain.reader().unwrap();
    let guard = reader.read_lock();
    let object = size_of::<[u64; 30]>() + 8;
    for wakes in 0..20 {
        ptrs[wakes % LIVE].dereference(&guard).unwrap();
        churn(50);
        // Each extension holds what is live, two eras, and what is in flight.
        let bound = object * (wakes + 1) * (LIVE + 2 * 64 + 5 * 63);
        let deferred = domain.stats().deferred_bytes;
        assert!(
            deferred <= bound as u64,
            "{deferred} bytes after {wakes} wakes, the bound is {bound}"
        );
    }
}

#[test]
fn a_thread_that_ends_inside_of_a_section_holds_nothing_any_more() {
    each(|domain, mut updater| {
        let ptr = Arc::new(RcuPtr::null(&domain));
        assign(&ptr, &mut updater, RcuBox::new(1).unwrap());
        let (reader, own) = (domain.reader().unwrap(), Arc::clone(&ptr));
        let thread = std::thread::spawn(move || {
            let guard = reader.read_lock();
            assert_eq!(own.dereference(&guard), Some(&1));
            std::mem::forget(guard);
        });
        thread.join().unwrap();
        let panicking = {
            let (domain, ptr) = (domain.clone(), Arc::clone(&ptr));
            std::thread::spawn(move || domain.read(|guard| panic!("on purpose, at {:?}", ptr.dereference(guard))))
        };
        assert!(panicking.join().is_err());
        assign(&ptr, &mut updater, RcuBox::new(2).unwrap());
        updater.rcu_barrier();
        assert_eq!((domain.stats().deferred_objects, domain.stats().readers_inside), (0, 0));
        assert_eq!(domain.stats().readers, 0);
    });
}

#[test]
fn a_thread_finds_its_own_reader_again() {
    each(|domain, mut updater| {
        let ptr = RcuPtr::null(&domain);
        assign(&ptr, &mut updater, RcuBox::new(1).unwrap());
        let sum = domain.read(|outer| {
            let inner = domain.read(|inner| *ptr.dereference(inner).unwrap()).unwrap();
            *ptr.dereference(outer).unwrap() + inner
        });
        assert_eq!((sum, domain.stats().readers), (Ok(2), 1));
    });
}

#[test]
fn slots_are_reused_and_their_number_has_no_limit() {
    let (domain, _updater) = RcuDomain::new().unwrap();
    let many: Vec<_> = (0..1000).map(|_| domain.reader().unwrap()).collect();
    assert_eq!(domain.stats().readers, 1000);
    let guards: Vec<_> = many.iter().map(|r| r.read_lock()).collect();
    assert_eq!(domain.stats().readers_inside, 1000);
    drop(guards);
    drop(many);
    let again: Vec<_> = (0..1000).map(|_| domain.reader().unwrap()).collect();
    assert_eq!((domain.stats().readers, again.len()), (1000, 1000));
}

#[test]
fn a_dropped_domain_frees_everything_once() {
    each(|domain, mut updater| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let ptr = RcuPtr::null(&domain);
        for _ in 0..1000 {
            assign(&ptr, &mut updater, counted(&dropped));
        }
        let reader = domain.reader().unwrap();
        let guard = reader.read_lock();
        ptr.dereference(&guard);
        assign(&ptr, &mut updater, counted(&dropped));
        drop(updater);
        drop(domain);
        // All but the one that the guard may hold, and the one that the pointer owns.
        assert!((999 - 64..=1000).contains(&dropped.load(Ordering::Relaxed)));
        drop(guard);
        drop(reader);
        assert_eq!(dropped.load(Ordering::Relaxed), 1000);
        drop(ptr);
        assert_eq!(dropped.load(Ordering::Relaxed), 1001);
    });
}

#[test]
fn many_readers_in_different_eras_are_parked_apart() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    let readers: Vec<_> = (0..100).map(|_| domain.reader().unwrap()).collect();
    let mut guards = Vec::new();
    for (i, reader) in readers.iter().enumerate() {
        for j in 0..200_usize {
            assign(&ptr, &mut updater, RcuBox::new((i, j)).unwrap());
            if updater.reap_due() {
                domain.reap();
            }
        }
        let guard = reader.read_lock();
        ptr.dereference(&guard).unwrap();
        guards.push(guard);
    }
    updater.flush();
    while domain.reap() {}
    // Each holds the object that it found and what was born in the era of its entry.
    assert!(domain.stats().deferred_objects <= 100 * 65);
    // They leave in an order of their own; what only one held goes with it.
    let mut before = domain.stats().deferred_objects;
    while !guards.is_empty() {
        drop(guards.swap_remove(guards.len() / 2));
        while domain.reap() {}
        let now = domain.stats().deferred_objects;
        assert!(now <= before);
        before = now;
    }
    assert_eq!(before, 0);
}

#[test]
#[should_panic(expected = "a guard of another domain")]
fn a_guard_of_another_domain_is_refused() {
    let (domain, _updater) = RcuDomain::new().unwrap();
    let (other, _other_updater) = RcuDomain::new().unwrap();
    let ptr: RcuPtr<u32> = RcuPtr::null(&domain);
    let reader = other.reader().unwrap();
    let guard = reader.read_lock();
    ptr.dereference(&guard);
}

#[test]
#[should_panic(expected = "a guard of another domain")]
fn a_domain_in_the_place_of_a_dropped_one_is_another() {
    let (domain, updater) = RcuDomain::new().unwrap();
    let ptr: RcuPtr<u32> = RcuPtr::null(&domain);
    drop((domain, updater));
    // Most likely at the same address.
    let (other, _other_updater) = RcuDomain::new().unwrap();
    let reader = other.reader().unwrap();
    ptr.dereference(&reader.read_lock());
}

#[test]
fn a_root_that_is_loaded_again_keeps_what_inner_sections_hold() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    let dropped = Arc::new(AtomicUsize::new(0));
    assign(&ptr, &mut updater, counted(&dropped));
    let reader = domain.reader().unwrap();
    let mut inner = Vec::new();
    let (guard, ()) = reader.read_lock_at(|| {
        if inner.is_empty() {
            inner.push(reader.read_lock());
            assert!(ptr.dereference(&inner[0]).is_some());
            assert!(ptr.assign(&mut updater, None).is_ok());
            updater.birth(64 << 10); // the era moves, so this load is done again
        }
    });
    updater.flush();
    while domain.reap() {}
    assert_eq!(dropped.load(Ordering::Relaxed), 0, "freed under the inner section");
    drop((inner, guard));
    updater.rcu_barrier();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn what_an_idle_writer_has_flushed_is_not_held_by_readers_that_come_later() {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    assign(&ptr, &mut updater, RcuBox::new(1).unwrap());
    assert!(ptr.assign(&mut updater, None).is_ok());
    updater.flush();
    let reader = domain.reader().unwrap();
    let _guard = reader.read_lock();
    while domain.reap() {}
    assert_eq!(domain.stats().deferred_objects, 0);
}

#[test]
fn the_last_user_frees_everything_whatever_readers_threads_keep() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    assign(&ptr, &mut updater, counted(&dropped));
    domain
        .read(|guard| {
            ptr.dereference(guard);
            assert!(ptr.assign(&mut updater, None).is_ok());
            drop(updater);
        })
        .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop(domain);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    // This thread drops its reader of the other domain.
    let (other, _updater) = RcuDomain::new().unwrap();
    assert_eq!(other.read(|_| other.stats().readers_inside), Ok(1));
}

#[test]
fn what_waits_for_a_reader_that_is_gone_is_freed() {
    each(|domain, mut updater| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let ptrs: Vec<_> = (0..300).map(|_| RcuPtr::null(&domain)).collect();
        for ptr in &ptrs {
            assign(ptr, &mut updater, counted(&dropped));
        }
        let readers: Vec<_> = (0..100).map(|_| domain.reader().unwrap()).collect();
        let guards: Vec<_> = readers.iter().map(|reader| reader.read_lock()).collect();
        for ptr in &ptrs {
            assert!(ptr.assign(&mut updater, None).is_ok());
        }
        updater.flush();
        while domain.reap() {}
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        drop(guards);
        drop(readers);
        assert_eq!(domain.stats().readers, 0);
        while domain.reap() {}
        assert_eq!(dropped.load(Ordering::Relaxed), 300);
    });
}

#[test]
fn a_value_whose_drop_panics_keeps_no_other_from_being_freed() {
    struct Panics(bool);
    impl Drop for Panics {
        fn drop(&mut self) {
            assert!(!self.0, "on purpose");
        }
    }
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    for i in 0..100 {
        assign(&ptr, &mut updater, RcuBox::new(Panics(i == 50)).unwrap());
    }
    updater.flush();
    let reap = || while domain.reap() {};
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(reap)).is_err());
    while domain.reap() {}
    updater.rcu_barrier();
    assert_eq!(domain.stats().deferred_objects, 0);
}
