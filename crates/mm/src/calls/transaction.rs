//! The transaction: the writers' lock, edits of whole VMAs, and their accounts.
//!
//! Every call that changes the address space is one. It looks at what is there, checks every error,
//! and executes [`Plan`]s. Then it is published at one instant, or undone. If it needs more VMAs
//! than there are at hand, it is undone, the memory is allocated without the lock, and the call
//! runs again.

use vmaple_rcu::AllocError;

use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::error::{Errno, Error};
use crate::fail_point;
use crate::machine::Machine;
use crate::mm::{Layout, Limits, Mm, MmStruct};
use crate::notice::{Notice, is_told};
use crate::pgtable::Arch;
use crate::store::{Call, Shortage, VmaRead, VmaStore, VmaWrite};
use crate::vma::{Accounts, Landmarks, Neighbours, Pages, Plan, VmFlags, Vma};

/// Why a transaction ends without a result.
pub(crate) enum Failure {
    /// The call's error; nothing of it is published.
    Error(Error),
    /// The call's error, after effects that Linux documents: these are published.
    After(Error),
    /// The call needs more memory, and then runs again.
    Shortage(Shortage),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Shortage> for Failure {
    fn from(shortage: Shortage) -> Self {
        Self::Shortage(shortage)
    }
}

impl From<AllocError> for Failure {
    fn from(error: AllocError) -> Self {
        Self::Error(error.into())
    }
}

/// Returns an error of a call that publishes nothing.
pub(crate) fn fail<T>(errno: Errno, why: &'static str) -> Result<T, Failure> {
    Err(Error::new(errno, why).into())
}

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// Runs a call: see [`MmStruct::transact`].
    pub(crate) fn transact<T>(
        &self,
        call: impl FnMut(&mut Transaction<'_, S, M>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.0.0.transact(call)
    }
}

/// A call in progress.
pub(crate) struct Transaction<'m, S: VmaStore, M: Machine> {
    pub(crate) mm: &'m MmStruct<S, M>,
    write: S::Write<'m>,
    pub(crate) accounts: Accounts,
    /// The end of the heap.
    pub(crate) brk: VirtAddr,
    is_changed: bool,
    /// What becomes of the pages, by all plans so far.
    pages: Pages,
}

impl<S: VmaStore, M: Machine> MmStruct<S, M> {
    /// Runs a call: publishes all its changes at one instant, or none.
    pub(crate) fn transact<T>(
        &self,
        mut call: impl FnMut(&mut Transaction<'_, S, M>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        // More than a call of one range takes: one VMA for the range, and the rest of one at each
        // end.
        let mut vmas = 4;
        // The notifier is told without the lock, after a first run has shown which pages are to go.
        // Then the call runs again.
        let mut notice = None;
        loop {
            let write = self.store.write(vmas, &Call(()))?;
            let mut transaction = Transaction {
                mm: self,
                accounts: self.accounts(),
                brk: self.brk(),
                is_changed: false,
                pages: Pages::Keep,
                write,
            };
            let done = match call(&mut transaction) {
                Ok(done) => Ok(done),
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::After(error)) => Err(error),
                Err(Failure::Shortage(Shortage::Memory)) => return Err(AllocError.into()),
                Err(Failure::Shortage(Shortage::Vmas(needed))) => {
                    vmas = needed.max(2 * vmas);
                    continue;
                }
            };
            let range = transaction.pages.range();
            if is_told(notice.as_ref(), range) {
                transaction.finish();
                return done;
            }
            drop(transaction);
            // Another call may change what is mapped before this one runs again. The range only
            // grows, so that it suffices in the end.
            let range = notice.as_ref().map_or(range, |told: &Notice<'_, _>| told.with(range));
            // The end of the range told before comes first.
            drop(notice.take());
            notice = Some(self.tables.tell(range));
        }
    }
}

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    pub(crate) fn layout(&self) -> &Layout {
        &self.mm.layout
    }

    pub(crate) fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        self.write.find(addr)
    }

    /// Iterates over the VMAs with an address in `range`.
    pub(crate) fn range(&self, range: VirtRange) -> impl Iterator<Item = &Vma> {
        self.write
            .iter_from(range.start)
            .take_while(move |vma| vma.range().start < range.end)
    }

    pub(crate) fn empty_area(&self, size: u64, limits: VirtRange) -> Option<VirtAddr> {
        self.write.empty_area(size, limits, self.layout().align)
    }

    pub(crate) fn empty_area_rev(&self, size: u64, limits: VirtRange) -> Option<VirtAddr> {
        self.write.empty_area_rev(size, limits, self.layout().align)
    }

    /// Returns the addresses that give new VMAs their roles.
    pub(crate) fn landmarks(&self) -> Landmarks {
        let Layout {
            start_brk, start_stack, ..
        } = *self.layout();
        Landmarks {
            start_brk,
            brk: self.brk,
            start_stack,
        }
    }

    /// Collects the VMAs in `range` and next to it.
    pub(crate) fn neighbours(&self, range: VirtRange) -> Neighbours<'_> {
        let mut vmas = self.write.iter_from(range.start.saturating_sub(1));
        Neighbours::new(range, &mut vmas)
    }

    /// Fails early if the call may need more VMAs than there is memory for: one for each VMA in
    /// `range`, and the parts at its ends. So it runs again from the start, not from its
    /// middle.
    pub(crate) fn expect(&mut self, range: VirtRange) -> Result<(), Failure> {
        let vmas = self.range(range).count() + 3;
        if self.write.has_room(vmas) {
            Ok(())
        } else {
            Err(Shortage::Vmas(vmas).into())
        }
    }

    /// Executes a plan.
    pub(crate) fn apply(&mut self, mut plan: Plan) -> Result<(), Failure> {
        let mut accounts = self.accounts.minus(plan.removed);
        plan.insert.iter().flatten().for_each(|vma| accounts.add(vma));
        self.pages.add(plan.pages);
        self.write.replace(plan.span, &mut plan.insert)?;
        self.accounts = accounts;
        self.is_changed = true;
        Ok(())
    }

    /// Whether the limits allow `pages` more pages of a mapping with `flags`.
    #[doc(alias = "may_expand_vm")]
    pub(crate) fn may_expand(&self, flags: VmFlags, pages: u64) -> bool {
        let limits = self.limits();
        let within = |used: u64, limit: u64| used.saturating_add(pages) <= limit >> PAGE_SHIFT;
        within(self.accounts.total_vm, limits.address_space)
            && (!flags.is_data_mapping() || within(self.accounts.data_vm, limits.data))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.write.state().limits
    }

    /// The limit of mappings.
    pub(crate) fn max_map_count(&self) -> usize {
        self.limits().max_map_count
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.write.state_mut().limits = limits;
    }

    /// Publishes the edits, lets the pages follow, releases the lock, and frees what was removed.
    fn finish(mut self) {
        let mm = self.mm;
        if let Pages::ZapReplaced(range) = self.pages {
            mm.pending.begin(range);
        }
        mm.set_brk(self.brk);
        if self.is_changed {
            mm.set_accounts(self.accounts);
            self.write.commit(|| mm.change.begin(), || mm.change.end());
        }
        let gather = match self.pages {
            Pages::Keep => return,
            Pages::Zap(range) | Pages::ZapReplaced(range) => {
                fail_point::reach("zap: published");
                let mut gather = mm.tables.gather();
                gather.zap(range);
                mm.pending.end();
                gather
            }
            Pages::Protect(range) => {
                fail_point::reach("change: published");
                let mut gather = mm.tables.gather();
                for vma in self.range(range) {
                    gather.protect(vma.range().intersection(range), M::Arch::protection(vma.flags()));
                }
                gather
            }
        };
        drop(self);
        drop(gather);
    }
}
