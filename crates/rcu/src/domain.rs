//! The domain: one set of readers, one writer at a time, one reaper at a time.

use core::fmt;

use crate::error::AllocError;
use crate::fences::Fences;
use crate::handle::Handle;
use crate::primitive::Ordering;
use crate::read::Reader;
use crate::slot::IDLE;
use crate::stats::{ReaderStats, Stats};
use crate::update::Updater;

/// One structure's readers and its deferred freeing.
///
/// A clone is another handle of the same domain. Dropping the [`Updater`] frees what is deferred
/// and held by no reader. The last handle, [`Reader`]s included, frees the rest: never under a
/// reader. If a value's drop unwinds there, what is left is leaked.
///
/// The readers that [`read`](Self::read) keeps for each thread do not count. They keep some
/// kilobytes, until the thread ends or reads another domain for the first time.
#[derive(Clone)]
pub struct RcuDomain {
    pub(crate) handle: Handle,
}

impl RcuDomain {
    /// Returns a domain and its only writer's handle, with [`Fences::cheapest_for_readers`].
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new() -> Result<(Self, Updater), AllocError> {
        Self::with_fences(Fences::cheapest_for_readers())
    }

    /// Returns a domain with a choice of fences, and its only writer's handle.
    ///
    /// [`Fences::Asymmetric`] falls back to [`Fences::Symmetric`] where it is unavailable.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn with_fences(fences: Fences) -> Result<(Self, Updater), AllocError> {
        let handle = Handle::new(fences.or_symmetric())?;
        let updater = Updater::new(handle.clone());
        Ok((Self { handle }, updater))
    }

    /// Registers a reader: one for each thread or open file that reads.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for one more. The writer never notices.
    pub fn reader(&self) -> Result<Reader, AllocError> {
        Reader::new(self.handle.clone())
    }

    /// Frees a bounded number of retired objects that no reader holds any more; returns whether
    /// there is more to do.
    ///
    /// The writer calls it after it has left its structure's lock, when [`Updater::reap_due`] says
    /// so; or an idle thread calls it until it returns `false`. `false` also means that another
    /// thread is reaping, or that there is no memory to go on. The objects' `free` functions run
    /// in the calling thread, which may be inside of a section of its own. They must not wait for
    /// a section to end, nor for a thread that does.
    ///
    /// While a thread is stopped in here no other thread frees: the bound is one on stopped
    /// *readers*. Let the writer reap, not a monitor that may be preempted for seconds.
    pub fn reap(&self) -> bool {
        self.handle.reap()
    }

    /// Returns what the domain holds, and how old its oldest section is.
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

    /// Returns the registered readers, and what waits for each.
    pub fn reader_stats(&self) -> impl Iterator<Item = ReaderStats> {
        self.handle.registry.claimed().map(|slot| ReaderStats {
            id: slot.reader.load(Ordering::Relaxed),
            since_era: Some(slot.lo.load(Ordering::Relaxed)).filter(|&lo| lo != IDLE),
            pinned_objects: slot.pinned_objects.load(Ordering::Relaxed),
            pinned_bytes: slot.pinned_bytes.load(Ordering::Relaxed),
        })
    }
}

impl Updater {
    /// Returns a handle of the domain.
    #[must_use]
    pub fn rcu_domain(&self) -> RcuDomain {
        RcuDomain {
            handle: self.domain().clone(),
        }
    }
}

impl fmt::Debug for RcuDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("RcuDomain");
        this.field("id", &self.handle.id).field("fences", &self.handle.fences);
        this.field("stats", &self.stats()).finish()
    }
}
