//! Readers: sections that cost two stores, and loads that are covered by what the section has announced.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::domain::Handle;
use crate::error::AllocError;
use crate::primitive::Ordering;
use crate::slot::{IDLE, Slot};

/// One reader's handle: for one thread at a time, for as many sections as it likes.
///
/// A signal, interrupt or NMI handler must not use the handle of what it interrupts: it could come between the steps of
/// an entry and run unprotected. With a handle of its own it may read at any point.
///
/// # Invariants
/// `slot` is claimed for this value and lives as long as `domain`. `nest` counts the guards that have not been dropped;
/// while it is not zero, the slot announces `lo..=hi`, and `hi` is the slot's.
pub struct Reader {
    domain: Handle,
    slot: NonNull<Slot>,
    nest: Cell<usize>,
    hi: Cell<u64>,
    /// Whether the section has loaded a pointer that it may still hold.
    holds: Cell<bool>,
}

// SAFETY: a reader without guards can go to another thread; with one it cannot, as guards borrow it and are not Send. It
// is not Sync, by its cells.
unsafe impl Send for Reader {}

impl Reader {
    pub(crate) fn new(domain: Handle) -> Result<Self, AllocError> {
        let slot = domain.registry.claim()?;
        // INVARIANT: just claimed, idle, no guards.
        Ok(Self {
            domain,
            slot,
            nest: Cell::new(0),
            hi: Cell::new(0),
            holds: Cell::new(false),
        })
    }

    /// Enters a read-side critical section, which ends when the guard is dropped; sections nest.
    ///
    /// Two stores and, in a symmetric domain, a fence; no loop: wait-free. Inner sections only count.
    #[inline]
    pub fn read_lock(&self) -> Guard<'_> {
        self.enter();
        Guard {
            reader: self,
            not_send: PhantomData,
        }
    }

    #[inline]
    fn slot(&self) -> &Slot {
        // SAFETY: by the type's invariant.
        unsafe { self.slot.as_ref() }
    }

    #[inline]
    fn enter(&self) {
        let nest = self.nest.get();
        if nest > 0 {
            self.nest.set(nest + 1);
            return;
        }
        // A constant, as in `exit`: the count's way through memory from section to section would take longer than all else.
        self.nest.set(1);
        // Acquire pairs with the Release in `Updater::advance`: what was unlinked before this era is not seen any more, so
        // everything this section can load was retired in this era or later. A full fence below would do the same; where it is
        // a compiler fence only, this is what does it.
        let era = self.domain.era.load(Ordering::Acquire);
        // Release pairs with the Acquire in `State::look`: the accesses of earlier sections come before.
        self.slot().lo.store(era, Ordering::Release);
        // Relaxed: between the two stores a look finds an old `hi`, and decides as if the section had not begun; its light
        // fence below then lies after that look's heavy one, so the section sees every unlinking that the look is about.
        self.slot().hi.store(era, Ordering::Relaxed);
        self.hi.set(era);
        self.holds.set(false);
        self.domain.fences.light();
    }

    #[inline]
    fn exit(&self) {
        let nest = self.nest.get();
        if nest > 1 {
            self.nest.set(nest - 1);
            return;
        }
        self.nest.set(0);
        // Release pairs with the Acquire in `State::look`: the accesses of this section come before.
        self.slot().lo.store(IDLE, Ordering::Release);
    }

    /// Repeats `load`, which loads a pointer with Acquire, until what it loads is covered.
    ///
    /// Each round announces a later era, with a slack that doubles: after 64 rounds at most no era is left, so it is
    /// wait-free, and what a slow reader announces too much stays in proportion to what happened meanwhile.
    #[inline]
    fn covered<P>(&self, mut load: impl FnMut() -> P) -> P {
        let mut slack = 0_u64;
        loop {
            let pointer = load();
            // Acquire, and after the load: the object's birth era was the current one before the store that this load
            // reads from, so `era` is at least that.
            let era = self.domain.era.load(Ordering::Acquire);
            if era <= self.hi.get() {
                self.holds.set(true);
                return pointer;
            }
            self.extend(era, slack);
            slack = slack.saturating_mul(2).saturating_add(1);
        }
    }

    #[cold]
    fn extend(&self, era: u64, slack: u64) {
        if !self.holds.get() {
            // Nothing is held yet: begin anew instead of stretching. Release as in `enter`.
            self.slot().lo.store(era, Ordering::Release);
        }
        let hi = era.saturating_add(slack);
        // Relaxed as in `enter`.
        self.slot().hi.store(hi, Ordering::Relaxed);
        self.hi.set(hi);
        self.domain.fences.light();
    }

    #[cfg(feature = "std")]
    pub(crate) fn domain(&self) -> &Handle {
        &self.domain
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A guard that was forgotten borrows no more, so nothing that it protected is referred to.
        if self.nest.get() > 0 {
            self.slot().lo.store(IDLE, Ordering::Release);
        }
        self.slot().release();
    }
}

/// A read-side critical section: what is loaded through it stays until it is dropped.
///
/// A guard that is forgotten (`core::mem::forget`) leaves the section open until its reader is dropped.
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

    /// Repeats `load` until the object that it finds is sure to stay while the guard lives, and returns what it found.
    ///
    /// For words of any form: a tagged pointer, a page-table entry. `load` must load with Acquire (or stronger) a word
    /// that the domain's writer changes, and is called at most 65 times. Where objects are unlinked together with others
    /// that they point to, this protects only if nothing is retired while a word that readers may still load holds it,
    /// words of unlinked objects included (rule C in the crate's documentation).
    #[inline]
    pub fn protect<P>(&self, load: impl FnMut() -> P) -> P {
        self.reader.covered(load)
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.reader.exit();
    }
}
