//! `vma->vm_refcnt` of Linux v6.17: counts the readers of a VMA, and keeps them out for a writer.
//!
//! Readers count themselves in and out. The writer, with `mmap_lock`, lets no new reader in and
//! sleeps until the others are out. It keeps the lock until the VMA is out of the tree, and then
//! marks it detached. The lock is never released: where Linux changes a VMA, this address space
//! replaces it.
//!
//! # Ordering
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | `count`, a reader more | `start_read` | Relaxed | none: a writer waits before it changes anything that the reader reads |
//! | `count`, a reader less | `end_read` | Release | Acquire in `start_write`: what readers did comes before what the writer does |
//! | `count`, a writer | `start_write` | Acquire | Release of the readers before |
//! | `count`, detached | `detach` | Release | Acquire of the reader that is refused: it finds a tree without the VMA |

use crate::primitive::{AtomicU64, Ordering};

/// Out of the tree.
const DETACHED: u64 = 0;
/// In the tree. Readers are counted on top.
const ATTACHED: u64 = 1;
/// A writer has it, or waits for readers. Readers cannot reach this count, even if they forget to
/// leave.
#[doc(alias = "VMA_LOCK_OFFSET")]
const WRITER: u64 = 1 << 63;

/// Why a reader cannot enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A writer has the VMA, or waits for it.
    WriteLocked,
    /// The VMA is out of the tree.
    Detached,
}

/// The lock of a VMA.
///
/// # Invariants
/// `count` is [`DETACHED`], or [`ATTACHED`] plus the readers, plus [`WRITER`] after a writer has
/// asked for it. From then on no reader enters.
#[derive(Debug)]
pub(super) struct VmRefcnt {
    count: AtomicU64,
}

impl VmRefcnt {
    /// Makes the lock of a VMA that is to be in the tree.
    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(ATTACHED),
        }
    }

    /// Lets a reader in.
    #[doc(alias = "vma_start_read")]
    pub(super) fn start_read(&self) -> Result<(), Refused> {
        let one_more = |count: u64| (count != DETACHED && count < WRITER).then_some(count + 1);
        // Acquire, if refused, pairs with the Release in `detach`.
        match self.count.fetch_update(Ordering::Relaxed, Ordering::Acquire, one_more) {
            Ok(_) => Ok(()),
            Err(DETACHED) => Err(Refused::Detached),
            Err(_) => Err(Refused::WriteLocked),
        }
    }

    /// Lets a reader out that was let in.
    ///
    /// The lock stays in memory until this returns, as for all of these: the reader is in a
    /// section.
    #[doc(alias = "vma_end_read")]
    #[doc(alias = "vma_refcount_put")]
    pub(super) fn end_read(&self) {
        // Release pairs with the Acquire in `start_write`.
        if self.count.fetch_sub(1, Ordering::Release) == WRITER + ATTACHED + 1 {
            wake(self.key());
        }
    }

    /// Keeps new readers out, and sleeps until all others are out. Called once, by the holder of
    /// `mmap_lock`.
    #[doc(alias = "vma_start_write")]
    pub(super) fn start_write(&self) {
        // Acquire pairs with the Release in `end_read`.
        let mut left = self.count.fetch_add(WRITER, Ordering::Acquire) == ATTACHED;
        while !left {
            let is_left = || self.count.load(Ordering::Acquire) == WRITER + ATTACHED;
            sleep_unless(self.key(), is_left);
            left = is_left();
        }
    }

    /// Marks the VMA as out of the tree. Called by the writer that has it.
    #[doc(alias = "vma_mark_detached")]
    pub(super) fn detach(&self) {
        // INVARIANT: no reader is in, and none enters.
        // Release pairs with the Acquire of a reader that is refused.
        self.count.store(DETACHED, Ordering::Release);
    }

    /// Returns the key of the queue in which the writer sleeps.
    fn key(&self) -> usize {
        (&raw const self.count).addr()
    }
}

/// Sleeps until a reader wakes it. Does not sleep if `done`, which runs when a waker cannot miss
/// this thread any more.
#[cfg(not(loom))]
fn sleep_unless(key: usize, done: impl Fn() -> bool) {
    use parking_lot_core::{DEFAULT_PARK_TOKEN, park};
    // SAFETY: the key is an address in the lock, so no other queue uses it; the closures neither
    // park nor panic.
    unsafe { park(key, || !done(), || (), |_, _| (), DEFAULT_PARK_TOKEN, None) };
}

/// Wakes the writer that sleeps there, if one does.
#[cfg(not(loom))]
#[cold]
fn wake(key: usize) {
    use parking_lot_core::{DEFAULT_UNPARK_TOKEN, unpark_one};
    // SAFETY: as in `sleep_unless`.
    unsafe { unpark_one(key, |_| DEFAULT_UNPARK_TOKEN) };
}

/// Loom has no queues: the writer looks again after others have run.
#[cfg(loom)]
fn sleep_unless(_: usize, _: impl Fn() -> bool) {
    loom::thread::yield_now();
}

#[cfg(loom)]
fn wake(_: usize) {}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A flag that a writer changes with the lock, and that readers check.
    struct Locked {
        vm_refcnt: VmRefcnt,
        changed: UnsafeCell<bool>,
    }

    #[test]
    fn a_writer_waits_for_the_readers_that_are_in_and_lets_none_in_any_more() {
        loom::model(|| {
            let vma = Arc::new(Locked {
                vm_refcnt: VmRefcnt::new(),
                changed: UnsafeCell::new(false),
            });
            let readers = [(); 2].map(|()| {
                let vma = Arc::clone(&vma);
                thread::spawn(move || {
                    if vma.vm_refcnt.start_read().is_ok() {
                        // SAFETY: that is what the model checks.
                        vma.changed.with(|changed| assert!(!unsafe { *changed }));
                        vma.vm_refcnt.end_read();
                    }
                })
            });
            let writer = thread::spawn(move || {
                vma.vm_refcnt.start_write();
                // SAFETY: as above.
                vma.changed.with_mut(|changed| unsafe { *changed = true });
                assert_eq!(vma.vm_refcnt.start_read(), Err(Refused::WriteLocked));
            });
            writer.join().unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn who_finds_a_vma_detached_finds_the_tree_without_it() {
        loom::model(|| {
            let vma = Arc::new(VmRefcnt::new());
            // Whether it is in the tree; Relaxed, as the tree's own orderings are not the question.
            let tree = Arc::new(AtomicU64::new(1));
            let reader = {
                let (vma, tree) = (Arc::clone(&vma), Arc::clone(&tree));
                thread::spawn(move || match vma.start_read() {
                    Ok(()) => vma.end_read(),
                    Err(Refused::Detached) => assert_eq!(tree.load(Ordering::Relaxed), 0),
                    Err(Refused::WriteLocked) => {}
                })
            };
            let writer = thread::spawn(move || {
                vma.start_write();
                tree.store(0, Ordering::Relaxed);
                vma.detach();
            });
            writer.join().unwrap();
            reader.join().unwrap();
        });
    }
}
