//! The example that embedders copy, unchanged: an RCU of their own must not free what a section
//! has found. Miri, which shows stores late, runs this with many seeds (`ci/deep/miri.sh`).

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "../examples/in_a_kernel.rs"]
#[allow(dead_code)] // its `main`
mod in_a_kernel;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use in_a_kernel::{Callbacks, KernelRcu, SpinLock};
use maple_tree::{MapleTree, ReadGuard};

type Tree = MapleTree<Box<Value>, KernelRcu, SpinLock, 3>;

/// A value that marks and counts its end.
struct Value {
    number: AtomicU64,
    dropped: &'static AtomicUsize,
}

impl Value {
    fn boxed(number: u64, dropped: &'static AtomicUsize) -> Box<Self> {
        let number = AtomicU64::new(number);
        Box::new(Self { number, dropped })
    }

    fn read(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.number.store(u64::MAX, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn tree() -> Tree {
    Tree::with_rcu(KernelRcu, Callbacks(Vec::new())).unwrap()
}

/// Sections are counted for all trees, so the tests take turns.
fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn what_a_section_has_found_stays_beside_a_writer() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    let _turn = turn();
    let (writes, reads) = if cfg!(miri) { (12, 40) } else { (20_000, 20_000) };
    let tree = tree();
    tree.insert(1, Value::boxed(0, &DROPPED)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..writes {
                tree.replace(1, Value::boxed(i, &DROPPED)).unwrap();
            }
        });
        let reader = tree.reader().unwrap();
        let mut newest = 0;
        for _ in 0..reads {
            let view = reader.read_lock();
            let held = view.load(1).unwrap();
            let number = held.read();
            assert!(newest <= number && number < writes, "{newest}, then {number}");
            assert_eq!(held.read(), number);
            newest = number;
        }
    });
    drop(tree);
    assert_eq!(DROPPED.load(Ordering::Relaxed), writes as usize);
}

/// Sections of one reader that are open at once, ended in every order: what each has found stays
/// to its end.
#[test]
fn sections_nest_and_end_in_any_order() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    let _turn = turn();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let tree = tree();
        let reader = tree.reader().unwrap();
        tree.insert(1, Value::boxed(0, &DROPPED)).unwrap();
        DROPPED.store(0, Ordering::Relaxed);
        let mut open: [Option<ReadGuard<'_, _, _>>; 3] = [0, 1, 2].map(|i| {
            let guard = reader.read_lock();
            tree.replace(1, Value::boxed(i + 1, &DROPPED)).unwrap();
            Some(guard)
        });
        for ended in order {
            open[ended] = None;
            tree.replace(1, Value::boxed(9, &DROPPED)).unwrap();
            for (i, view) in open.iter().enumerate() {
                let found = view.as_ref().map(|view| view.load(1).unwrap().read());
                assert!(
                    found.is_none_or(|found| found == i as u64),
                    "{order:?}: {i} has {found:?}"
                );
            }
        }
        // No section is open any more: the next change frees all but what the tree holds.
        tree.replace(1, Value::boxed(9, &DROPPED)).unwrap();
        assert_eq!(DROPPED.load(Ordering::Relaxed), 7);
    }
}

#[test]
fn the_example_runs() {
    let _turn = turn();
    in_a_kernel::main().unwrap();
}
