//! Immutable versions below a root: only the root's load is covered.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, Ordering};
use loom::thread;

use crate::object::{beside, child, clean, domain, free_or_retire, object, read, reap, retire};

/// A version that points to a part of it, and the version that replaces both.
#[test]
fn one_covered_root_covers_all_of_its_version() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let [root, part] = [object(), object()];
        let part_born = updater.birth(8);
        child(root).store(part, Ordering::Relaxed);
        let root_born = updater.birth(8);
        let word = Arc::new(AtomicPtr::new(root));
        let (reader, loaded) = (domain.reader().unwrap(), Arc::clone(&word));
        let writer = move || {
            word.store(std::ptr::null_mut(), Ordering::Release);
            retire(&mut updater, root, root_born);
            retire(&mut updater, part, part_born);
            reap(&mut updater);
            (updater, domain)
        };
        let reading = move || {
            let (_guard, root) = reader.read_lock_at(|| loaded.load(Ordering::Acquire));
            if root.is_null() {
                return;
            }
            read(root);
            read(child(root).load(Ordering::Relaxed));
        };
        beside(writer, reading);
        clean(&[root, part]);
    });
}

#[test]
fn two_sections_read_two_of_three_versions() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let versions = [object(), object(), object()];
        let mut born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(versions[0]));
        let (reader, loaded) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            for i in [1, 2] {
                let next = updater.birth(8);
                root.store(versions[i], Ordering::Release);
                free_or_retire(&mut updater, versions[i - 1], born);
                born = next;
            }
            (updater, domain)
        };
        let reading = move || {
            for _ in 0..2 {
                let (_guard, version) = reader.read_lock_at(|| loaded.load(Ordering::Acquire));
                read(version);
            }
        };
        beside(writer, reading);
        clean(&versions);
    });
}

#[test]
fn a_section_that_ends_in_another_thread_keeps_what_it_began_with() {
    loom::model(|| {
        let (domain, mut updater) = domain();
        let versions = [object(), object()];
        let born = updater.birth(8);
        let root = Arc::new(AtomicPtr::new(versions[0]));
        let (reader, loaded) = (domain.reader().unwrap(), Arc::clone(&root));
        let writer = move || {
            updater.birth(8);
            root.store(versions[1], Ordering::Release);
            retire(&mut updater, versions[0], born);
            reap(&mut updater);
            (updater, domain)
        };
        let reading = move || {
            let (section, version) = reader.read_lock_owned(|| loaded.load(Ordering::Acquire));
            let end = move || {
                read(version);
                drop(section);
            };
            thread::spawn(end).join().unwrap();
        };
        beside(writer, reading);
        clean(&versions);
    });
}
