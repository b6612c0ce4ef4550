//! Edits that find a gap and put an entry there.

use core::ops::{Bound, RangeBounds};

use lock_api::RawMutex;
use vmaple_rcu::Reclaim;

use crate::entry::Entry;
use crate::error::{InsertError, InsertErrorKind};
use crate::range::first_last;
use crate::write::Write;

impl<E: Entry, R: Reclaim, L: RawMutex, const FANOUT: usize> Write<'_, E, R, L, FANOUT> {
    /// Puts an entry into the lowest gap of `size` indexes in `limits`, at a multiple of `align`;
    /// returns its first index.
    ///
    /// # Errors
    /// With the entry given back: [`Full`](InsertErrorKind::Full) if there is no such gap,
    /// [`InvalidRequest`](InsertErrorKind::InvalidRequest) for a size of zero, empty limits or an
    /// alignment that is not a power of two, [`AllocError`](InsertErrorKind::AllocError) if there
    /// is no memory.
    ///
    /// ```
    /// let tree = maple_tree::MapleTree::<u32>::new()?;
    /// assert_eq!(tree.alloc_range(0x3000, 0x1000.., 0x1000, 7)?, 0x1000);
    /// assert_eq!(tree.alloc_range(0x1000, 0x1000.., 0x1000, 8)?, 0x4000);
    /// assert_eq!(tree.alloc_range_rev(0x1000, ..0x10000, 0x1000, 9)?, 0xf000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alloc_range(
        &mut self,
        size: u64,
        limits: impl RangeBounds<u64>,
        align: u64,
        entry: E,
    ) -> Result<u64, InsertError<E>> {
        let first = self.empty_area(size, bounds(&limits), align);
        self.alloc_at(first, size, &limits, align, entry)
    }

    /// Puts an entry into the highest such gap; returns its first index.
    ///
    /// # Errors
    /// As for [`alloc_range`](Self::alloc_range).
    pub fn alloc_range_rev(
        &mut self,
        size: u64,
        limits: impl RangeBounds<u64>,
        align: u64,
        entry: E,
    ) -> Result<u64, InsertError<E>> {
        let first = self.empty_area_rev(size, bounds(&limits), align);
        self.alloc_at(first, size, &limits, align, entry)
    }

    fn alloc_at(
        &mut self,
        first: Option<u64>,
        size: u64,
        limits: &impl RangeBounds<u64>,
        align: u64,
        value: E,
    ) -> Result<u64, InsertError<E>> {
        if size == 0 || !align.is_power_of_two() || first_last(limits).is_none() {
            let cause = InsertErrorKind::InvalidRequest;
            return Err(InsertError { value, cause });
        }
        let Some(first) = first else {
            let cause = InsertErrorKind::Full;
            return Err(InsertError { value, cause });
        };
        self.insert_range(first..=first + (size - 1), value)?;
        Ok(first)
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (Bound<u64>, Bound<u64>) {
    (range.start_bound().cloned(), range.end_bound().cloned())
}
