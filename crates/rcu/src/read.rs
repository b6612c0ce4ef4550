//! Readers: sections that cost two stores, and loads that a section's announcement covers.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

use crate::error::AllocError;
use crate::handle::Handle;
use crate::primitive::{Ordering, own_load};
use crate::slot::{Claim, IDLE, Slot};

/// One reader's handle: for one thread at a time, and any number of sections.
///
/// A signal, interrupt or NMI handler must not use the handle of the code that it interrupts. It
/// could come between the steps of an entry and run unprotected. With a handle of its own it may
/// read at any point.
///
/// # Invariants
/// `claim` is one of `domain`, whose registry lives as long. The slot is idle if and only if there
/// is no guard; `inner` counts the guards but one.
pub struct Reader {
    domain: Handle,
    claim: Claim,
    /// 64 bits on every machine, so that forgotten guards do not wrap it.
    inner: Cell<u64>,
}

// SAFETY: a reader without guards can go to another thread. With one it cannot, as guards borrow
// it and are not Send. It is not Sync, by its cells.
unsafe impl Send for Reader {}

impl Reader {
    pub(crate) fn new(domain: Handle) -> Result<Self, AllocError> {
        let claim = domain.registry.claim()?;
        // INVARIANT: just claimed, idle, no guards.
        Ok(Self {
            domain,
            claim,
            inner: Cell::new(0),
        })
    }

    /// Returns the number of this reader among all of the process, as in
    /// [`ReaderStats`](crate::ReaderStats).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.slot().reader.load(Ordering::Relaxed)
    }

    /// Enters a read-side critical section, which ends when the guard is dropped; sections nest.
    ///
    /// Two stores and, in a symmetric domain, a fence; no loop: wait-free. Inner sections only
    /// count, so what one of them finds stays until the outermost ends.
    #[inline]
    pub fn read_lock(&self) -> Guard<'_> {
        self.enter();
        Guard {
            reader: self,
            not_send: PhantomData,
        }
    }

    /// Enters a section with the protected load of a root below which all is immutable.
    ///
    /// The section then covers one version, as it was in one era. If the era moves between entry
    /// and load, the section begins again instead of stretching over both eras. So a reader that
    /// is stopped there holds one version and not two.
    #[inline]
    pub fn read_lock_at<P>(&self, root: impl FnMut() -> P) -> (Guard<'_>, P) {
        let outermost = self.enter();
        let guard = Guard {
            reader: self,
            not_send: PhantomData,
        };
        // An outer section may hold anything.
        let pointer = self.covered(outermost, root);
        (guard, pointer)
    }

    /// Turns the reader into a section that another thread may continue and end: a snapshot.
    ///
    /// Otherwise as [`read_lock_at`](Self::read_lock_at).
    pub fn read_lock_owned<P>(self, root: impl FnMut() -> P) -> (OwnedGuard, P) {
        let outermost = self.enter();
        let pointer = self.covered(outermost, root);
        (OwnedGuard { reader: self }, pointer)
    }

    #[inline]
    fn slot(&self) -> &Slot {
        self.claim.slot()
    }

    /// Enters a section; returns whether it is the outermost.
    #[inline]
    fn enter(&self) -> bool {
        let slot = self.slot();
        // The slot itself tells whether this is the outermost section: a count would be two stores
        // more, and stores are what a section costs.
        if own_load(&slot.lo) != IDLE {
            self.inner.set(self.inner.get() + 1);
            return false;
        }
        // Acquire pairs with the Release in `Updater::advance`: what was unlinked before this era
        // is not seen any more. So everything that this section can load was retired in this era
        // or later. A full fence below would do the same. Where it is a compiler fence only, this
        // Acquire does it.
        let era = self.domain.era.load(Ordering::Acquire);
        self.announce(Some(era), era);
        true
    }

    /// Announces the eras that the section may hold pointers from, before its next load; `lo` only
    /// where nothing is held yet.
    #[inline]
    fn announce(&self, lo: Option<u64>, hi: u64) {
        let slot = self.slot();
        if let Some(lo) = lo {
            // Release pairs with the Acquire in `State::look`: the accesses of earlier sections
            // come before.
            slot.lo.store(lo, Ordering::Release);
        }
        // Relaxed: between the two stores a look finds an old `hi`, and decides as if the section
        // had not begun. The light fence below then lies after that look's heavy one, so the
        // section sees every unlinking that the look is about.
        slot.hi.store(hi, Ordering::Relaxed);
        self.domain.fences.light();
    }

    #[inline]
    fn exit(&self) {
        let inner = self.inner.get();
        if inner > 0 {
            self.inner.set(inner - 1);
            return;
        }
        // Release pairs with the Acquire in `State::look`: the accesses of this section come
        // before.
        self.slot().lo.store(IDLE, Ordering::Release);
    }

    /// Repeats `load`, which loads a pointer with Acquire, until the announcement covers its
    /// result; `is_first` if nothing is held yet.
    ///
    /// Each round announces a later era, with a slack that doubles. After at most 64 rounds no era
    /// is left, so it is wait-free. What a slow reader announces too much stays in proportion to
    /// what happened since its load.
    #[inline]
    fn covered<P>(&self, is_first: bool, mut load: impl FnMut() -> P) -> P {
        let mut slack = 0_u64;
        loop {
            let pointer = load();
            // After the load: the object's birth era was the current one before the store that
            // this load reads from, so `era` is at least that. Acquire as in `enter`, for a
            // section that begins again.
            let era = self.domain.era.load(Ordering::Acquire);
            if era <= own_load(&self.slot().hi) {
                return pointer;
            }
            self.extend(is_first, era, slack);
            slack = slack.saturating_mul(2).saturating_add(1);
        }
    }

    #[cold]
    fn extend(&self, is_first: bool, era: u64, slack: u64) {
        // `load` may have entered inner sections, and kept their guards.
        let lo = (is_first && self.inner.get() == 0).then_some(era);
        self.announce(lo, era.saturating_add(slack));
    }

    #[cfg(feature = "std")]
    pub(crate) fn domain(&self) -> &Handle {
        &self.domain
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A forgotten guard borrows no more, so nothing that it protected is referred to. Release
        // as in `exit`.
        self.slot().lo.store(IDLE, Ordering::Release);
        self.claim.release();
    }
}

/// A read-side critical section: what is loaded through it stays until it is dropped.
///
/// A forgotten guard (`core::mem::forget`) leaves the section open until its reader is dropped.
#[must_use = "the section ends when the guard is dropped"]
pub struct Guard<'r> {
    reader: &'r Reader,
    /// A section belongs to the thread that entered it.
    not_send: PhantomData<*mut ()>,
}

impl Guard<'_> {
    pub(crate) fn domain(&self) -> &Handle {
        &self.reader.domain
    }

    /// Repeats `load` until the object that it finds is sure to stay while the guard lives;
    /// returns what it found.
    ///
    /// For words of any form: a tagged pointer, a page-table entry. `load` must load, with Acquire
    /// or stronger, a word that the domain's writer changes. It is called at most 65 times.
    /// Objects may be unlinked together with others that they point to. Then this protects only if
    /// rule C of the crate's documentation holds: nothing is retired while a word that readers may
    /// still load holds it, words of unlinked objects included.
    #[inline]
    pub fn protect<P>(&self, load: impl FnMut() -> P) -> P {
        self.reader.covered(false, load)
    }
}

/// A section that owns its reader, so that it may outlive the place where it began, and move to
/// another thread.
///
/// What was reachable from its root when it began stays until it is dropped.
///
/// # Invariants
/// The reader's slot is not idle.
#[must_use = "the section ends when the guard is dropped"]
pub struct OwnedGuard {
    reader: Reader,
}

// SAFETY: `&OwnedGuard` gives access to nothing but loads of the slot's atomics.
unsafe impl Sync for OwnedGuard {}

impl OwnedGuard {
    /// Returns the [`Reader::id`] of the reader that it was.
    #[must_use]
    pub fn reader_id(&self) -> u64 {
        self.reader.id()
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.reader.exit();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lo = self.slot().lo.load(Ordering::Relaxed);
        let mut this = f.debug_struct("Reader");
        this.field("id", &self.id());
        this.field("since_era", &Some(lo).filter(|&lo| lo != IDLE));
        this.finish_non_exhaustive()
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(self.reader).finish()
    }
}

impl fmt::Debug for OwnedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedGuard").field(&self.reader).finish()
    }
}
