//! Publishing and reading, and the reuse of nodes, under the interleavings and reorderings that
//! loom tries: those of at most three preemptions, and of them not all, as loom 0.7 knows one last
//! access of each atomic. Run by `ci/gate/loom.sh`.

#![cfg(loom)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::ptr::NonNull;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use maple_tree::{DefaultLock, Entry, MapleTree};
use vmaple_rcu::{Fences, RcuDomain};

/// An entry's object, not freed but marked; the cell reports every access to loom.
struct Object {
    number: u32,
    birth: std::sync::atomic::AtomicU64,
    freed: UnsafeCell<bool>,
}

/// A pointer to an object that the model keeps.
struct Marked(&'static Object);

// SAFETY: that is under test; loom watches the cell.
unsafe impl Send for Marked {}
// SAFETY: as above.
unsafe impl Sync for Marked {}

fn object(number: u32) -> &'static Object {
    Box::leak(Box::new(Object {
        number,
        birth: std::sync::atomic::AtomicU64::new(0),
        freed: UnsafeCell::new(false),
    }))
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.0.freed.with_mut(|freed| {
            // SAFETY: loom checks that no other thread accesses it.
            unsafe { *freed = true };
        });
    }
}

/// Returns the number of an object that is not freed.
fn read(object: &Object) -> u32 {
    object.freed.with(|freed| {
        // SAFETY: loom checks that no thread writes.
        assert!(!unsafe { *freed }, "read after it was freed");
    });
    object.number
}

// SAFETY: a pointer to an object that is never freed.
unsafe impl Entry for Marked {
    type Stamp = ();
    type Borrowed<'a> = &'static Object;
    const BYTES: usize = 8;

    fn into_raw(self) -> NonNull<()> {
        let raw = NonNull::from(self.0).cast();
        std::mem::forget(self);
        raw
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: from `into_raw`.
        Self(unsafe { raw.cast().as_ref() })
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> Self::Borrowed<'a> {
        // SAFETY: from `into_raw`.
        unsafe { raw.cast().as_ref() }
    }

    unsafe fn note_birth(raw: NonNull<()>, birth: u64) {
        // SAFETY: from `into_raw`.
        unsafe { Self::borrow(raw) }
            .birth
            .store(birth, std::sync::atomic::Ordering::Relaxed);
    }

    unsafe fn birth(raw: NonNull<()>, (): ()) -> u64 {
        // SAFETY: from `into_raw`.
        unsafe { Self::borrow(raw) }
            .birth
            .load(std::sync::atomic::Ordering::Relaxed)
    }
}

type Tree<E> = MapleTree<E, RcuDomain, DefaultLock, 3>;

/// Runs both in threads of their own: loom explores the main thread less fully.
fn beside(reader: impl FnOnce() + 'static, writer: impl FnOnce() + 'static) {
    let both = [thread::spawn(reader), thread::spawn(writer)];
    both.into_iter().for_each(|thread| thread.join().unwrap());
}

fn tree<E: Entry>() -> Arc<Tree<E>> {
    let (domain, updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
    Arc::new(Tree::with_rcu(domain, updater).unwrap())
}

/// A writer moves an entry from one place to another in one transaction: a reader finds it at one
/// of them.
#[test]
fn a_reader_finds_one_whole_version_and_nothing_that_is_freed() {
    loom::model(|| {
        let tree = tree::<Marked>();
        tree.insert(10, Marked(object(0))).unwrap();
        let reader = tree.owned_reader().unwrap();
        let writers = Arc::clone(&tree);
        beside(
            move || {
                let view = reader.read_lock();
                let found = [view.load(10), view.load(20)].map(|held| held.map(read));
                assert!(found[0].is_some() != found[1].is_some(), "{found:?}");
                // Once more: it must stay, not only have been there.
                assert_eq!([view.load(10), view.load(20)].map(|held| held.map(read)), found);
            },
            move || {
                let mut write = writers.write();
                write.erase(10).unwrap();
                write.insert(20, Marked(object(1))).unwrap();
                write.commit();
                // SAFETY: it stays in its place.
                unsafe { write.updater() }.flush();
                drop(write);
                writers.rcu().reap();
            },
        );
    });
}

/// A writer replaces an entry twice. The second time it may take the node that it replaced the
/// first time, if no section has found that. Loom watches the nodes.
#[test]
fn a_node_is_used_anew_only_when_no_section_has_found_it() {
    loom::model(|| {
        let tree = tree::<u32>();
        // So that no writer brings fresh nodes, which it would take first.
        tree.reserve(100).unwrap();
        tree.insert(10, 0).unwrap();
        let reader = tree.owned_reader().unwrap();
        let writers = Arc::clone(&tree);
        beside(
            move || {
                let view = reader.read_lock();
                assert!(view.load(10).is_some_and(|number| number < 3));
            },
            move || {
                for number in [1, 2] {
                    writers.replace(10, number).unwrap();
                }
            },
        );
    });
}
