//! Changing what mappings are, one by one (`vma_modify`).

use core::ops::Range;

use crate::error::Errno;
use crate::store::VmaStore;
use crate::transaction::{Failure, Merge, Transaction, fail};
use crate::vma::Mapping;

impl<S: VmaStore> Transaction<'_, S> {
    /// Makes the part of the mapping at `range.start` that is in `range` another one, and merges it with what it then continues.
    /// Gives the end of the part.
    pub(crate) fn modify(&mut self, range: Range<u64>, mapping: Mapping) -> Result<u64, Failure> {
        let Some(vma) = self.find(range.start) else {
            return Ok(range.end);
        };
        let (whole, pgoff) = (vma.range(), vma.pgoff_at(range.start));
        let part = range.start..range.end.min(whole.end);
        let merges_left = part.start == whole.start
            && self
                .find_prev(part.start)
                .is_some_and(|prev| prev.range().end == part.start && prev.continues_as(part.start, pgoff, &mapping));
        let merges_right = part.end == whole.end
            && self
                .find(part.end)
                .is_some_and(|next| next.range().start == part.end && next.continues_as(part.start, pgoff, &mapping));
        // A part that becomes one with a neighbour moves a boundary, which splits nothing.
        let splits = if merges_left || merges_right {
            0
        } else {
            usize::from(whole.start < part.start) + usize::from(part.end < whole.end)
        };
        if splits > 0 && self.accounts.map_count + splits > self.max_map_count() {
            return fail(Errno::ENOMEM, "a mapping would be split, and there are max_map_count");
        }
        let end = part.end;
        let outside = self.outside(&part);
        self.put(part, pgoff, mapping, outside, Merge::Both)?;
        Ok(end)
    }
}
