//! Counted handles of a domain: the last user's frees all objects, the last of all the domain.

use core::ptr::NonNull;

use crate::error::AllocError;
use crate::fences::Fences;
use crate::memory;
use crate::primitive::{AtomicU64, Ordering, Watch, fence};
use crate::reap::Reaper;
use crate::shared::Shared;

/// A domain with the counts of its handles.
struct Counted {
    shared: Shared,
    reaper: Reaper,
    /// Handles of users. The last one frees all objects. From then on this is zero, as a user's
    /// handle comes from another one only.
    ///
    /// 64 bits on every machine, so that forgotten handles do not wrap it.
    users: AtomicU64,
    /// One for all users together, and one for each thread's own reader. The last one frees the
    /// domain.
    memory: AtomicU64,
    watch: Watch,
}

/// What a [`Handle`] is counted as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A reader, the updater, or a handle that reaps.
    User,
    /// A reader that stays with its thread, perhaps for longer than the domain has users. It keeps
    /// the memory only, and reads while a user's handle is borrowed.
    #[cfg(feature = "std")]
    Thread,
}

/// A counted handle of a domain: like an `Arc` whose making can fail, or like its `Weak`.
///
/// # Invariants
/// `counted` is from [`memory::try_box`] and lives as long as any handle. This handle is counted
/// as its kind says.
pub(crate) struct Handle {
    counted: NonNull<Counted>,
    kind: Kind,
}

// SAFETY: a domain is made for use by all threads at once; the counts are atomic.
unsafe impl Send for Handle {}
// SAFETY: as for Send.
unsafe impl Sync for Handle {}

impl Handle {
    pub(crate) fn new(fences: Fences) -> Result<Self, AllocError> {
        let counted = memory::try_box(Counted {
            shared: Shared::new(fences),
            reaper: Reaper::new(),
            users: AtomicU64::new(1),
            memory: AtomicU64::new(1),
            watch: Watch::new(),
        })?;
        // INVARIANT: from `try_box`, and counted.
        Ok(Self {
            counted,
            kind: Kind::User,
        })
    }

    #[inline]
    fn counted(&self) -> &Counted {
        // SAFETY: by the type's invariant.
        unsafe { self.counted.as_ref() }
    }

    /// Looks at a bounded number of retired blocks; returns whether there is more to do now.
    pub(crate) fn reap(&self) -> bool {
        self.counted().reaper.reap(self)
    }

    /// Returns a handle for a thread's own reader.
    #[cfg(feature = "std")]
    pub(crate) fn of_a_thread(&self) -> Self {
        // A handle at hand keeps the count above zero: nothing to order.
        self.counted().memory.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: counted above.
        Self {
            counted: self.counted,
            kind: Kind::Thread,
        }
    }

    /// Returns whether only threads' own readers are left.
    ///
    /// Once true, it stays so. And while such a reader is inside of a section it is false,
    /// whatever other threads do. The section borrows a user's handle (see
    /// [`RcuDomain::read`](crate::RcuDomain::read)), whose end is ordered after it, and no load
    /// reads a store that is ordered after the load. So Relaxed is enough.
    #[cfg(feature = "std")]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.counted().users.load(Ordering::Relaxed) == 0
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        let count = match self.kind {
            Kind::User => &self.counted().users,
            #[cfg(feature = "std")]
            Kind::Thread => &self.counted().memory,
        };
        // A handle at hand keeps the count above zero: nothing to order.
        count.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: counted above.
        Self {
            counted: self.counted,
            kind: self.kind,
        }
    }
}

impl core::ops::Deref for Handle {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        &self.counted().shared
    }
}

/// One of the counts in `memory`.
struct Memory(NonNull<Counted>);

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is counted, so the memory is there.
        let counted = unsafe { self.0.as_ref() };
        counted.watch.read();
        // Release pairs with the Acquire below, in the last one: all that this one did is done.
        if counted.memory.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        fence(Ordering::Acquire);
        counted.watch.write();
        // SAFETY: this was the last; by the invariant of `Handle` the memory is from `try_box`.
        drop(unsafe { memory::from_try_box(self.0) });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.kind == Kind::User {
            // Release pairs with the Acquire below, in the last one: all that this one did is
            // done.
            if self.counted().users.fetch_sub(1, Ordering::Release) > 1 {
                return;
            }
            fence(Ordering::Acquire);
            // The count of all users, also if an object's drop unwinds.
            let _memory = Memory(self.counted);
            // No section is open: readers are users, and so is the handle that a thread's own
            // reader borrows.
            self.counted().reaper.free_everything(self);
        } else {
            drop(Memory(self.counted));
        }
    }
}
