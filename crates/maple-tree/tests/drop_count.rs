//! Every value is dropped once, none early.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use maple_tree::{ArcBorrow, DefaultLock, Entry, MapleTree};
use vmaple_rcu::{RcuBox, RcuDomain};

type Tree<E> = MapleTree<E, RcuDomain, DefaultLock, 4>;

/// A value that counts its drops, and knows whether it is alive.
struct Value {
    alive: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

impl Value {
    fn new(dropped: &Arc<AtomicUsize>) -> Self {
        Self {
            alive: AtomicUsize::new(1),
            dropped: Arc::clone(dropped),
        }
    }

    fn check(&self) {
        assert_eq!(self.alive.load(Ordering::Relaxed), 1, "read after its drop");
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.alive.swap(0, Ordering::Relaxed), 1, "dropped twice");
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Inserts, replaces and erases at random, with readers in open sections, and counts.
fn churn<E: Entry>(make: impl Fn(Value) -> E, check: impl Fn(E::Borrowed<'_>)) {
    let seed = std::env::var("VMAPLE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("VMAPLE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut made = 0;
    let tree = Tree::<E>::new().unwrap();
    let readers: Vec<_> = (0..3).map(|_| tree.reader().unwrap()).collect();
    let mut guards: Vec<_> = readers.iter().map(|reader| Some(reader.read_lock())).collect();
    let mut snapshot = None;
    let (steps, for_each_snapshot) = if cfg!(miri) { (60, 20) } else { (20_000, 100) };
    for step in 0..steps {
        let first = random.u64(..400);
        let mut write = tree.write();
        for _ in 0..random.usize(1..4) {
            made += 1;
            let value = make(Value::new(&dropped));
            match random.u32(..4) {
                0 => drop(write.insert_range(first..first + 4, value)),
                1 => drop(write.replace(first, value)),
                2 => {
                    drop(value);
                    if let Some((_, taken)) = write.erase(first).unwrap() {
                        check(taken);
                    }
                }
                _ => drop(write.alloc_range(3, first.., 2, value)),
            }
        }
        // One in four is undone.
        if random.u32(..4) > 0 {
            write.commit();
        }
        drop(write);
        let i = random.usize(..3);
        if let Some(view) = guards[i].take() {
            view.iter().for_each(|(_, value)| check(value));
        }
        guards[i] = Some(readers[i].read_lock());
        if step % for_each_snapshot == 0 {
            snapshot = Some(tree.snapshot().unwrap());
        }
    }
    snapshot
        .iter()
        .flat_map(|snapshot| snapshot.iter())
        .for_each(|(_, value)| check(value));
    drop(guards);
    drop(readers);
    let live = tree.snapshot().unwrap().iter().count();
    assert!(
        dropped.load(Ordering::Relaxed) <= made - live,
        "a value of the tree was dropped"
    );
    // The tree goes before the snapshot, which keeps its values.
    drop(tree);
    snapshot
        .iter()
        .flat_map(|snapshot| snapshot.iter())
        .for_each(|(_, value)| check(value));
    drop(snapshot);
    assert_eq!(dropped.load(Ordering::Relaxed), made);
}

#[test]
fn boxes_are_dropped_once() {
    churn::<Box<Value>>(Box::new, Value::check);
}

#[test]
fn boxes_with_a_place_for_their_birth_are_dropped_once() {
    churn::<RcuBox<Value>>(|value| RcuBox::new(value).unwrap(), Value::check);
}

#[test]
fn arcs_are_dropped_once_and_can_be_kept() {
    churn::<Arc<Value>>(Arc::new, |value| ArcBorrow::to_arc(value).check());
}

#[test]
fn cut_arcs_are_counted() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let tree = Tree::<Arc<Value>>::new().unwrap();
    let value = Arc::new(Value::new(&dropped));
    tree.store_range(0..100, Arc::clone(&value)).unwrap();
    for i in 1..10 {
        tree.erase_range(i * 10..i * 10 + 2).unwrap();
    }
    let copy = MapleTree::<Arc<Value>>::dup(&tree.snapshot().unwrap()).unwrap();
    assert_eq!(Arc::strong_count(&value), 1 + 10 + 10);
    drop(copy);
    tree.store_range(.., Arc::new(Value::new(&dropped))).unwrap();
    drop(tree);
    assert_eq!((Arc::strong_count(&value), dropped.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn cut_boxes_are_cloned() {
    let tree = Tree::<Box<String>>::new().unwrap();
    tree.store_range(0..100, Box::new("old".to_owned())).unwrap();
    tree.store_range(40..60, Box::new("new".to_owned())).unwrap();
    let view = tree.snapshot().unwrap();
    let found: Vec<_> = view.iter().map(|(range, name)| (range, name.as_str())).collect();
    assert_eq!(found, [(0..=39, "old"), (40..=59, "new"), (60..=99, "old")]);
    let nothing = Tree::<Box<()>>::new().unwrap();
    nothing.store_range(.., Box::new(())).unwrap();
    nothing.erase(5).unwrap();
    nothing.store_range(.., Box::new(())).unwrap();
    nothing.erase_range(7..9).unwrap();
    assert_eq!(nothing.snapshot().unwrap().iter().count(), 2);
}

#[test]
fn a_frozen_reader_keeps_values_that_were_there_and_no_later_ones() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let tree = MapleTree::<Box<Value>>::new().unwrap();
    for i in 0..100 {
        tree.insert(i, Box::new(Value::new(&dropped))).unwrap();
    }
    let reader = tree.reader().unwrap();
    let frozen = reader.read_lock();
    // Miri looks for what is read after it is freed, not at how much is kept.
    const CHURN: usize = if cfg!(miri) { 200 } else { 100_000 };
    for i in 0..CHURN {
        tree.replace(i as u64 % 100, Box::new(Value::new(&dropped))).unwrap();
    }
    frozen.iter().for_each(|(_, value)| value.check());
    let kept = CHURN - dropped.load(Ordering::Relaxed);
    // What was there, and what is in flight.
    assert!((100..1_000).contains(&kept), "{kept} values kept");
    let stats = tree.rcu().stats();
    assert!(
        stats.peak_deferred_bytes < 1 << 20,
        "{} bytes",
        stats.peak_deferred_bytes
    );
}
