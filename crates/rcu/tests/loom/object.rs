//! The objects of the models, which are marked and not freed.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicPtr, Ordering};
use loom::thread;
use vmaple_rcu::{Fences, RcuDomain, Reader, Retired, Updater};

const ALIVE: u32 = 1;
const FREED: u32 = 2;

/// An object that is not freed but marked, so that a use after free is found and not merely
/// undefined. The cell reports every access to loom: a mark that is not ordered after all readings
/// fails as well.
pub(crate) struct Object {
    state: UnsafeCell<u32>,
    pub(crate) child: AtomicPtr<Object>,
}

// SAFETY: that is under test; loom watches the cell.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

pub(crate) fn object() -> *mut Object {
    Box::into_raw(Box::new(Object {
        state: UnsafeCell::new(ALIVE),
        child: null(),
    }))
}

pub(crate) fn null() -> AtomicPtr<Object> {
    AtomicPtr::new(std::ptr::null_mut())
}

/// Marks a retired object as freed.
unsafe fn mark(object: *mut ()) {
    // SAFETY: objects live until the end of the model.
    unsafe { &*object.cast::<Object>() }.state.with_mut(|state| {
        // SAFETY: loom checks that no other thread accesses it.
        unsafe { assert_eq!(*state, ALIVE, "freed twice") };
        // SAFETY: as above.
        unsafe { *state = FREED };
    });
}

/// Frees an object that no section can have found.
pub(crate) fn free(object: *mut Object) {
    // SAFETY: objects live until the end of the model; the rest is under test.
    unsafe { mark(object.cast()) };
}

/// Reads an object that a section protects, twice: it must stay, not only have been there.
pub(crate) fn read(object: *mut Object) {
    for _ in 0..2 {
        // SAFETY: objects live until the end of the model.
        unsafe { &*object }.state.with(|state| {
            // SAFETY: loom checks that no thread writes.
            assert_eq!(unsafe { *state }, ALIVE, "read after it was freed");
        });
    }
}

/// Returns the word in an object, whose memory stays until the end of the model.
pub(crate) fn child<'a>(object: *mut Object) -> &'a AtomicPtr<Object> {
    // SAFETY: the memory stays, as above.
    unsafe { &(*object).child }
}

/// Reads the object of `word`, in a section.
pub(crate) fn load(reader: &Reader, word: &AtomicPtr<Object>) {
    let guard = reader.read_lock();
    let object = guard.protect(|| word.load(Ordering::Acquire));
    if !object.is_null() {
        read(object);
    }
}

pub(crate) fn domain() -> (RcuDomain, Updater) {
    RcuDomain::with_fences(Fences::Symmetric).unwrap()
}

pub(crate) fn retire(updater: &mut Updater, object: *mut Object, birth: u64) {
    let retired = Retired {
        object: object.cast(),
        free: mark,
        birth,
        bytes: 8,
    };
    // SAFETY: each model says which rule it keeps, or breaks.
    unsafe { updater.retire(retired) }.unwrap();
}

/// Frees at once if no section can hold the object, and retires it otherwise.
pub(crate) fn free_or_retire(updater: &mut Updater, object: *mut Object, birth: u64) {
    if birth > updater.held_until() {
        free(object);
    } else {
        retire(updater, object, birth);
    }
}

pub(crate) fn reap(updater: &mut Updater) {
    updater.flush();
    while updater.reap() {}
}

/// Runs both in threads of their own. What the writer returns, its updater among it, lasts until
/// both have ended.
pub(crate) fn beside<W: 'static>(writer: impl FnOnce() -> W + 'static, reader: impl FnOnce() + 'static) {
    let (writer, reader) = (thread::spawn(writer), thread::spawn(reader));
    reader.join().unwrap();
    drop(writer.join().unwrap());
}

/// Frees the memory of a model's objects.
pub(crate) fn clean(objects: &[*mut Object]) {
    for &object in objects {
        // SAFETY: the model is over, and all threads are joined.
        drop(unsafe { Box::from_raw(object) });
    }
}
