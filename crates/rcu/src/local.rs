//! A reader for each thread and domain, for callers that have no place for a [`Reader`].

use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;

use crate::domain::RcuDomain;
use crate::error::AllocError;
use crate::memory;
use crate::primitive::thread_local;
use crate::read::{Guard, Reader};

/// A reader that stays at its address.
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
    /// Runs `work` inside of a section of the calling thread's own reader of this domain.
    ///
    /// The first call registers the reader; the end of the thread releases it. The search for it
    /// costs some nanoseconds, which a [`Reader`] of one's own saves. Not for a signal handler,
    /// which could interrupt the search.
    ///
    /// A closure and not a guard: a forgotten guard would leave the section of a thread open that
    /// has ended.
    ///
    /// # Errors
    /// [`AllocError`] if the reader cannot be registered, or if the thread is ending and its
    /// readers are gone.
    pub fn read<T>(&self, work: impl FnOnce(&Guard<'_>) -> T) -> Result<T, AllocError> {
        let reader = READERS
            .try_with(|readers| self.find(&mut readers.borrow_mut()))
            .map_err(|_| AllocError)??;
        // SAFETY: a thread's reader goes at the thread's end, which does not come before this
        // returns, or after its domain's last user. `self` is a user, and its borrow lasts for
        // longer than the section.
        let guard = unsafe { reader.as_ref() }.read_lock();
        Ok(work(&guard))
    }

    /// Returns this domain's reader, and registers it if need be. Before that it drops the readers
    /// of domains that have no users.
    fn find(&self, readers: &mut Vec<Placed>) -> Result<NonNull<Reader>, AllocError> {
        let of_this = |placed: &&Placed| placed.reader().domain().id == self.handle.id;
        if let Some(placed) = readers.iter().find(of_this) {
            return Ok(placed.0);
        }
        // None of these is inside of a section, which would have borrowed a user's handle. Nor
        // does any foreign code run here: their objects were freed with the last user.
        readers.retain(|placed| !placed.reader().domain().is_abandoned());
        readers.try_reserve(1).map_err(|_| AllocError)?;
        let reader = memory::try_box(Reader::new(self.handle.of_a_thread())?)?;
        // INVARIANT: just placed.
        readers.push(Placed(reader));
        Ok(reader)
    }
}
