//! What scanners read that was not so.

use serde::{Deserialize, Serialize};

/// Counts of what scanners read that was not so.
///
/// Each is certain: it is held against what the mapper did before the scan and has not touched
/// since (`page_state.rs`). Scans that began before the mapper's first call count, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misreads {
    /// Lines that began below the end of the one before.
    pub overlaps: u64,
    /// Pages mapped since before the scan that had no line, no share in the counts of smaps, or
    /// were not populated by pagemap.
    pub misses: u64,
    /// Lines that are malformed, or have attributes that no mapping there ever had; counts that do
    /// not add up.
    pub torn: u64,
    /// Pages unmapped since before the scan that had a line, or were populated by pagemap.
    pub resurrected: u64,
}

impl Misreads {
    /// Adds up several.
    #[must_use]
    pub fn merged(all: impl IntoIterator<Item = Self>) -> Self {
        // A foreign report may hold any numbers.
        all.into_iter().fold(Self::default(), |sum, one| Self {
            overlaps: sum.overlaps.saturating_add(one.overlaps),
            misses: sum.misses.saturating_add(one.misses),
            torn: sum.torn.saturating_add(one.torn),
            resurrected: sum.resurrected.saturating_add(one.resurrected),
        })
    }
}
