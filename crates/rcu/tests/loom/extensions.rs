//! Sections whose interval grows because the era has moved.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};

use crate::object::{Object, beside, clean, domain, free_or_retire, load, null, object, read, reap, retire};

/// Loads both words in one section, and reads their objects.
fn load_both(reader: &vmaple_rcu::Reader, words: &[AtomicPtr<Object>; 2]) {
    let guard = reader.read_lock();
    let found = [0, 1].map(|i| guard.protect(|| words[i].load(Ordering::Acquire)));
    for object in found {
        if !object.is_null() {
            read(object);
        }
    }
}

#[test]
fn an_interval_is_extended_before_a_younger_object_is_used() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let objects = [object(), object()];
        let old = updater.birth(8);
        let words = Arc::new([AtomicPtr::new(objects[0]), null()]);
        let (reader, loaded) = (domain.reader().unwrap(), Arc::clone(&words));
        let writer = move || {
            let young = updater.birth(8);
            words[1].store(objects[1], Ordering::Release);
            words[1].store(std::ptr::null_mut(), Ordering::Release);
            retire(&mut updater, objects[1], young);
            words[0].store(std::ptr::null_mut(), Ordering::Release);
            retire(&mut updater, objects[0], old);
            reap(&mut updater);
            (updater, domain)
        };
        beside(writer, move || load_both(&reader, &loaded));
        clean(&objects);
    });
}

#[test]
fn a_younger_object_is_freed_at_once_only_if_no_interval_has_been_extended_to_it() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let objects = [object(), object()];
        updater.birth(8);
        let words = Arc::new([AtomicPtr::new(objects[0]), null()]);
        let (reader, loaded) = (domain.reader().unwrap(), Arc::clone(&words));
        let writer = move || {
            let young = updater.birth(8);
            words[1].store(objects[1], Ordering::Release);
            words[1].store(std::ptr::null_mut(), Ordering::Release);
            free_or_retire(&mut updater, objects[1], young);
            reap(&mut updater);
            (updater, domain)
        };
        beside(writer, move || load_both(&reader, &loaded));
        clean(&objects);
    });
}

/// A reader has read, in an earlier section, an object that is freed while a later one is open.
/// Only the later one's announcement orders the free after the earlier section.
fn read_and_enter_again(enters_again: bool) {
    loom::model(move || {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (reader, word) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            retire(&mut updater, object, born);
            updater.reap();
            (updater, domain)
        };
        let reading = move || {
            load(&reader, &word);
            if enters_again {
                drop(reader.read_lock_at(|| word.load(Ordering::Acquire)));
            } else {
                drop(reader.read_lock());
            }
        };
        beside(writer, reading);
        clean(&[object]);
    });
}

#[test]
fn a_section_comes_after_earlier_ones() {
    read_and_enter_again(false);
}

#[test]
fn a_section_that_begins_anew_comes_after_earlier_ones() {
    read_and_enter_again(true);
}
