//! Numbers that describe a domain.

use crate::primitive::{AtomicU64, Ordering, own_load};

/// A look at a domain. The numbers are read one by one while other threads change them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The current era.
    pub era: u64,
    /// Registered readers.
    pub readers: usize,
    /// Readers that are inside of a section.
    pub readers_inside: usize,
    /// Age of the oldest section in eras; 0 if no section is open. An era is about 64 objects or
    /// 64 KiB born or retired.
    pub oldest_section_eras: u64,
    /// Objects retired and not yet freed.
    pub deferred_objects: u64,
    /// Their bytes.
    pub deferred_bytes: u64,
    /// The most objects that were ever deferred, as seen when blocks were sealed.
    pub peak_deferred_objects: u64,
    /// The most bytes that were ever deferred, as seen when blocks were sealed.
    pub peak_deferred_bytes: u64,
    /// Objects freed.
    pub freed_objects: u64,
}

/// A look at one registered reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStats {
    /// The reader's number: what [`Reader::id`](crate::Reader::id) returns.
    pub id: u64,
    /// The era in which its section began, if it is inside of one.
    ///
    /// Two looks that find the same era tell how long, in seconds, it has been there at least. A
    /// clock read at each entry would cost more than the entry.
    pub since_era: Option<u64>,
    /// Retired objects that wait for this reader. An object that waits for several readers counts
    /// for one of them.
    pub pinned_objects: u64,
    /// Their bytes.
    pub pinned_bytes: u64,
}

/// The counters of [`Stats`]. The updater alone writes the first four, the holder of the reaper's
/// lock the others. All are Relaxed: they order nothing.
pub(crate) struct Counters {
    retired_objects: AtomicU64,
    retired_bytes: AtomicU64,
    peak_objects: AtomicU64,
    peak_bytes: AtomicU64,
    freed_objects: AtomicU64,
    freed_bytes: AtomicU64,
}

/// Adds to a counter that only the caller writes, without the cost of an atomic addition.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(own_load(counter).wrapping_add(n), Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            retired_objects: zero(),
            retired_bytes: zero(),
            peak_objects: zero(),
            peak_bytes: zero(),
            freed_objects: zero(),
            freed_bytes: zero(),
        }
    }

    /// Counts a sealed block; called by the updater.
    pub(crate) fn retired(&self, objects: u64, bytes: u64) {
        add(&self.retired_objects, objects);
        add(&self.retired_bytes, bytes);
        let now = self.read();
        for (peak, deferred) in [
            (&self.peak_objects, now.deferred_objects),
            (&self.peak_bytes, now.deferred_bytes),
        ] {
            if deferred > own_load(peak) {
                peak.store(deferred, Ordering::Relaxed);
            }
        }
    }

    /// Counts freed objects; called by the holder of the reaper's lock.
    pub(crate) fn freed(&self, objects: u64, bytes: u64) {
        add(&self.freed_objects, objects);
        add(&self.freed_bytes, bytes);
    }

    pub(crate) fn read(&self) -> Stats {
        // Freed before retired: what is freed between the two loads then counts as deferred, not
        // as less than nothing.
        let freed_objects = self.freed_objects.load(Ordering::Relaxed);
        let freed_bytes = self.freed_bytes.load(Ordering::Relaxed);
        Stats {
            deferred_objects: self
                .retired_objects
                .load(Ordering::Relaxed)
                .saturating_sub(freed_objects),
            deferred_bytes: self.retired_bytes.load(Ordering::Relaxed).saturating_sub(freed_bytes),
            peak_deferred_objects: self.peak_objects.load(Ordering::Relaxed),
            peak_deferred_bytes: self.peak_bytes.load(Ordering::Relaxed),
            freed_objects,
            ..Stats::default()
        }
    }
}
