//! `RcuDomain::read` inside of another domain's: threads' own readers are found, kept and dropped.
//! For Miri too, with many seeds (`ci/deep/miri.sh`): each is another order of the threads, with
//! other stores seen late.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vmaple_rcu::{RcuBox, RcuDomain, RcuPtr};

/// A domain with one value.
fn domain_of<T: Send + Sync + 'static>(value: T) -> (RcuDomain, vmaple_rcu::Updater, RcuPtr<T>) {
    let (domain, mut updater) = RcuDomain::new().unwrap();
    let ptr = RcuPtr::null(&domain);
    assert!(ptr.assign(&mut updater, Some(RcuBox::new(value).unwrap())).is_ok());
    (domain, updater, ptr)
}

/// Waits until `what` is true.
fn wait_for(what: impl Fn() -> bool) {
    while !what() {
        std::thread::yield_now();
    }
}

#[test]
fn a_section_stays_open_while_its_thread_reads_another_domain_for_the_first_time() {
    const OTHERS: usize = 2;
    let (outer, updater, ptr) = domain_of(7_u32);
    let (inner, _inner_updater) = RcuDomain::new().unwrap();
    let (inside, registered, over) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..OTHERS {
            scope.spawn(|| {
                wait_for(|| inside.load(Ordering::Relaxed));
                outer.read(|_| ()).unwrap(); // registers this thread's reader, while the other looks for domains to let go
                // Pairs with the load below: the reader then counts as outside.
                registered.fetch_add(1, Ordering::Release);
                wait_for(|| over.load(Ordering::Relaxed));
            });
        }
        let read = outer.read(|guard| {
            let held = ptr.dereference(guard).unwrap();
            inside.store(true, Ordering::Relaxed);
            wait_for(|| registered.load(Ordering::Acquire) == OTHERS);
            let nested = inner.read(|_| ());
            (nested, *held, outer.stats().readers_inside)
        });
        // A check that fails before this would wait for the others for ever.
        over.store(true, Ordering::Relaxed);
        let (nested, held, inside) = read.unwrap();
        nested.unwrap();
        assert_eq!((held, inside), (7, 1));
    });
    drop(updater);
}

/// Threads come and go, each with a reader of the outer domain. One thread is inside of a section
/// of it, and reads domains that come and go. A writer replaces what it holds.
#[test]
fn a_section_stays_open_beside_threads_and_domains_that_come_and_go() {
    const ROUNDS: usize = if cfg!(miri) { 1 } else { 200 };
    const INNER: usize = if cfg!(miri) { 12 } else { 64 };
    let (outer, updater, ptr) = domain_of([1_u64; 16]);
    let updater = Mutex::new(updater);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..if cfg!(miri) { 2 } else { 4 } {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::thread::scope(|scope| {
                        scope.spawn(|| outer.read(|_| std::thread::yield_now()).unwrap());
                    });
                }
            });
        }
        scope.spawn(|| {
            let mut n = 2;
            while !over.load(Ordering::Relaxed) {
                let mut updater = updater.lock().unwrap();
                assert!(ptr.assign(&mut updater, Some(RcuBox::new([n; 16]).unwrap())).is_ok());
                while updater.reap() {}
                drop(updater);
                n += 1;
                std::thread::yield_now();
            }
        });
        let mut rounds = vec![];
        for _ in 0..ROUNDS {
            let read = outer.read(|guard| {
                let held = ptr.dereference(guard).unwrap();
                let before = *held;
                for _ in 0..INNER {
                    let (inner, _inner_updater) = RcuDomain::new().unwrap();
                    inner.read(|_| ()).unwrap();
                }
                (before, *held, outer.stats().readers_inside)
            });
            rounds.push(read);
        }
        // A check that fails before this would wait for the others for ever.
        over.store(true, Ordering::Relaxed);
        for round in rounds {
            let (before, after, inside) = round.unwrap();
            assert_eq!((after, before[1]), (before, before[0]));
            assert!(inside > 0, "inside of a section that the domain does not know of");
        }
    });
}
