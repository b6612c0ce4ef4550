//! Changing what mappings are, one by one.

use core::ops::Range;

use crate::error::Errno;
use crate::machine::Machine;
use crate::store::VmaStore;
use crate::transaction::{Failure, Merge, Transaction, fail};
use crate::vma::Mapping;

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    /// Makes `part`, which is in one VMA whose page offset there is `pgoff`, another mapping, as one VMA with its neighbours if it
    /// continues them.
    #[doc(alias = "vma_modify")]
    pub(crate) fn modify(&mut self, part: &Range<u64>, pgoff: u64, mapping: Mapping) -> Result<(), Failure> {
        let met = self.meet(part);
        // A part that becomes one with a neighbour moves a boundary, which splits nothing.
        let splits = if met.continues(part, pgoff, &mapping) {
            0
        } else {
            met.parts()
        };
        if splits > 0 && self.accounts.map_count + splits > self.max_map_count() {
            return fail(Errno::ENOMEM, "a mapping would be split, and there are max_map_count");
        }
        let plan = self.put(part, pgoff, mapping, &met, Merge::Both);
        self.apply(plan)
    }
}
