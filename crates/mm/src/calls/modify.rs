//! Changing mappings one by one: what mprotect and names share.

use super::transaction::{Failure, Transaction};
use crate::addr::{VirtAddr, VirtRange};
use crate::error::{Errno, Error};
use crate::machine::Machine;
use crate::mm::PartialEffects;
use crate::store::VmaStore;
use crate::vma::{Mapping, Plan, Request};

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    /// Turns `part`, which lies in one VMA, into another mapping.
    #[doc(alias = "vma_modify")]
    pub(crate) fn modify(&mut self, part: VirtRange, mapping: Mapping) -> Result<(), Failure> {
        let plan = self.neighbours(part).plan(Request::Modify(mapping), &self.landmarks());
        let room = self.max_map_count().saturating_sub(self.accounts.map_count);
        if plan.growth() > room {
            let error = Error::new(Errno::ENOMEM, "a mapping would be split, and there are max_map_count");
            // Linux splits at the start first, then at the end.
            return self.fail_split([part.start].into_iter().take(room), error);
        }
        self.apply(plan)
    }

    /// Fails, and leaves mappings split at `addrs` if the limits ask for that.
    pub(crate) fn fail_split<T>(
        &mut self,
        addrs: impl IntoIterator<Item = VirtAddr>,
        error: Error,
    ) -> Result<T, Failure> {
        if self.limits().partial_effects == PartialEffects::None {
            return Err(error.into());
        }
        for addr in addrs {
            if let Some(vma) = self.find(addr).filter(|vma| vma.range().start < addr) {
                let plan = Plan::split(vma, addr, &self.landmarks());
                self.apply(plan)?;
            }
        }
        Err(Failure::After(error))
    }
}
