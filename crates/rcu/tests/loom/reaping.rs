//! Several threads that reap, and the end of a domain: everything is freed once, after all its
//! users.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};
use loom::thread;

use crate::object::{beside, clean, domain, load, object, reap, retire};

#[test]
fn two_reapers_free_once() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (reader, other, word) = (domain.reader().unwrap(), domain.clone(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            retire(&mut updater, object, born);
            reap(&mut updater);
            (updater, domain)
        };
        let reading = move || {
            load(&reader, &word);
            other.reap();
        };
        beside(writer, reading);
        clean(&[object]);
    });
}

/// What one reaper has parked, another frees.
#[test]
fn reapers_hand_over_what_waits() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let objects = [object(), object()];
        let reader = domain.reader().unwrap();
        let guard = reader.read_lock();
        let born = [updater.birth(8), updater.birth(8)];
        for (&object, born) in objects.iter().zip(born) {
            retire(&mut updater, object, born);
        }
        updater.flush();
        drop(guard);
        let reapers = [0, 1].map(|_| {
            let domain = domain.clone();
            thread::spawn(move || domain.reap())
        });
        for thread in reapers {
            thread.join().unwrap();
        }
        drop((updater, domain, reader));
        clean(&objects);
    });
}

/// The last handle, whichever it is, frees what is left: after the section of a reader that has
/// ended.
#[test]
fn the_last_handle_frees_after_sections_that_have_ended() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(object));
        let (reader, word) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            root.store(std::ptr::null_mut(), Ordering::Release);
            retire(&mut updater, object, born);
            drop((updater, domain));
        };
        let reading = move || {
            load(&reader, &word);
            drop(reader);
        };
        beside(writer, reading);
        clean(&[object]);
    });
}

/// And after the work of other threads that reap.
#[test]
fn the_last_handle_frees_after_reapers_have_left() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let object = object();
        let born = updater.birth(8);
        retire(&mut updater, object, born);
        updater.flush();
        let other = domain.clone();
        let writer = move || drop((updater, domain));
        let reaping = move || {
            other.reap();
            drop(other);
        };
        beside(writer, reaping);
        clean(&[object]);
    });
}

/// The last of a domain's users and of the readers that threads keep frees its memory.
#[test]
fn a_domain_is_gone_once_with_its_last_user_or_thread() {
    loom::model(|| {
        let (domain, updater) = domain();
        let other = domain.clone();
        let writer = move || drop((updater, domain));
        let reading = move || {
            other.read(|_| ()).unwrap();
            drop(other);
        };
        beside(writer, reading);
    });
}
