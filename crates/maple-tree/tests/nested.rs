//! `read` of one tree inside of `read` of another. Threads keep a reader of each tree that they
//! have read, and sometimes look for trees that are gone. That must pass over those that they are
//! inside of. Miri runs this with many seeds (`ci/deep/miri.sh`).

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::atomic::{AtomicBool, Ordering};

use maple_tree::MapleTree;

/// Other threads read the outer tree for the first time, and end, while this thread is inside of
/// it and reads inner trees for the first time.
#[test]
fn a_section_goes_on_while_trees_are_read_for_the_first_time_inside_of_it() {
    let (inner_trees, rounds) = if cfg!(miri) { (25, 1) } else { (60, 30) };
    let outer = MapleTree::<Box<u64>>::new().unwrap();
    outer.insert(1, Box::new(1)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let first_read = || outer.read(|view| assert!(view.load(1).is_some())).unwrap();
                    std::thread::scope(|scope| drop(scope.spawn(first_read)));
                }
            });
        }
        for round in 1..=rounds {
            outer
                .read(|view| {
                    let held: &u64 = view.load(1).unwrap();
                    for i in 0..inner_trees {
                        let inner = MapleTree::<u32>::new().unwrap();
                        inner.insert(5, i).unwrap();
                        assert_eq!(inner.read(|view| view.load(5)).unwrap(), Some(i));
                    }
                    // Enough that what was taken out is freed, if it may be.
                    (0..150).for_each(|i| outer.replace(1, Box::new(round + i)).map(drop).unwrap());
                    assert_eq!(*held, round);
                })
                .unwrap();
            outer.replace(1, Box::new(round + 1)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn sections_of_two_trees_nest_both_ways_and_in_themselves() {
    let [a, b] = [10, 20].map(|value| {
        let tree = MapleTree::<Box<u64>>::new().unwrap();
        tree.insert(1, Box::new(value)).unwrap();
        tree
    });
    let value = |tree: &MapleTree<Box<u64>>| tree.read(|view| *view.load(1).unwrap()).unwrap();
    a.read(|outer| {
        let held = outer.load(1).unwrap();
        b.read(|inner| {
            a.replace(1, Box::new(11)).unwrap();
            b.replace(1, Box::new(21)).unwrap();
            assert_eq!((value(&a), value(&b)), (11, 21));
            assert_eq!((*held, *inner.load(1).unwrap()), (10, 20));
        })
        .unwrap();
        drop(b);
        assert_eq!((*held, value(&a)), (10, 11));
    })
    .unwrap();
}
