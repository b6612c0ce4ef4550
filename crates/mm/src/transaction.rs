//! The transaction: the writers' lock, edits of whole VMAs, and the accounts that go with them.
//!
//! Every call that changes the address space is one: it looks at what is there, checks every error, replaces VMAs, and is
//! published at one instant or undone. Where there is not enough memory it is undone, more is taken without the lock, and it
//! begins anew.

use core::ops::Range;

use vmaple_rcu::AllocError;

use crate::addr::PAGE_SHIFT;
use crate::error::{Errno, Error};
use crate::flags::VmFlags;
use crate::layout::Layout;
use crate::limits::Limits;
use crate::mm::MmStruct;
use crate::store::{Shortage, VmaRead, VmaStore, VmaWrite};
use crate::vma::{Mapping, Role, Vma};

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

/// Mappings, their pages, and those of them that are data: what the limits are about.
#[derive(Clone, Copy, Default)]
pub(crate) struct Accounts {
    pub(crate) map_count: usize,
    pub(crate) total_vm: u64,
    pub(crate) data_vm: u64,
}

impl Accounts {
    fn add(&mut self, vma: &Vma) {
        self.map_count += 1;
        self.total_vm += vma.pages();
        if vma.flags().is_data_mapping() {
            self.data_vm += vma.pages();
        }
    }

    fn remove(&mut self, vma: &Vma) {
        self.map_count -= 1;
        self.total_vm -= vma.pages();
        if vma.flags().is_data_mapping() {
            self.data_vm -= vma.pages();
        }
    }
}

/// The parts of VMAs that reach out of a range in which others are put, and how far they reach.
pub(crate) struct Outside {
    pub(crate) left: Option<Vma>,
    pub(crate) right: Option<Vma>,
    /// Whether both are of one VMA.
    pub(crate) is_split: bool,
}

/// A call in progress.
pub(crate) struct Transaction<'m, S: VmaStore> {
    pub(crate) mm: &'m MmStruct<S>,
    write: S::Write<'m>,
    pub(crate) accounts: Accounts,
    /// The end of the heap, which makes a VMA part of it.
    pub(crate) brk: u64,
    is_changed: bool,
}

impl<S: VmaStore> MmStruct<S> {
    /// Makes a call's changes, all at one instant, or none.
    pub(crate) fn transact<T>(
        &self,
        mut call: impl FnMut(&mut Transaction<'_, S>) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        // More than a call of one range takes: the range, and a part on either side.
        let mut vmas = 4;
        loop {
            let write = self.store.write(vmas)?;
            let mut transaction = Transaction {
                mm: self,
                accounts: self.accounts(),
                brk: write.state().brk,
                is_changed: false,
                write,
            };
            match call(&mut transaction) {
                Ok(done) => {
                    transaction.commit();
                    return Ok(done);
                }
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::After(error)) => {
                    transaction.commit();
                    return Err(error);
                }
                Err(Failure::Shortage(Shortage::Memory)) => return Err(AllocError.into()),
                Err(Failure::Shortage(Shortage::Vmas)) => vmas *= 2,
            }
        }
    }
}

impl<S: VmaStore> Transaction<'_, S> {
    pub(crate) fn layout(&self) -> &Layout {
        &self.mm.layout
    }

    pub(crate) fn find(&self, addr: u64) -> Option<&Vma> {
        self.write.find(addr)
    }

    pub(crate) fn find_prev(&self, addr: u64) -> Option<&Vma> {
        self.write.find_prev(addr)
    }

    /// The VMAs that have an address in `range`.
    pub(crate) fn range(&self, range: Range<u64>) -> impl Iterator<Item = &Vma> {
        self.write
            .iter_from(range.start)
            .take_while(move |vma| vma.range().start < range.end)
    }

    /// The pages in `range` that are mapped.
    pub(crate) fn pages_in(&self, range: &Range<u64>) -> u64 {
        let part = |vma: &Vma| vma.range().end.min(range.end) - vma.range().start.max(range.start);
        self.range(range.clone()).map(|vma| part(vma) >> PAGE_SHIFT).sum()
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

    /// What is left of the VMAs that reach out of `range` if others, or nothing, are put there.
    #[doc(alias = "__split_vma")]
    pub(crate) fn outside(&self, range: &Range<u64>) -> Outside {
        let part = |vma: &Vma, part: Range<u64>| {
            let pgoff = vma.pgoff_at(part.start);
            self.vma(part, pgoff, vma.mapping())
        };
        let below = self.find(range.start).filter(|vma| vma.range().start < range.start);
        let above = self.find(range.end).filter(|vma| vma.range().start < range.end);
        Outside {
            is_split: below.is_some_and(|vma| vma.range().end > range.end),
            left: below.map(|vma| part(vma, vma.range().start..range.start)),
            right: above.map(|vma| part(vma, range.end..vma.range().end)),
        }
    }

    /// Puts a mapping over `range`, whatever is there, and merges it with the VMAs beside it that it continues. `outside` is what
    /// is left of those that reach out of the range, whose count the caller has checked.
    #[doc(alias = "vma_merge_new_range")]
    #[doc(alias = "vma_merge_existing_range")]
    pub(crate) fn put(
        &mut self,
        range: Range<u64>,
        pgoff: u64,
        mapping: Mapping,
        outside: Outside,
        merge: Merge,
    ) -> Result<(), Failure> {
        let Outside {
            mut left, mut right, ..
        } = outside;
        let mut whole = range.clone();
        let mut first = pgoff;
        {
            let beside = left
                .as_ref()
                .or_else(|| self.find_prev(range.start).filter(|vma| vma.range().end == range.start));
            if let Some(prev) = beside.filter(|prev| prev.continues_as(range.start, pgoff, &mapping)) {
                whole.start = prev.range().start;
                first = prev.pgoff();
                left = None;
            }
        }
        if merge == Merge::Both {
            let beside = right
                .as_ref()
                .or_else(|| self.find(range.end).filter(|vma| vma.range().start == range.end));
            if let Some(next) = beside.filter(|next| next.continues_as(range.start, pgoff, &mapping)) {
                whole.end = next.range().end;
                right = None;
            }
        }
        let span = left.as_ref().map_or(whole.start, |left| left.range().start)
            ..right.as_ref().map_or(whole.end, |right| right.range().end);
        let new = self.vma(whole, first, mapping);
        Ok(self.replace(span, [left, Some(new), right])?)
    }

    /// Takes everything out of `range`.
    pub(crate) fn clear(&mut self, range: Range<u64>, outside: Outside) -> Result<(), Failure> {
        let Outside { left, right, .. } = outside;
        let span = left.as_ref().map_or(range.start, |left| left.range().start)
            ..right.as_ref().map_or(range.end, |right| right.range().end);
        Ok(self.replace(span, [left, right])?)
    }

    /// Takes everything out.
    pub(crate) fn clear_all(&mut self) -> Result<(), Shortage> {
        self.replace::<0>(0..u64::MAX, [])
    }

    /// As [`VmaWrite::replace`], with the accounts.
    fn replace<const N: usize>(&mut self, range: Range<u64>, vmas: [Option<Vma>; N]) -> Result<(), Shortage> {
        let mut accounts = self.accounts;
        vmas.iter().flatten().for_each(|vma| accounts.add(vma));
        self.range(range.clone()).for_each(|vma| accounts.remove(vma));
        self.write.replace(range, vmas)?;
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

    fn commit(&mut self) {
        self.write.state_mut().brk = self.brk;
        if self.is_changed {
            self.mm.set_accounts(self.accounts);
            self.mm.change.begin();
            self.write.commit();
            self.mm.change.end();
        }
    }
}

/// With which neighbours a mapping may become one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    Both,
    Left,
}
