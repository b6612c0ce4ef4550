//! Bring your own RCU: what a structure needs of the code that frees for it.
//!
//! A kernel has its own RCU, and must use that. These three traits are all that a concurrent
//! structure asks for: a reader's section, loads inside of it, and deferred freeing.
//! `examples/kernel_port.rs` implements them with per-CPU epochs in a hundred lines;
//! `tests/kernel_port.rs` shows how to test an implementation.

use crate::block::Retired;
use crate::domain::RcuDomain;
use crate::error::AllocError;
use crate::read::{Guard, OwnedGuard, Reader};
use crate::update::Updater;

/// A read-side critical section.
///
/// # Safety
/// What [`protect`](Self::protect) returns stays while the section is open, if its writer follows
/// the contract of [`Update::retire`]. During that time other sections of the same reader may
/// begin and end, and this one may be dropped before those that began inside of it: see
/// [`Reclaim`]. A section that must end where it began (on its CPU, in its thread) is not `Send`.
pub unsafe trait Section {
    /// Repeats `load`, which loads a word with Acquire, until its result is sure to stay, and
    /// returns that.
    ///
    /// Where entering the section protects everything, as in the kernel's RCU, this is a plain
    /// call.
    fn protect<P>(&self, load: impl FnMut() -> P) -> P;
}

/// The writer's side; its holder is the only writer.
///
/// # Safety
/// A retired object is freed once, after the end of every section that could have found it. No
/// open section holds an object that is unlinked already and was born later than
/// [`held_until`](Self::held_until) says.
///
/// # The order of a writer and of a reader
/// A structure unlinks by a store with Release, and then calls `retire` or `held_until`. That
/// store may still be on its way when they begin: the processor may delay it until after loads
/// that follow, whatever ordering these have. So code that looks for open sections passes a fence
/// first. A section passes one after it has announced itself and before it loads:
///
/// | `retire`, `held_until`, or a later free | a section |
/// |---|---|
/// | (the structure's unlinking store) | announces itself |
/// | `fence(SeqCst)` | `fence(SeqCst)` |
/// | looks for sections, with Acquire | loads the structure's words |
/// | frees | ends, by a store with Release |
///
/// Then the look sees the section, or the section does not find what was unlinked. A load with
/// `SeqCst` in the place of the fence does not do that.
pub unsafe trait Update {
    /// Makes sure that the next `objects` calls of [`retire`](Self::retire) need no memory.
    ///
    /// # Errors
    /// [`AllocError`] if there is none.
    fn reserve(&mut self, objects: usize) -> Result<(), AllocError>;

    /// Returns the stamp of an object of `bytes` bytes that is about to be published; 0 where
    /// there are no eras.
    fn birth(&mut self, bytes: usize) -> u64 {
        let _ = bytes;
        0
    }

    /// Defers the freeing of an object, in constant time and without waiting.
    ///
    /// # Errors
    /// Returns the record if there is no memory to note it.
    ///
    /// # Safety
    /// As for [`Updater::retire`].
    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired>;

    /// Returns the last era from which an open section may hold anything; `u64::MAX` where that is
    /// not cheap to tell.
    ///
    /// What is unlinked already, and was born later, may be freed at once.
    fn held_until(&mut self) -> u64 {
        u64::MAX
    }

    /// Returns whether [`Reclaim::reap`] is worth its price now; never where freeing is another
    /// part's task.
    fn reap_due(&mut self) -> bool {
        false
    }
}

/// A way of deferred freeing.
///
/// # Safety
/// Sections of its readers, and its updater, keep the contracts of [`Section`] and [`Update`] with
/// each other.
///
/// **Sections of one reader nest, and end in any order.** Safe code may enter a section while
/// another of the same reader is open, as a function that reads does when it calls another one. It
/// may drop the outer one first. What any of them protects stays as long as that one is open. An
/// implementation counts, and ends its announcement with the last.
///
/// **A reader goes from thread to thread** (it is [`Send`]) while none of its sections is open,
/// and one thread may use several readers at once. So a section finds an announcement that belongs
/// to a CPU or a thread where it begins; the reader does not keep it.
pub unsafe trait Reclaim: Send + Sync {
    /// A reader's handle, for one thread at a time.
    type Reader: Send;
    /// A section of such a reader.
    type Section<'r>: Section
    where
        Self: 'r;
    /// The writer's handle.
    type Update: Update + Send;

    /// Returns whether `update` is the writer's handle of this one, whose readers these are. True
    /// where there is only one.
    fn owns(&self, update: &Self::Update) -> bool;

    /// Registers a reader.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more.
    fn reader(&self) -> Result<Self::Reader, AllocError>;

    /// Enters a section.
    fn read_lock<'r>(reader: &'r Self::Reader) -> Self::Section<'r>
    where
        Self: 'r;

    /// Enters a section with the load of a root below which all is immutable: see
    /// [`Reader::read_lock_at`].
    fn read_lock_at<'r, P>(reader: &'r Self::Reader, root: impl FnMut() -> P) -> (Self::Section<'r>, P)
    where
        Self: 'r,
    {
        let section = Self::read_lock(reader);
        let pointer = section.protect(root);
        (section, pointer)
    }

    /// Frees some of what may be freed; returns whether there is more. Does nothing where freeing
    /// is another part's task.
    fn reap(&self) -> bool {
        false
    }
}

/// An RCU whose sections may outlive the place where they began: for snapshots.
///
/// Not for an RCU whose sections mean that preemption is off.
///
/// # Safety
/// What `root` returned, and is reachable from it without change, stays until the owned section is
/// dropped.
pub unsafe trait OwnedSections: Reclaim {
    /// A section with its reader.
    type OwnedSection: Send + Sync + 'static;

    /// Enters a section with the load of a root, as [`Reclaim::read_lock_at`]; any thread may end
    /// it.
    fn read_lock_owned<P>(reader: Self::Reader, root: impl FnMut() -> P) -> (Self::OwnedSection, P);
}

// SAFETY: `Guard::protect` promises just this.
unsafe impl Section for Guard<'_> {
    #[inline]
    fn protect<P>(&self, load: impl FnMut() -> P) -> P {
        Guard::protect(self, load)
    }
}

// SAFETY: the crate's protocol, see the crate documentation.
unsafe impl Update for Updater {
    fn reserve(&mut self, objects: usize) -> Result<(), AllocError> {
        Updater::reserve(self, objects)
    }

    #[inline]
    fn birth(&mut self, bytes: usize) -> u64 {
        Updater::birth(self, bytes)
    }

    #[inline]
    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        // SAFETY: the same contract.
        unsafe { Updater::retire(self, retired) }
    }

    #[inline]
    fn held_until(&mut self) -> u64 {
        Updater::held_until(self)
    }

    #[inline]
    fn reap_due(&mut self) -> bool {
        Updater::reap_due(self)
    }
}

// SAFETY: readers, sections and updater of one domain belong together.
unsafe impl Reclaim for RcuDomain {
    type Reader = Reader;
    type Section<'r> = Guard<'r>;
    type Update = Updater;

    fn owns(&self, update: &Updater) -> bool {
        self.handle.id == update.domain().id
    }

    fn reader(&self) -> Result<Reader, AllocError> {
        RcuDomain::reader(self)
    }

    #[inline]
    fn read_lock<'r>(reader: &'r Reader) -> Guard<'r>
    where
        Self: 'r,
    {
        reader.read_lock()
    }

    #[inline]
    fn read_lock_at<'r, P>(reader: &'r Reader, root: impl FnMut() -> P) -> (Guard<'r>, P)
    where
        Self: 'r,
    {
        reader.read_lock_at(root)
    }

    fn reap(&self) -> bool {
        RcuDomain::reap(self)
    }
}

// SAFETY: `Reader::read_lock_owned` promises just this.
unsafe impl OwnedSections for RcuDomain {
    type OwnedSection = OwnedGuard;

    fn read_lock_owned<P>(reader: Reader, root: impl FnMut() -> P) -> (OwnedGuard, P) {
        reader.read_lock_owned(root)
    }
}
