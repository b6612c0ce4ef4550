//! The protocol under every interleaving and every reordering that the memory model allows, at a size that loom can
//! exhaust: blocks of one record, an era for each object. Run by `ci/loom.sh`.

#![cfg(loom)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};
use loom::thread;
use vmaple_rcu::{Fences, RcuDomain, Reader, Retired, Updater};

const ALIVE: u32 = 1;
const FREED: u32 = 2;

/// An object that is not freed but marked, so that a use after free is found and not merely undefined. The cell tells
/// loom of every access: a mark that is not ordered after all readings is a failure of its own.
struct Object {
    state: UnsafeCell<u32>,
    child: AtomicPtr<Object>,
}

// SAFETY: what is under test; loom watches the cell.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

fn object() -> *mut Object {
    Box::into_raw(Box::new(Object {
        state: UnsafeCell::new(ALIVE),
        child: AtomicPtr::new(std::ptr::null_mut()),
    }))
}

unsafe fn mark(object: *mut ()) {
    // SAFETY: objects live until the end of the model.
    unsafe { &*object.cast::<Object>() }.state.with_mut(|state| {
        // SAFETY: loom checks that nobody else is at it.
        unsafe { *state = FREED };
    });
}

/// Reads an object that a section protects.
fn read(object: *mut Object) {
    // SAFETY: objects live until the end of the model.
    unsafe { &*object }.state.with(|state| {
        // SAFETY: loom checks that nobody writes.
        assert_eq!(unsafe { *state }, ALIVE, "read after it was freed");
    });
}

fn retire(updater: &mut Updater, object: *mut Object, birth: u64) {
    let retired = Retired {
        object: object.cast(),
        free: mark,
        birth,
        bytes: 8,
    };
    // SAFETY: each model says which rule it keeps, or breaks.
    unsafe { updater.retire(retired) }.unwrap();
}

fn reap(updater: &mut Updater, domain: &RcuDomain) {
    updater.flush();
    while domain.reap() {}
}

fn load(reader: &Reader, word: &AtomicPtr<Object>) {
    let guard = reader.read_lock();
    let object = guard.protect(|| word.load(Ordering::Acquire));
    if !object.is_null() {
        read(object);
        // Once more: it must stay, not only have been there.
        read(object);
    }
}

/// Frees what the objects of a model were made of.
fn clean(objects: &[*mut Object]) {
    for &object in objects {
        // SAFETY: the model is over, and all threads are joined.
        drop(unsafe { Box::from_raw(object) });
    }
}

struct Words([AtomicPtr<Object>; 2]);

/// A version that points to a part of it, and the version that replaces both: only the root's load is covered.
#[test]
fn one_covered_root_covers_all_of_its_version() {
    loom::model(|| {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let [root, part] = [object(), object()];
        let part_born = updater.birth(8);
        // SAFETY: objects live until the end of the model.
        unsafe { &(*root).child }.store(part, Ordering::Relaxed);
        let root_born = updater.birth(8);
        let word = Arc::new(AtomicPtr::new(root));
        let thread = {
            let (reader, word) = (domain.reader().unwrap(), Arc::clone(&word));
            thread::spawn(move || {
                let (_guard, root) = reader.read_lock_at(|| word.load(Ordering::Acquire));
                if root.is_null() {
                    return;
                }
                read(root);
                // SAFETY: objects live until the end of the model.
                read(unsafe { &(*root).child }.load(Ordering::Relaxed));
            })
        };
        word.store(std::ptr::null_mut(), Ordering::Release);
        retire(&mut updater, root, root_born);
        retire(&mut updater, part, part_born);
        reap(&mut updater, &domain);
        thread.join().unwrap();
        drop((updater, domain));
        clean(&[root, part]);
    });
}

/// A writer replaces the one object that a thread reads; `reading` is called in the writer's thread, what it returns in the
/// reader's.
fn replaced_while_read<R: FnOnce(&AtomicPtr<Object>) + 'static>(
    reading: impl Fn(&RcuDomain) -> R + Send + Sync + 'static,
) {
    loom::model(move || {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let objects = [object(), object()];
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(objects[0]));
        let thread = {
            let (read, root) = (reading(&domain), Arc::clone(&root));
            thread::spawn(move || read(&root))
        };
        updater.birth(8);
        root.store(objects[1], Ordering::Release);
        retire(&mut updater, objects[0], born);
        reap(&mut updater, &domain);
        thread.join().unwrap();
        drop((updater, domain));
        clean(&objects);
    });
}

#[test]
fn a_reader_keeps_what_a_writer_replaces() {
    replaced_while_read(|domain| {
        let reader = domain.reader().unwrap();
        move |root: &AtomicPtr<Object>| load(&reader, root)
    });
}

#[test]
fn an_interval_is_extended_before_a_younger_object_is_used() {
    loom::model(|| {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let objects = [object(), object()];
        let old = updater.birth(8);
        let words = Arc::new(Words([
            AtomicPtr::new(objects[0]),
            AtomicPtr::new(std::ptr::null_mut()),
        ]));
        let thread = {
            let (reader, words) = (domain.reader().unwrap(), Arc::clone(&words));
            thread::spawn(move || {
                let guard = reader.read_lock();
                let first = guard.protect(|| words.0[0].load(Ordering::Acquire));
                let second = guard.protect(|| words.0[1].load(Ordering::Acquire));
                for object in [first, second] {
                    if !object.is_null() {
                        read(object);
                    }
                }
            })
        };
        let young = updater.birth(8);
        words.0[1].store(objects[1], Ordering::Release);
        words.0[1].store(std::ptr::null_mut(), Ordering::Release);
        retire(&mut updater, objects[1], young);
        words.0[0].store(std::ptr::null_mut(), Ordering::Release);
        retire(&mut updater, objects[0], old);
        reap(&mut updater, &domain);
        thread.join().unwrap();
        drop((updater, domain));
        clean(&objects);
    });
}

#[test]
fn a_slot_that_is_reused_protects_its_new_reader() {
    replaced_while_read(|domain| {
        let domain = domain.clone();
        move |root: &AtomicPtr<Object>| {
            drop(domain.reader().unwrap());
            load(&domain.reader().unwrap(), root);
        }
    });
}

/// A reader goes down from the root through table T to its child C, which is younger than the reader's section, while a
/// writer unlinks T and retires both.
fn young_child_in_an_unlinked_parent(rule_c: bool) {
    loom::model(move || {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let [table, child] = [object(), object()];
        let table_born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(table));
        let thread = {
            let (reader, root) = (domain.reader().unwrap(), Arc::clone(&root));
            thread::spawn(move || {
                let guard = reader.read_lock();
                let table = guard.protect(|| root.load(Ordering::Acquire));
                if table.is_null() {
                    return;
                }
                // SAFETY: objects live until the end of the model.
                let word = unsafe { &(*table).child };
                let child = guard.protect(|| word.load(Ordering::Acquire));
                if !child.is_null() {
                    read(child);
                }
            })
        };
        // SAFETY: objects live until the end of the model.
        let word = unsafe { &(*table).child };
        let child_born = updater.birth(8);
        word.store(child, Ordering::Release);
        root.store(std::ptr::null_mut(), Ordering::Release);
        if rule_c {
            word.store(std::ptr::null_mut(), Ordering::Release);
        }
        retire(&mut updater, child, child_born);
        retire(&mut updater, table, table_born);
        reap(&mut updater, &domain);
        thread.join().unwrap();
        drop((updater, domain));
        clean(&[table, child]);
    });
}

#[test]
fn rule_c_keeps_a_young_child_in_an_unlinked_parent() {
    young_child_in_an_unlinked_parent(true);
}

#[test]
#[should_panic(expected = "Causality violation")] // loom names the unordered free before the mark is seen
fn without_rule_c_a_young_child_in_an_unlinked_parent_is_used_after_it_was_freed() {
    young_child_in_an_unlinked_parent(false);
}

#[test]
fn what_no_section_holds_may_be_freed_at_once() {
    loom::model(|| {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let thread = {
            let (domain, root) = (domain.clone(), Arc::clone(&root));
            // Registers only now: a slot may be claimed while the writer looks.
            thread::spawn(move || load(&domain.reader().unwrap(), &root))
        };
        root.store(std::ptr::null_mut(), Ordering::Release);
        if born > updater.held_until() {
            // SAFETY: no section is left that could have found it.
            unsafe { mark(object.cast()) };
        } else {
            retire(&mut updater, object, born);
        }
        thread.join().unwrap();
        drop((updater, domain));
        clean(&[object]);
    });
}

#[test]
fn synchronize_rcu_waits_for_sections_that_are_open() {
    loom::model(|| {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let object = object();
        updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let thread = {
            let (reader, root) = (domain.reader().unwrap(), Arc::clone(&root));
            thread::spawn(move || load(&reader, &root))
        };
        root.store(std::ptr::null_mut(), Ordering::Release);
        updater.synchronize_rcu();
        // SAFETY: no section is left that could have found it.
        unsafe { mark(object.cast()) };
        thread.join().unwrap();
        clean(&[object]);
    });
}
