//! A reader for each thread and domain, found by itself: for those who have no place for a [`Reader`].

use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;

use crate::domain::RcuDomain;
use crate::error::AllocError;
use crate::memory;
use crate::primitive::Ordering;
use crate::read::{Guard, Reader};

/// A reader that stays where it is.
///
/// # Invariants
/// The reader is from [`memory::try_box`], and this value's own.
struct Placed(NonNull<Reader>);

impl Placed {
    fn reader(&self) -> &Reader {
        // SAFETY: by the type's invariant.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // Relaxed: a hint for `is_abandoned`, of which each thread decides about its own readers only.
        self.reader().domain().locals.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: by the type's invariant.
        drop(unsafe { memory::from_try_box(self.0) });
    }
}

std::thread_local! {
    static READERS: RefCell<Vec<Placed>> = const { RefCell::new(Vec::new()) };
}

impl RcuDomain {
    /// Does `work` inside of a section of the calling thread's own reader of this domain, which is registered at the first
    /// call and released when the thread ends. The search for it costs some nanoseconds that a [`Reader`] of one's own
    /// saves.
    ///
    /// Not from a signal handler, which could come amid the search.
    ///
    /// A closure and not a guard: a guard that is forgotten would leave the section of a thread open that has ended.
    ///
    /// # Errors
    /// [`AllocError`] if the reader can not be registered, or if the thread is ending and its readers are gone.
    pub fn read<T>(&self, work: impl FnOnce(&Guard<'_>) -> T) -> Result<T, AllocError> {
        let reader = loop {
            match READERS.try_with(|readers| self.find(&mut readers.borrow_mut())) {
                Ok(Found::Reader(reader)) => break reader,
                // Outside of the borrow: the last handle of a domain frees its objects, whose drop may come here again.
                Ok(Found::Abandoned(placed)) => drop(placed),
                Ok(Found::Nothing) | Err(_) => return Err(AllocError),
            }
        };
        // SAFETY: the thread's readers go when it ends, or their domain is otherwise gone; neither happens before this
        // returns, in this thread, with `self` a handle of the domain.
        let guard = unsafe { reader.as_ref() }.read_lock();
        Ok(work(&guard))
    }

    /// This domain's reader, registered if need be; or first one of a domain that is otherwise gone, which it would keep.
    fn find(&self, readers: &mut Vec<Placed>) -> Found {
        let of_this = |placed: &&Placed| placed.reader().domain().id == self.handle.id;
        if let Some(placed) = readers.iter().find(of_this) {
            return Found::Reader(placed.0);
        }
        // None of these is in use: who reads has a handle.
        if let Some(i) = readers
            .iter()
            .position(|placed| placed.reader().domain().is_abandoned())
        {
            return Found::Abandoned(readers.swap_remove(i));
        }
        let placed = readers
            .try_reserve(1)
            .map_err(|_| AllocError)
            .and_then(|()| self.reader())
            .and_then(memory::try_box);
        let Ok(placed) = placed else {
            return Found::Nothing;
        };
        self.handle.locals.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: just placed.
        readers.push(Placed(placed));
        Found::Reader(placed)
    }
}

enum Found {
    Reader(NonNull<Reader>),
    Abandoned(Placed),
    Nothing,
}
