//! Changing what mappings are, one by one.

use core::ops::Range;

use super::transaction::{Failure, Merge, Transaction};
use crate::error::{Errno, Error};
use crate::machine::Machine;
use crate::mm::PartialEffects;
use crate::store::VmaStore;
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
        let room = self.max_map_count().saturating_sub(self.accounts.map_count);
        if splits > room {
            let error = Error::new(Errno::ENOMEM, "a mapping would be split, and there are max_map_count");
            // Linux splits first at the beginning, then at the end.
            return self.fail_split([part.start].into_iter().take(room), error);
        }
        let plan = self.put(part, pgoff, mapping, &met, Merge::Both);
        self.apply(plan)
    }

    /// Fails, and leaves mappings split at these addresses if that is wanted.
    pub(crate) fn fail_split<T>(&mut self, addrs: impl IntoIterator<Item = u64>, error: Error) -> Result<T, Failure> {
        if self.limits().partial_effects == PartialEffects::None {
            return Err(error.into());
        }
        for addr in addrs {
            if let Some(plan) = self.split(addr) {
                self.apply(plan)?;
            }
        }
        Err(Failure::After(error))
    }
}
