//! The transaction: the writers' lock, edits of whole VMAs, and the accounts that go with them.
//!
//! Every call that changes the address space is one: it looks at what is there, checks every error, replaces VMAs, and is
//! published at one instant or undone. Where there are not enough VMAs at hand it is undone, more are made without the lock, and
//! it begins anew.

use core::ops::Range;

use vmaple_rcu::AllocError;

use crate::addr::PAGE_SHIFT;
use crate::error::{Errno, Error};
use crate::fail_point;
use crate::machine::Machine;
use crate::mm::{Accounts, Layout, Limits, Mm, MmStruct};
use crate::notice::{Notice, is_told};
use crate::pgtable::Arch;
use crate::store::{Call, Shortage, VmaRead, VmaStore, VmaWrite};
use crate::vma::{Mapping, Role, VmFlags, Vma};

/// Why a transaction ends without its result.
pub(crate) enum Failure {
    /// The call's error; nothing of it is published.
    Error(Error),
    /// The call's error, after effects that Linux documents: these are published.
    After(Error),
    /// It is to be tried again, with more memory.
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

pub(crate) fn fail<T>(errno: Errno, why: &'static str) -> Result<T, Failure> {
    Err(Error::new(errno, why).into())
}

impl<S: VmaStore, M: Machine> Mm<S, M> {
    pub(crate) fn transact<T>(
        &self,
        call: impl FnMut(&mut Transaction<'_, S, M>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.0.0.transact(call)
    }
}

/// What a range meets.
#[derive(Default)]
pub(crate) struct Met<'t> {
    /// The VMA that ends where the range begins.
    prev: Option<&'t Vma>,
    /// The VMA that reaches out of the range at its beginning.
    below: Option<&'t Vma>,
    /// The VMA that reaches out of the range at its end; it may be the same.
    above: Option<&'t Vma>,
    /// The VMA that begins where the range ends.
    next: Option<&'t Vma>,
    /// All VMAs that have an address in the range.
    accounts: Accounts,
    /// The pages in the range that are mapped.
    pub(crate) pages: u64,
}

impl Met<'_> {
    /// Whether something is mapped in the range.
    pub(crate) fn is_occupied(&self) -> bool {
        self.accounts.map_count > 0
    }

    /// Whether one VMA becomes two if the range is taken out.
    pub(crate) fn is_split(&self) -> bool {
        self.accounts.map_count == 1 && self.below.is_some() && self.above.is_some()
    }

    /// The VMAs that become one more if the range becomes another mapping.
    pub(crate) fn parts(&self) -> usize {
        usize::from(self.below.is_some()) + usize::from(self.above.is_some())
    }

    /// Whether a mapping over the range would become one with the VMA before or the VMA behind it.
    pub(crate) fn continues(&self, range: &Range<u64>, pgoff: u64, mapping: &Mapping) -> bool {
        let continues = |vma: Option<&Vma>| vma.is_some_and(|vma| vma.continues_as(range.start, pgoff, mapping));
        continues(self.prev) || continues(self.next)
    }
}

/// With which neighbours a mapping may become one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    Both,
    /// With the one before, if that ends above an address.
    PrevAbove(u64),
}

/// What an edit is to do: the VMAs that replace all in a span, and the accounts of those.
pub(crate) struct Plan {
    span: Range<u64>,
    vmas: [Option<Vma>; 3],
    removed: Accounts,
}

/// A call in progress.
pub(crate) struct Transaction<'m, S: VmaStore, M: Machine> {
    pub(crate) mm: &'m MmStruct<S, M>,
    write: S::Write<'m>,
    pub(crate) accounts: Accounts,
    /// The end of the heap, which makes a VMA part of it.
    pub(crate) brk: u64,
    is_changed: bool,
    /// What becomes of the pages of a range.
    pages: Pages,
}

/// What becomes of pages once the call is published. The start of the range has been told then.
enum Pages {
    Stay,
    /// They go, with what was mapped there.
    Go(Range<u64>),
    /// They go, and something else is mapped there already, to which they are not to be taken for.
    GiveWay(Range<u64>),
    /// They are accessed as the mappings there say now.
    Change(Range<u64>),
}

impl Pages {
    /// Where translations end.
    fn range(&self) -> Range<u64> {
        match self {
            Self::Stay => 0..0,
            Self::Go(range) | Self::GiveWay(range) | Self::Change(range) => range.clone(),
        }
    }
}

impl<S: VmaStore, M: Machine> MmStruct<S, M> {
    /// Makes a call's changes, all at one instant, or none.
    pub(crate) fn transact<T>(
        &self,
        mut call: impl FnMut(&mut Transaction<'_, S, M>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        // More than a call of one range takes: the range, and a part on either side.
        let mut vmas = 4;
        // Told without the lock, once it is known that pages are to go: then the call begins anew.
        let mut notice = None;
        loop {
            let write = self.store.write(vmas, &Call(()))?;
            let mut transaction = Transaction {
                mm: self,
                accounts: self.accounts(),
                brk: self.brk(),
                is_changed: false,
                pages: Pages::Stay,
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
            if is_told(notice.as_ref(), &range) {
                transaction.finish();
                return done;
            }
            drop(transaction);
            // What is mapped may change each time before the call is done: the range only grows, so that it suffices in the end.
            let range = notice
                .as_ref()
                .map_or_else(|| range.clone(), |told: &Notice<'_, _>| told.with(&range));
            // The end of the other range first.
            drop(notice.take());
            notice = Some(self.tables.tell(range));
        }
    }
}

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    pub(crate) fn layout(&self) -> &Layout {
        &self.mm.layout
    }

    pub(crate) fn find(&self, addr: u64) -> Option<&Vma> {
        self.write.find(addr)
    }

    /// The VMAs that have an address in `range`.
    pub(crate) fn range(&self, range: Range<u64>) -> impl Iterator<Item = &Vma> {
        self.write
            .iter_from(range.start)
            .take_while(move |vma| vma.range().start < range.end)
    }

    pub(crate) fn empty_area(&self, size: u64, limits: Range<u64>) -> Option<u64> {
        self.write.empty_area(size, limits, self.layout().align)
    }

    pub(crate) fn empty_area_rev(&self, size: u64, limits: Range<u64>) -> Option<u64> {
        self.write.empty_area_rev(size, limits, self.layout().align)
    }

    /// A VMA that is not published yet.
    pub(crate) fn vma(&self, range: Range<u64>, pgoff: u64, mapping: Mapping) -> Vma {
        let Layout {
            start_brk, start_stack, ..
        } = *self.layout();
        let role = if mapping.file.is_some() {
            Role::None
        } else if range.start < self.brk && range.end > start_brk {
            Role::Heap
        } else if range.start <= start_stack && range.end >= start_stack {
            Role::Stack
        } else {
            Role::None
        };
        Vma::new(range, pgoff, mapping, role)
    }

    /// What a range meets, found in one walk.
    #[doc(alias = "vms_gather_munmap_vmas")]
    pub(crate) fn meet(&self, range: &Range<u64>) -> Met<'_> {
        let mut met = Met::default();
        for vma in self.write.iter_from(range.start.saturating_sub(1)) {
            let Range { start, end } = vma.range();
            if end == range.start {
                met.prev = Some(vma);
            } else if start < range.end {
                met.below = met.below.or((start < range.start).then_some(vma));
                met.above = (end > range.end).then_some(vma);
                met.accounts.add(vma);
                met.pages += (end.min(range.end) - start.max(range.start)) >> PAGE_SHIFT;
            } else {
                met.next = (start == range.end).then_some(vma);
                break;
            }
        }
        met
    }

    /// To put a mapping over `range`, whatever is there, as one VMA with those beside it that it continues.
    #[doc(alias = "vma_merge_new_range")]
    #[doc(alias = "vma_merge_existing_range")]
    pub(crate) fn put(&self, range: &Range<u64>, pgoff: u64, mapping: Mapping, met: &Met<'_>, merge: Merge) -> Plan {
        let mut removed = met.accounts;
        let mut whole = range.clone();
        let mut first = pgoff;
        let may_be_before = |vma: &&Vma| match merge {
            Merge::Both => true,
            Merge::PrevAbove(addr) => vma.range().end > addr,
        };
        let continues = |vma: &Vma, mapping: &Mapping| vma.continues_as(range.start, pgoff, mapping);
        let mut mapping = mapping;
        let left = met
            .below
            .or(met.prev)
            .filter(may_be_before)
            .filter(|vma| continues(vma, &mapping));
        if let Some(vma) = left {
            mapping.anon_vma = mapping.anon_vma.or(vma.anon_vma());
            (whole.start, first) = (vma.range().start, vma.pgoff());
            if met.below.is_none() {
                removed.add(vma);
            }
        }
        let right = met
            .above
            .or(met.next)
            .filter(|_| merge == Merge::Both)
            .filter(|vma| continues(vma, &mapping));
        if let Some(vma) = right {
            mapping.anon_vma = mapping.anon_vma.or(vma.anon_vma());
            whole.end = vma.range().end;
            if met.above.is_none() {
                removed.add(vma);
            }
        }
        let below = met.below.filter(|_| left.is_none());
        let above = met.above.filter(|_| right.is_none());
        let left = below.map(|vma| self.part(vma, vma.range().start..range.start));
        let right = above.map(|vma| self.part(vma, range.end..vma.range().end));
        Plan {
            span: below.map_or(whole.start, |vma| vma.range().start)..above.map_or(whole.end, |vma| vma.range().end),
            vmas: [left, Some(self.vma(whole, first, mapping)), right],
            removed,
        }
    }

    /// To take everything out of `range`.
    pub(crate) fn clear(&self, range: &Range<u64>, met: &Met<'_>) -> Plan {
        let left = met.below.map(|vma| self.part(vma, vma.range().start..range.start));
        let right = met.above.map(|vma| self.part(vma, range.end..vma.range().end));
        let low = left.as_ref().map_or(range.start, |vma| vma.range().start);
        let high = right.as_ref().map_or(range.end, |vma| vma.range().end);
        Plan {
            span: low..high,
            vmas: [left, None, right],
            removed: met.accounts,
        }
    }

    /// To have the VMA that holds `addr` in its middle, if one does, be two.
    pub(crate) fn split(&self, addr: u64) -> Option<Plan> {
        let vma = self.find(addr).filter(|vma| vma.range().start < addr)?;
        let span = vma.range();
        let mut removed = Accounts::default();
        removed.add(vma);
        let parts = [span.start..addr, addr..span.end];
        let [left, right] = parts.map(|part| Some(self.part(vma, part)));
        Some(Plan {
            span,
            vmas: [left, right, None],
            removed,
        })
    }

    /// Another VMA of what `vma` maps in a part of its range.
    #[doc(alias = "__split_vma")]
    fn part(&self, vma: &Vma, part: Range<u64>) -> Vma {
        let pgoff = vma.pgoff_at(part.start);
        self.vma(part, pgoff, vma.mapping())
    }

    /// Says how many VMAs the call may take, so that it begins anew with these rather than in its middle: one for each VMA in
    /// `range`, and the parts at its ends.
    pub(crate) fn expect(&mut self, range: Range<u64>) -> Result<(), Failure> {
        let vmas = self.range(range).count() + 3;
        if self.write.has_room(vmas) {
            Ok(())
        } else {
            Err(Shortage::Vmas(vmas).into())
        }
    }

    /// Does what was planned.
    pub(crate) fn apply(&mut self, plan: Plan) -> Result<(), Failure> {
        let mut accounts = self.accounts.minus(plan.removed);
        plan.vmas.iter().flatten().for_each(|vma| accounts.add(vma));
        self.write.replace(plan.span, plan.vmas)?;
        self.accounts = accounts;
        self.is_changed = true;
        Ok(())
    }

    /// Whether the limits allow `pages` pages more of a mapping with `flags`.
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

    /// The most mappings that there may be.
    pub(crate) fn max_map_count(&self) -> usize {
        self.limits().max_map_count
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.write.state_mut().limits = limits;
    }

    /// Says that the pages in `range` go with what was mapped there; `is_replaced`, if something else is mapped there instead.
    pub(crate) fn zap(&mut self, range: Range<u64>, is_replaced: bool) {
        self.pages = if is_replaced {
            Pages::GiveWay(range)
        } else {
            Pages::Go(range)
        };
    }

    /// Says that the pages in `range` too are to be accessed as the mappings there say. Ranges ascend.
    pub(crate) fn change_protection(&mut self, range: Range<u64>) {
        let start = match &self.pages {
            Pages::Change(before) => before.start,
            _ => range.start,
        };
        self.pages = Pages::Change(start..range.end);
    }

    /// Publishes the edits, has the pages follow, gives up the lock, and then frees what was taken out.
    fn finish(mut self) {
        let mm = self.mm;
        if let Pages::GiveWay(range) = &self.pages {
            mm.pending.begin(range);
        }
        mm.set_brk(self.brk);
        if self.is_changed {
            mm.set_accounts(self.accounts);
            self.write.commit(|| mm.change.begin(), || mm.change.end());
        }
        let gather = match &self.pages {
            Pages::Stay => return,
            Pages::Go(range) | Pages::GiveWay(range) => {
                fail_point::reach("zap: published");
                let mut gather = mm.tables.gather();
                gather.zap(range.clone());
                mm.pending.end();
                gather
            }
            Pages::Change(range) => {
                fail_point::reach("change: published");
                let mut gather = mm.tables.gather();
                for vma in self.range(range.clone()) {
                    let part = vma.range().start.max(range.start)..vma.range().end.min(range.end);
                    gather.protect(part, M::Arch::protection(vma.flags()));
                }
                gather
            }
        };
        drop(self);
        drop(gather);
    }
}
