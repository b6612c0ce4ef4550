//! Sections next to a writer that replaces what they read.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};
use vmaple_rcu::RcuDomain;

use crate::object::{Object, beside, child, clean, domain, free, free_or_retire, load, object, read, reap, retire};

/// A writer replaces the one object that a thread reads. `reading` is called before both begin,
/// its result in the reader's thread.
pub(crate) fn replaced_while_read<R: FnOnce(&AtomicPtr<Object>) + 'static>(
    reading: impl Fn(&RcuDomain) -> R + Send + Sync + 'static,
) {
    loom::model(move || {
        let (domain, mut updater) = domain();
        let objects = [object(), object()];
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(objects[0]));
        let (read, word) = (reading(&domain), Arc::clone(&root));
        let writer = move || {
            updater.birth(8);
            root.store(objects[1], Ordering::Release);
            retire(&mut updater, objects[0], born);
            reap(&mut updater);
            (updater, domain)
        };
        beside(writer, move || read(&word));
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
fn what_no_section_holds_may_be_freed_at_once() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (reader, word) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            free_or_retire(&mut updater, object, born);
            (updater, domain)
        };
        beside(writer, move || load(&reader, &word));
        clean(&[object]);
    });
}

#[test]
fn synchronize_rcu_waits_for_sections_that_are_open() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (reader, word) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            updater.synchronize_rcu();
            free(object);
            (updater, domain)
        };
        beside(writer, move || load(&reader, &word));
        clean(&[object]);
    });
}

/// A reader goes down from the root through table T to its child C, which is younger than the
/// reader's section, while a writer unlinks T and retires both.
fn young_child_in_an_unlinked_parent(rule_c: bool) {
    loom::model(move || {
        let (domain, mut updater) = domain();
        let [table, young] = [object(), object()];
        let table_born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(table));
        let (reader, word) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            let young_born = updater.birth(8);
            child(table).store(young, Ordering::Release);
            root.store(std::ptr::null_mut(), Ordering::Release);
            if rule_c {
                child(table).store(std::ptr::null_mut(), Ordering::Release);
            }
            retire(&mut updater, young, young_born);
            retire(&mut updater, table, table_born);
            reap(&mut updater);
            (updater, domain)
        };
        let reading = move || {
            let guard = reader.read_lock();
            let table = guard.protect(|| word.load(Ordering::Acquire));
            if table.is_null() {
                return;
            }
            let young = guard.protect(|| child(table).load(Ordering::Acquire));
            if !young.is_null() {
                read(young);
            }
        };
        beside(writer, reading);
        clean(&[table, young]);
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
