//! What a model reports of itself.

use serde::{Deserialize, Serialize};

use super::Latencies;

/// What a model reports of itself, and no kernel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStats {
    /// Whether the kernel kept all of the model's memory in place.
    pub memory_locked: bool,
    /// How long writers held their lock each time.
    pub held: Latencies,
    /// How often a writer had to wait for it.
    pub writer_waits: u64,
    /// How often a reader had to wait for it.
    pub reader_waits: u64,
    /// The most bytes seen that were retired and not yet freed: what readers may hold, and what
    /// waits to be freed.
    pub deferred_bytes: u64,
    /// The oldest read-side section seen, in eras: each is about 64 objects or 64 KiB made or
    /// retired.
    pub oldest_section_eras: u64,
}

impl ModelStats {
    /// Adds up several runs; `None` without any.
    #[must_use]
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let all: Vec<_> = all.into_iter().collect();
        let sum = |of: fn(&Self) -> u64| all.iter().fold(0, |sum: u64, one| sum.saturating_add(of(one)));
        let max = |of: fn(&Self) -> u64| all.iter().map(|one| of(one)).max();
        Some(Self {
            deferred_bytes: max(|one| one.deferred_bytes)?,
            oldest_section_eras: max(|one| one.oldest_section_eras)?,
            memory_locked: all.iter().all(|one| one.memory_locked),
            held: Latencies::merged(all.iter().map(|one| &one.held)),
            writer_waits: sum(|one| one.writer_waits),
            reader_waits: sum(|one| one.reader_waits),
        })
    }
}
