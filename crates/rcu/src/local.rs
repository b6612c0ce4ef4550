//! A reader for each thread and domain, found by itself: for those who have no place for a [`Reader`].

use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;

use crate::domain::RcuDomain;
use crate::error::AllocError;
use crate::memory;
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

std::thread_local! {
    static READERS: RefCell<Vec<Placed>> = const { RefCell::new(Vec::new()) };
}

impl RcuDomain {
    /// Does `work` inside of a section of the calling thread's own reader of this domain, which is registered at the first
    /// call and released when the thread ends. The search for it costs some nanoseconds that a [`Reader`] of one's own
    /// saves.
    ///
    /// A closure and not a guard: a guard that is forgotten would leave the section of a thread open that has ended.
    ///
    /// # Errors
    /// [`AllocError`] if the reader can not be registered, or if the thread is ending and its readers are gone.
    pub fn read<T>(&self, work: impl FnOnce(&Guard<'_>) -> T) -> Result<T, AllocError> {
        let reader = READERS.try_with(|readers| {
            let mut readers = readers.borrow_mut();
            let of_this = |placed: &&Placed| placed.reader().domain().is(&raw const *self.handle);
            if let Some(placed) = readers.iter().find(of_this) {
                return Ok(placed.0);
            }
            // Readers of domains that are otherwise gone would keep these. None of them is in use: who reads has a handle.
            readers.retain(|placed| !placed.reader().domain().is_abandoned());
            readers.try_reserve(1).map_err(|_| AllocError)?;
            let placed = memory::try_box(self.reader()?)?;
            // INVARIANT: just placed.
            readers.push(Placed(placed));
            Ok(placed)
        });
        let reader = reader.map_err(|_| AllocError)??;
        // SAFETY: the thread's readers go when it ends, or their domain is otherwise gone; neither happens before this
        // returns, in this thread, with `self` a handle of the domain.
        let guard = unsafe { reader.as_ref() }.read_lock();
        Ok(work(&guard))
    }
}
