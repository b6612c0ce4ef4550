//! A reader for each thread and domain, found by itself: for those who have no place for a [`Reader`].

use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;

use crate::domain::RcuDomain;
use crate::error::AllocError;
use crate::memory;
use crate::primitive::thread_local;
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
        // SAFETY: by the type's invariant.
        drop(unsafe { memory::from_try_box(self.0) });
    }
}

thread_local! {
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
    /// [`AllocError`] if the reader cannot be registered, or if the thread is ending and its readers are gone.
    pub fn read<T>(&self, work: impl FnOnce(&Guard<'_>) -> T) -> Result<T, AllocError> {
        let reader = READERS
            .try_with(|readers| self.find(&mut readers.borrow_mut()))
            .map_err(|_| AllocError)??;
        // SAFETY: the thread's readers go when it ends, which does not happen before this returns, or when their domain has no
        // user any more: `self` is one, and its borrow lasts for longer than the section.
        let guard = unsafe { reader.as_ref() }.read_lock();
        Ok(work(&guard))
    }

    /// This domain's reader, registered if need be, after those have gone whose domains have no users any more.
    fn find(&self, readers: &mut Vec<Placed>) -> Result<NonNull<Reader>, AllocError> {
        let of_this = |placed: &&Placed| placed.reader().domain().id == self.handle.id;
        if let Some(placed) = readers.iter().find(of_this) {
            return Ok(placed.0);
        }
        // None of these is inside of a section, which would have borrowed a user's handle. Nor does any code of others run here:
        // their objects were freed with the last user.
        readers.retain(|placed| !placed.reader().domain().is_abandoned());
        readers.try_reserve(1).map_err(|_| AllocError)?;
        let reader = memory::try_box(Reader::new(self.handle.of_a_thread())?)?;
        // INVARIANT: just placed.
        readers.push(Placed(reader));
        Ok(reader)
    }
}
