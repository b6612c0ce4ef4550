//! Slots that are claimed, released and claimed again next to a look, which passes over those that
//! no reader owns.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};
use loom::thread;

use crate::object::{Object, beside, clean, domain, free_or_retire, load, object};
use crate::sections::replaced_while_read;

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

/// A reader registers, reads and is gone while a writer looks: the slot, its bit, the count and
/// the chunk come and go.
#[test]
fn what_no_reader_that_comes_and_goes_holds_may_be_freed_at_once() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (readers, word) = (domain.clone(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            free_or_retire(&mut updater, object, born);
            (updater, domain)
        };
        beside(writer, move || load(&readers.reader().unwrap(), &word));
        clean(&[object]);
    });
}

/// The same next to another reader that stays, so that the look does not pass over the whole
/// chunk.
#[test]
fn a_slot_is_given_back_beside_another_s_of_its_chunk() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        // The first chunk has one slot, the next one two.
        let stay = [domain.reader().unwrap(), domain.reader().unwrap()];
        let (reader, word) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            free_or_retire(&mut updater, object, born);
            (updater, domain, stay)
        };
        let reading = move || {
            load(&reader, &word);
            drop(reader);
        };
        beside(writer, reading);
        clean(&[object]);
    });
}

/// The writer has a reader of its own, whose slot the other takes as soon as it is free.
#[test]
fn a_slot_goes_from_one_thread_to_another() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (leaving, readers, word) = (domain.reader().unwrap(), domain.clone(), Arc::clone(&root));
        let writer = move || {
            drop(leaving.read_lock());
            drop(leaving);
            root.store(std::ptr::null_mut(), Ordering::Release);
            free_or_retire(&mut updater, object, born);
            (updater, domain)
        };
        beside(writer, move || load(&readers.reader().unwrap(), &word));
        clean(&[object]);
    });
}

/// Two threads want the one slot of the first chunk, and one of them has to make the next chunk.
#[test]
fn two_readers_that_register_at_once_have_a_slot_each() {
    loom::model(|| {
        let (domain, updater) = domain();
        let registering = [0, 1].map(|_| {
            let domain = domain.clone();
            thread::spawn(move || domain.reader().unwrap())
        });
        let readers = registering.map(|thread| thread.join().unwrap());
        let guards = [readers[0].read_lock(), readers[1].read_lock()];
        assert_eq!(domain.stats().readers_inside, 2);
        drop(guards);
        drop(updater);
    });
}
