//! The domain: one set of readers, one writer at a time, one reaper at a time.

use core::fmt;
use core::ptr::NonNull;

use crate::block::BlockStack;
use crate::error::AllocError;
use crate::fences::Fences;
use crate::memory;
use crate::primitive::{AtomicU64, AtomicUsize, Ordering, Watch, fence, unique_id};
use crate::read::Reader;
use crate::reap::Reaper;
use crate::slot::{IDLE, Registry};
use crate::stats::{Counters, ReaderStats, Stats};
use crate::update::Updater;

/// The first era. Nothing is born before it.
const FIRST_ERA: u64 = 1;

/// What every section reads, away from what writers write more often.
#[repr(align(128))]
pub(crate) struct ReadMostly {
    /// The current era. Advanced by the [`Updater`] alone.
    pub(crate) era: AtomicU64,
    pub(crate) fences: Fences,
    /// Of this domain alone in the life of the process: an address could be another domain's later.
    pub(crate) id: u64,
}

/// What all handles of a domain share.
pub(crate) struct Shared {
    read_mostly: ReadMostly,
    pub(crate) registry: Registry,
    /// Retired objects on their way from the updater to the reaper.
    pub(crate) sealed: BlockStack,
    /// Empty blocks on their way back.
    pub(crate) empty: BlockStack,
    pub(crate) counters: Counters,
    pub(crate) reaper: Reaper,
    /// Empty blocks in `empty`, roughly: what is taken while another is put may be counted.
    pub(crate) empties: AtomicUsize,
    /// Handles of users. The last one frees all objects; from then on this is zero, as they come from one another only.
    ///
    /// 64 bits on every machine, so that forgotten handles do not wrap it.
    users: AtomicU64,
    /// One for all users together, and one for each thread's own reader. The last one frees this.
    memory: AtomicU64,
    watch: Watch,
}

impl core::ops::Deref for Shared {
    type Target = ReadMostly;

    #[inline]
    fn deref(&self) -> &ReadMostly {
        &self.read_mostly
    }
}

/// For whom a [`Handle`] is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Who reads, changes or reaps.
    User,
    /// A reader that stays with its thread, perhaps for longer than the domain has users: it keeps the memory only, and reads
    /// while a user's handle is borrowed.
    #[cfg(feature = "std")]
    Thread,
}

/// A counted handle of a [`Shared`], like an `Arc` whose making can fail, or like its `Weak`.
///
/// # Invariants
/// `shared` is from [`memory::try_box`] and lives as long as any handle. This one is counted as its kind says.
pub(crate) struct Handle {
    shared: NonNull<Shared>,
    kind: Kind,
}

// SAFETY: Shared is made to be used by all threads at once; the counts are atomic.
unsafe impl Send for Handle {}
// SAFETY: as for Send.
unsafe impl Sync for Handle {}

impl Handle {
    fn new(fences: Fences) -> Result<Self, AllocError> {
        let shared = memory::try_box(Shared {
            read_mostly: ReadMostly {
                era: AtomicU64::new(FIRST_ERA),
                fences,
                id: unique_id(),
            },
            registry: Registry::new(),
            sealed: BlockStack::new(),
            empty: BlockStack::new(),
            counters: Counters::new(),
            reaper: Reaper::new(),
            empties: AtomicUsize::new(0),
            users: AtomicU64::new(1),
            memory: AtomicU64::new(1),
            watch: Watch::new(),
        })?;
        // INVARIANT: from `try_box`, and counted.
        Ok(Self {
            shared,
            kind: Kind::User,
        })
    }

    /// A handle for a thread's own reader.
    #[cfg(feature = "std")]
    pub(crate) fn of_a_thread(&self) -> Self {
        // A handle at hand keeps the count above zero: nothing to order.
        self.memory.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: counted above.
        Self {
            shared: self.shared,
            kind: Kind::Thread,
        }
    }

    /// Whether only threads' own readers are left.
    ///
    /// That is for ever. And while such a reader is inside of a section it is not so, whatever other threads do: the section
    /// borrows a user's handle (see [`RcuDomain::read`]), whose end is ordered after it, and no load reads a store that is
    /// ordered after the load. So Relaxed is enough.
    #[cfg(feature = "std")]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.users.load(Ordering::Relaxed) == 0
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        let count = match self.kind {
            Kind::User => &self.users,
            #[cfg(feature = "std")]
            Kind::Thread => &self.memory,
        };
        // A handle at hand keeps the count above zero: nothing to order.
        count.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: counted above.
        Self {
            shared: self.shared,
            kind: self.kind,
        }
    }
}

impl core::ops::Deref for Handle {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        // SAFETY: by the type's invariant.
        unsafe { self.shared.as_ref() }
    }
}

/// One of those that are counted in `memory`.
struct Memory(NonNull<Shared>);

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is counted, so the memory is there.
        let shared = unsafe { self.0.as_ref() };
        shared.watch.read();
        // Release pairs with the Acquire below, in whichever is the last: all is done that this one did.
        if shared.memory.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        fence(Ordering::Acquire);
        shared.watch.write();
        // SAFETY: this was the last; by the invariant of `Handle` the memory is from `try_box`.
        drop(unsafe { memory::from_try_box(self.0) });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.kind == Kind::User {
            // Release pairs with the Acquire below, in whichever is the last: all is done that this one did.
            if self.users.fetch_sub(1, Ordering::Release) > 1 {
                return;
            }
            fence(Ordering::Acquire);
            // That of all users, also if an object's drop unwinds.
            let _memory = Memory(self.shared);
            // No section is open: readers are users, and so is who lends its handle to a thread's own reader.
            self.reaper.free_everything(self);
        } else {
            drop(Memory(self.shared));
        }
    }
}

/// One structure's readers and its deferred freeing.
///
/// A clone is another handle of the same domain. What is still deferred is freed when the [`Updater`] is dropped, as far
/// as no reader holds it, and the rest when the last handle, [`Reader`]s included, is gone: never under a reader. If a
/// value's drop unwinds there, what is left is leaked.
///
/// The readers that [`read`](Self::read) keeps for each thread do not count:
/// they keep some kilobytes, until the thread ends or reads another domain for the first time.
#[derive(Clone)]
pub struct RcuDomain {
    pub(crate) handle: Handle,
}

impl RcuDomain {
    /// A domain and its only writer's handle, with [`Fences::cheapest_for_readers`].
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new() -> Result<(Self, Updater), AllocError> {
        Self::with_fences(Fences::cheapest_for_readers())
    }

    /// The same with a choice of fences.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn with_fences(fences: Fences) -> Result<(Self, Updater), AllocError> {
        // An asymmetric domain needs the process to be registered with membarrier(2).
        #[cfg(all(feature = "std", target_os = "linux", not(loom)))]
        let fences = match fences {
            Fences::Asymmetric => Fences::cheapest_for_readers(),
            Fences::Symmetric => Fences::Symmetric,
        };
        let handle = Handle::new(fences)?;
        let updater = Updater::new(handle.clone());
        Ok((Self { handle }, updater))
    }

    /// Registers a reader: one for each thread or open file that reads.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more; the writer never notices.
    pub fn reader(&self) -> Result<Reader, AllocError> {
        Reader::new(self.handle.clone())
    }

    /// Frees a bounded number of retired objects that no reader holds any more; says whether there is more to do.
    ///
    /// To be called by the writer after it has left its structure's lock, when [`Updater::reap_due`] says so, or by an
    /// idle thread until it answers `false`, which also means that another thread is at it, or that nothing can be done for
    /// want of memory. Objects' `free` functions run in the calling thread, which may be inside of a section of its own; they
    /// must not wait for a section to end, nor for somebody who does.
    ///
    /// While a thread is stopped in here nobody else frees: the bound is one on stopped *readers*. Let the writer reap, not a
    /// monitor that may be preempted for seconds.
    pub fn reap(&self) -> bool {
        self.handle.reaper.reap(&self.handle)
    }

    /// What the domain holds, and who keeps it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &*self.handle;
        let era = shared.era.load(Ordering::Relaxed);
        let mut stats = shared.counters.read();
        stats.era = era;
        for reader in self.reader_stats() {
            stats.readers += 1;
            if let Some(since) = reader.since_era {
                stats.readers_inside += 1;
                stats.oldest_section_eras = stats.oldest_section_eras.max(era.saturating_sub(since));
            }
        }
        stats
    }

    /// The registered readers, and what waits for each.
    pub fn reader_stats(&self) -> impl Iterator<Item = ReaderStats> {
        self.handle.registry.claimed().map(|slot| ReaderStats {
            id: slot.reader.load(Ordering::Relaxed),
            since_era: Some(slot.lo.load(Ordering::Relaxed)).filter(|&lo| lo != IDLE),
            pinned_objects: slot.pinned_objects.load(Ordering::Relaxed),
            pinned_bytes: slot.pinned_bytes.load(Ordering::Relaxed),
        })
    }
}

impl fmt::Debug for RcuDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("RcuDomain");
        this.field("id", &self.handle.id).field("fences", &self.handle.fences);
        this.field("stats", &self.stats()).finish()
    }
}
