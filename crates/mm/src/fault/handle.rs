//! Page faults, handled.

use vmaple_rcu::Guard;

use super::fault::{Fault, FaultCause};
use super::thread::MmThread;
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::fail_point;
use crate::machine::Machine;
use crate::mm::MmStruct;
use crate::notice::{Notice, is_told};
use crate::pgtable::{Arch, ENTRIES, FrameList, LeafTable, LinkError, LockedLeaf, PageFlags, Pte, Step};
use crate::store::{Call, VmaRead, VmaStore};
use crate::vma::{Access, AnonVma, VmFlags, Vma};

/// Attempts of a fault before it queues with the writers.
const ATTEMPTS: u32 = 3;

/// Pages that are mapped at a time, under one lock.
const BATCH: u64 = 32;

/// Addresses of a leaf table.
const LEAF: u64 = ENTRIES as u64 * PAGE_SIZE;

/// A page fault in progress.
///
/// The order of the steps is rule L (`pgtable/link.rs`): what is to be mapped is prepared without a
/// lock, and that there is still reason to map it is seen under the lock of the leaf table.
#[doc(alias = "vm_fault")]
pub(crate) struct VmFault<'m, S: VmaStore, M: Machine> {
    thread: &'m MmThread<S, M>,
    access: Access,
    /// Pages of zeros that are this fault's own.
    fresh: FrameList<'m, M::Frames>,
    /// Where the zero page may be replaced, which ends translations.
    notice: Option<Notice<'m, M::Notifier>>,
}

/// The result of an attempt without the writers' lock.
enum Attempt {
    /// The pages are there up to this address.
    Done(VirtAddr),
    /// A writer has interfered: look again.
    Stale,
    /// The notifier must be told first that zero pages in this range are replaced.
    Untold(VirtRange),
}

/// All that a page at an address takes from its mapping, which has no file.
#[derive(PartialEq, Eq)]
struct Content {
    flags: VmFlags,
    pgoff: u64,
}

impl Content {
    fn new(vma: &Vma, addr: VirtAddr) -> Self {
        let (flags, pgoff) = (vma.flags(), vma.pgoff_at(addr));
        Self { flags, pgoff }
    }

    /// Returns whether a page of it is one of `vma` too.
    fn is_of(&self, vma: &Vma, addr: VirtAddr) -> bool {
        vma.file().is_none() && *self == Self::new(vma, addr)
    }
}

impl<'m, S: VmaStore, M: Machine> VmFault<'m, S, M> {
    fn new(thread: &'m MmThread<S, M>, access: Access) -> Self {
        Self {
            thread,
            access,
            fresh: FrameList::new(thread.frames()),
            notice: None,
        }
    }

    /// Maps pages from the start of `range` on, at least one; returns where to go on.
    fn handle(&mut self, range: VirtRange) -> Result<VirtAddr, FaultCause> {
        for _ in 0..ATTEMPTS {
            match self.attempt(range)? {
                Attempt::Done(end) => return Ok(end),
                Attempt::Stale => {}
                Attempt::Untold(range) => self.tell(range),
            }
        }
        self.handle_as_writer(range.start)
    }

    /// Maps pages without the writers' lock, of one mapping and one leaf table.
    fn attempt(&mut self, range: VirtRange) -> Result<Attempt, FaultCause> {
        let (thread, mm) = (self.thread, self.mm());
        let addr = range.start;
        let mut section = thread.attached().read_lock();
        let mut vma = find(&section, addr)?;
        if S::LOCKS_VMAS && self.is_write() && vma.anon_vma().is_none() {
            // As Linux does for a mapping's first page (`vmf_anon_prepare`).
            drop(section);
            section = thread.attached().mmap_read_lock();
            vma = find(&section, addr)?;
        }
        check::<M>(vma, self.access)?;
        let content = Content::new(vma, addr);
        let anon_vma = self.is_write().then(|| anon_vma(mm, &section, vma));
        let end = range
            .end
            .min(vma.range().end)
            .min(addr.align_down(LEAF) + LEAF)
            .min(addr + BATCH * PAGE_SIZE);
        let part = VirtRange::new(addr, end);

        let guard = thread.attached().walker().read_lock();
        fail_point::reach("fault: found");
        let leaf = match thread.attached().walker().link(&guard, addr, || vma.is_live()) {
            Ok(leaf) => leaf,
            Err(LinkError::Stale) => return Ok(Attempt::Stale),
            Err(LinkError::NoMemory) => return Err(FaultCause::NoMemory),
        };
        if self.is_write() && !self.prepare_for(&leaf, part)? {
            return Ok(Attempt::Untold(part));
        }

        fail_point::reach("fault: before the lock");
        let Some(mut leaf) = leaf.lock() else {
            return Ok(Attempt::Stale);
        };
        let newer;
        if !vma.is_live() {
            // Replaced, perhaps by one that is the same here: then what was prepared is good.
            newer = thread.attached().read_lock();
            let now = newer.find(addr).filter(|vma| vma.range().contains(addr));
            let is_good = |now: &&Vma| end <= now.range().end && content.is_of(now, addr) && now.is_live();
            match now.filter(is_good) {
                Some(now) => vma = now,
                None => return Ok(Attempt::Stale),
            }
        }
        if mm.pending.overlaps(part) {
            return Ok(Attempt::Stale);
        }
        if let Some(id) = anon_vma {
            vma.set_anon_vma(id);
        }
        let done = self.install(&mut leaf, part, vma.flags());
        Ok(done.map_or(Attempt::Stale, Attempt::Done))
    }

    /// Maps the page at `addr` with the writers' lock held, so that nothing interferes.
    #[cold]
    fn handle_as_writer(&mut self, addr: VirtAddr) -> Result<VirtAddr, FaultCause> {
        let (thread, mm) = (self.thread, self.mm());
        let page = VirtRange::new(addr, addr + PAGE_SIZE);
        if self.is_write() {
            if !self.may_replace(page) {
                self.tell(page);
            }
            self.prepare(1)?;
        }
        let write = mm.store.write(0, &Call(())).map_err(|_| FaultCause::NoMemory)?;
        let vma = find(&write, addr)?;
        check::<M>(vma, self.access)?;
        if self.is_write() {
            vma.set_anon_vma(anon_vma(mm, &write, vma));
        }
        let guard = thread.attached().walker().read_lock();
        let leaf = thread.attached().walker().link(&guard, addr, || true);
        // Tables die under the writers' lock only.
        let leaf = leaf.map_err(|_| FaultCause::NoMemory)?;
        let end = page.end;
        if let Some(mut leaf) = leaf.lock() {
            self.install(&mut leaf, page, vma.flags());
        }
        Ok(end)
    }

    /// Prepares the pages that a write to `range` lacks. Returns whether the notifier has been
    /// told, if zero pages are to be replaced.
    fn prepare_for(&mut self, leaf: &LeafTable<'_, M>, range: VirtRange) -> Result<bool, FaultCause> {
        let mut missing = 0;
        let mut replaces = false;
        for page in range.pages() {
            let old = leaf.peek(page);
            let is_zero = old.is_some_and(|pte| pte.flags.contains(PageFlags::ZERO));
            missing += usize::from(old.is_none() || is_zero);
            replaces |= is_zero;
        }
        if replaces && !self.may_replace(range) {
            return Ok(false);
        }
        self.prepare(missing)?;
        Ok(true)
    }

    /// Clears fresh pages until there are `count`, or at least one if there are no more.
    fn prepare(&mut self, count: usize) -> Result<(), FaultCause> {
        if self.fresh.len() < count {
            let mut taken = self.thread.attached().take_frames(count - self.fresh.len());
            if taken.is_empty() && self.fresh.is_empty() {
                return Err(FaultCause::NoMemory);
            }
            while let Some(mut frame) = taken.pop() {
                frame.clear();
                self.fresh.push(frame);
            }
        }
        Ok(())
    }

    /// Maps pages in `range` for as long as fresh ones last and the notifier has been told. Returns
    /// where to go on, or `None` if no page was mapped.
    #[doc(alias = "do_anonymous_page")]
    fn install(&mut self, leaf: &mut LockedLeaf<'_, M>, range: VirtRange, flags: VmFlags) -> Option<VirtAddr> {
        let frames = self.thread.frames();
        let allowed = M::Arch::protection(flags);
        let readable = (allowed - PageFlags::WRITE) | PageFlags::ACCESSED;
        let writable = allowed | PageFlags::ACCESSED | PageFlags::DIRTY;
        for page in range.pages() {
            let old = leaf.pte(page);
            match (old, self.access) {
                (Some(old), Access::Write) if !old.flags.contains(PageFlags::ZERO) => {
                    leaf.set_flags(page, old, old.flags | writable);
                }
                (_, Access::Write) => {
                    // The notifier may not know of a zero page that was mapped since the attempt
                    // looked.
                    let may_replace = old.is_none() || self.may_replace(VirtRange::new(page, page + PAGE_SIZE));
                    let Some(frame) = may_replace.then(|| self.fresh.pop()).flatten() else {
                        return (page > range.start).then_some(page);
                    };
                    leaf.map_fresh(page, old, frame, writable);
                }
                (Some(old), _) => leaf.set_flags(page, old, old.flags | readable),
                (None, _) => leaf.map_zero(frames, page, readable),
            }
        }
        Some(range.end)
    }

    /// Tells the notifier that zero pages in `range` are about to be replaced. The caller holds
    /// nothing.
    fn tell(&mut self, range: VirtRange) {
        // The end of another range first.
        drop(self.notice.take());
        self.notice = Some(self.mm().tables.tell(range));
    }

    /// Returns whether zero pages in `range` may be replaced.
    fn may_replace(&self, range: VirtRange) -> bool {
        is_told(self.notice.as_ref(), range)
    }

    fn is_write(&self) -> bool {
        self.access == Access::Write
    }

    fn mm(&self) -> &'m MmStruct<S, M> {
        self.thread.mm().structure()
    }
}

impl<S: VmaStore, M: Machine> MmThread<S, M> {
    /// Handles a page fault at `addr`: maps the zero page for a first read, a fresh page for a
    /// first write.
    ///
    /// # Errors
    /// The [`Fault`] if the access is not allowed, or there is no memory. As on Linux, a fetch from
    /// a missing page may have mapped the zero page before it is refused
    /// ([`Arch::FETCHES_AS_READ`]).
    ///
    /// ```
    /// use vmaple_mm::{Access, Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    /// let at = mm.mmap(VirtAddr(0), 0x1000, Prot::READ, flags, None, 0)?;
    /// let thread = mm.thread()?;
    /// assert!(thread.fault(at, Access::Read).is_ok());
    /// let refused = thread.fault(at, Access::Write).unwrap_err();
    /// let said = "SIGSEGV (SEGV_ACCERR): the mapping may not be accessed so";
    /// assert_eq!(refused.to_string(), format!("access to {at}: {said}"));
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "handle_mm_fault")]
    pub fn fault(&self, addr: VirtAddr, access: Access) -> Result<(), Fault> {
        let page = addr.page_floor();
        let range = VirtRange::new(page, page.saturating_add(PAGE_SIZE));
        let done = self.fault_in(range, access);
        // The processor reports a missing page, and not that it may not be fetched from.
        if M::Arch::FETCHES_AS_READ
            && access == Access::Exec
            && matches!(done, Err(FaultCause::AccErr))
            && self.attached().walker().translate(page).is_none()
        {
            // The fetch is refused, whether this succeeds or not.
            let _ = self.fault_in(range, Access::Read);
        }
        done.map(drop).map_err(|cause| Fault { addr, cause })
    }

    /// Maps pages from the start of `range` on, at least one; returns where to go on.
    pub(crate) fn fault_in(&self, range: VirtRange, access: Access) -> Result<VirtAddr, FaultCause> {
        let mut fault = VmFault::new(self, access);
        let done = fault.handle(range);
        self.attached().put_frames(fault.fresh);
        done
    }

    /// Locks the leaf table of the page at `addr`, if the access takes no fault.
    pub(crate) fn lock_page<'g>(
        &'g self,
        guard: &'g Guard<'_>,
        addr: VirtAddr,
        access: Access,
    ) -> Option<(LockedLeaf<'g, M>, Pte)> {
        let Step::Leaf(leaf) = self.attached().walker().find(guard, addr) else {
            return None;
        };
        let leaf = leaf.lock()?;
        let pte = leaf.pte(addr).filter(|pte| pte.allows(access))?;
        Some((leaf, pte))
    }
}

/// Returns the mapping that holds `addr`.
fn find(vmas: &impl VmaRead, addr: VirtAddr) -> Result<&Vma, FaultCause> {
    let vma = vmas.find(addr).filter(|vma| vma.range().contains(addr));
    vma.ok_or(FaultCause::MapErr)
}

/// Checks that a mapping permits an access, and has pages of a kind that is built.
fn check<M: Machine>(vma: &Vma, access: Access) -> Result<(), FaultCause> {
    if !M::Arch::permits(vma.flags(), access) {
        return Err(FaultCause::AccErr);
    }
    if vma.file().is_some() {
        return Err(FaultCause::NotSupported);
    }
    Ok(())
}

/// Returns the identity that a mapping has or is to get: a neighbour's if it can share it, else a
/// new one.
fn anon_vma<S: VmaStore, M: Machine>(mm: &MmStruct<S, M>, vmas: &impl VmaRead, vma: &Vma) -> AnonVma {
    let known = vma.anon_vma().or_else(|| neighbours_anon_vma(vmas, vma));
    known.unwrap_or_else(|| mm.new_anon_vma())
}

/// Returns the identity that a mapping can share with a neighbour.
#[doc(alias = "find_mergeable_anon_vma")]
fn neighbours_anon_vma(vmas: &impl VmaRead, vma: &Vma) -> Option<AnonVma> {
    let next = vmas.find(vma.range().end).filter(|next| vma.shares_anon_vma(next));
    next.and_then(Vma::anon_vma).or_else(|| {
        let prev = vmas
            .find_prev(vma.range().start)
            .filter(|prev| prev.shares_anon_vma(vma));
        prev.and_then(Vma::anon_vma)
    })
}
