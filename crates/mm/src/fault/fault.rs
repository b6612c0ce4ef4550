//! Page faults.

use core::fmt;
use core::ops::Range;

use vmaple_rcu::Guard;

use super::thread::MmThread;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Errno, Error};
use crate::fail_point;
use crate::machine::Machine;
use crate::notice::{Notice, is_told};
use crate::pgtable::{Arch, ENTRIES, FrameList, Frames, LinkError, LockedLeaf, PageFlags, Pte, Step};
use crate::store::{Call, VmaRead, VmaStore};
use crate::vma::{Access, AnonVma, VmFlags, Vma};

/// Times that a fault looks again before it lines up with the writers.
const TRIES: u32 = 3;

/// Pages that are put in at a time, under one lock.
const BATCH: u64 = 32;

/// Addresses of a leaf table.
const LEAF: u64 = ENTRIES as u64 * PAGE_SIZE;

/// Why memory could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The address.
    pub addr: VirtAddr,
    /// Why.
    pub cause: FaultCause,
}

/// Why memory could not be accessed, by the signal that a process would get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultCause {
    /// Nothing is mapped there (SIGSEGV, `SEGV_MAPERR`).
    MapErr,
    /// The mapping may not be accessed so (SIGSEGV, `SEGV_ACCERR`).
    AccErr,
    /// The address of a word is not a multiple of its size (SIGBUS, `BUS_ADRALN`).
    Unaligned,
    /// There is no memory for a page, or a page table.
    NoMemory,
    /// Pages of files and of shared memory are not built yet.
    NotSupported,
}

impl FaultCause {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::MapErr => "SIGSEGV (SEGV_MAPERR): nothing is mapped there",
            Self::AccErr => "SIGSEGV (SEGV_ACCERR): the mapping may not be accessed so",
            Self::Unaligned => "SIGBUS (BUS_ADRALN): not a multiple of the word's size",
            Self::NoMemory => "no memory for a page",
            Self::NotSupported => "pages of files and of shared memory are not built yet",
        }
    }
}

impl fmt::Display for FaultCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access to {}: {}", self.addr, self.cause)
    }
}

/// What a system call says that was to access the memory, as `copy_from_user` is: `EFAULT`, or `ENOMEM`.
///
/// ```
/// use vmaple_mm::{Errno, Error, Layout, Limits, Mm, VirtAddr};
/// fn get(mm: &Mm) -> Result<[u8; 4], Error> {
///     let mut bytes = [0; 4];
///     mm.thread()?.read(VirtAddr(0x1000), &mut bytes)?;
///     Ok(bytes)
/// }
/// let error = get(&Mm::new(Layout::default(), Limits::default())?).unwrap_err();
/// assert_eq!(error.errno, Errno::EFAULT);
/// assert_eq!(std::io::Error::from(error).raw_os_error(), Some(14));
/// # Ok::<(), Error>(())
/// ```
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let errno = match fault.cause {
            FaultCause::NoMemory => Errno::ENOMEM,
            FaultCause::MapErr | FaultCause::AccErr | FaultCause::Unaligned | FaultCause::NotSupported => Errno::EFAULT,
        };
        Self::new(errno, fault.cause.text())
    }
}

impl core::error::Error for Fault {}

/// What a fault has at hand.
struct Hand<'m, M: Machine> {
    /// Fresh pages.
    frames: FrameList,
    /// Where pages of zeros may give way to others, which ends translations.
    notice: Option<Notice<'m, M::Notifier>>,
}

impl<M: Machine> Hand<'_, M> {
    /// Whether pages of zeros in `range` may give way.
    fn may_replace(&self, range: &Range<u64>) -> bool {
        is_told(self.notice.as_ref(), range)
    }
}

/// What came of a try.
enum Tried {
    /// The pages are there up to here.
    Done(u64),
    /// It has to look again.
    Again,
    /// It has to tell first that pages in this range give way.
    Untold(Range<u64>),
}

/// What a mapping is at an address, as far as a page of it depends on it.
struct Wanted {
    flags: VmFlags,
    pgoff: u64,
    anon_vma: Option<AnonVma>,
}

impl Wanted {
    fn of(vma: &Vma, addr: u64) -> Self {
        Self {
            flags: vma.flags(),
            pgoff: vma.pgoff_at(addr),
            anon_vma: vma.anon_vma(),
        }
    }

    /// Whether a page that was made for this, which is of no file, is one for `vma` too.
    fn is_same(&self, vma: &Vma, addr: u64) -> bool {
        self.flags == vma.flags() && vma.file().is_none() && self.pgoff == vma.pgoff_at(addr)
    }
}

impl<S: VmaStore, M: Machine> MmThread<S, M> {
    /// Has the page at `addr` be there for an access, as the processor does when it finds that it is not: the page of zeros for a
    /// first read, a fresh page for a first write.
    ///
    /// # Errors
    /// The [`Fault`] if the access is not allowed, or there is no memory. As on Linux, a fetch from a page that is not there may
    /// have brought in the page of zeros before it is refused ([`Arch::FETCHES_AS_READ`]).
    ///
    /// ```
    /// use vmaple_mm::{Access, Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let at = mm.mmap(VirtAddr(0), 0x1000, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
    /// let thread = mm.thread()?;
    /// assert!(thread.fault(at, Access::Read).is_ok());
    /// let refused = thread.fault(at, Access::Write).unwrap_err();
    /// assert_eq!(refused.to_string(), format!("access to {at}: SIGSEGV (SEGV_ACCERR): the mapping may not be accessed so"));
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "handle_mm_fault")]
    pub fn fault(&self, addr: VirtAddr, access: Access) -> Result<(), Fault> {
        let page = addr.page_floor().0;
        let range = page..page.saturating_add(PAGE_SIZE);
        let done = self.fault_in(range.clone(), access);
        // Of a page that is not there the processor does not say that it may not be fetched from.
        if M::Arch::FETCHES_AS_READ
            && access == Access::Exec
            && matches!(done, Err(FaultCause::AccErr))
            && self.walker.translate(page).is_none()
        {
            // Whatever comes of it, what was asked for is refused.
            let _ = self.fault_in(range, Access::Read);
        }
        done.map(drop).map_err(|cause| Fault { addr, cause })
    }

    /// Has pages from the beginning of `range` on be there, one at least; gives where to go on.
    pub(crate) fn fault_in(&self, range: Range<u64>, access: Access) -> Result<u64, FaultCause> {
        let (frames, notice) = (FrameList::new(), None);
        let mut hand = Hand { frames, notice };
        let done = self.fault_with(range, access, &mut hand);
        self.put_frames(hand.frames);
        done
    }

    /// The same with what is at hand, which stays the caller's.
    fn fault_with<'m>(&'m self, range: Range<u64>, access: Access, hand: &mut Hand<'m, M>) -> Result<u64, FaultCause> {
        for _ in 0..TRIES {
            match self.try_fault(range.clone(), access, hand)? {
                Tried::Done(end) => return Ok(end),
                Tried::Again => {}
                Tried::Untold(range) => self.tell(hand, range),
            }
        }
        self.fault_as_writer(range.start, access, hand)
    }

    /// Tells that pages in a range are about to give way; nothing is held.
    fn tell<'m>(&'m self, hand: &mut Hand<'m, M>, range: Range<u64>) {
        // Were the notifier to panic, they would be lost.
        self.put_frames(core::mem::take(&mut hand.frames));
        // The end of another range first.
        drop(hand.notice.take());
        hand.notice = Some(self.mm().page_tables().tell(range));
    }

    /// The same, beside writers.
    fn try_fault(&self, range: Range<u64>, access: Access, hand: &mut Hand<'_, M>) -> Result<Tried, FaultCause> {
        let addr = range.start;
        let mm = &self.mm().0.0;
        let mut section = S::read_lock(&self.reader);
        let mut vma = find(&section, addr)?;
        let mut neighbours = None;
        if access == Access::Write && vma.anon_vma().is_none() {
            if S::LOCKS_VMAS {
                // As Linux does for a mapping's first page (`vmf_anon_prepare`).
                drop(section);
                section = S::mmap_read_lock(&self.reader);
                vma = find(&section, addr)?;
            }
            neighbours = neighbours_anon_vma(&section, vma);
        }
        check::<M>(vma, access)?;
        let mut wanted = Wanted::of(vma, addr);
        if access == Access::Write {
            wanted.anon_vma = wanted.anon_vma.or(neighbours).or_else(|| Some(mm.new_anon_vma()));
        }
        let end = range
            .end
            .min(vma.range().end)
            .min((addr & !(LEAF - 1)) + LEAF)
            .min(addr + BATCH * PAGE_SIZE);
        let guard = self.walker.read_lock();
        fail_point::reach("fault: found");
        let leaf = match self.walker.link(&guard, addr, || vma.is_live()) {
            Ok(leaf) => leaf,
            Err(LinkError::Stale) => return Ok(Tried::Again),
            Err(LinkError::NoMemory) => return Err(FaultCause::NoMemory),
        };
        if access == Access::Write {
            let mut missing = 0;
            let mut gives_way = false;
            for page in pages(addr..end) {
                let old = leaf.peek(page);
                let is_zero = old.is_some_and(|pte| pte.flags.contains(PageFlags::ZERO));
                missing += usize::from(old.is_none() || is_zero);
                gives_way |= is_zero;
            }
            if gives_way && !hand.may_replace(&(addr..end)) {
                return Ok(Tried::Untold(addr..end));
            }
            self.prepare(&mut hand.frames, missing)?;
        }
        fail_point::reach("fault: before the lock");
        let Some(mut leaf) = leaf.lock() else {
            return Ok(Tried::Again);
        };
        let newer;
        if !vma.is_live() {
            // Replaced, perhaps by one that is the same here: then what was prepared is good.
            newer = S::read_lock(&self.reader);
            match newer.find(addr).filter(|vma| vma.range().start <= addr) {
                Some(now) if end <= now.range().end && wanted.is_same(now, addr) && now.is_live() => vma = now,
                _ => return Ok(Tried::Again),
            }
        }
        if mm.pending.overlaps(&(addr..end)) {
            return Ok(Tried::Again);
        }
        if access == Access::Write
            && let Some(id) = wanted.anon_vma
        {
            vma.set_anon_vma(id);
        }
        let done = self.install(&mut leaf, addr..end, vma.flags(), access, hand);
        Ok(done.map_or(Tried::Again, Tried::Done))
    }

    /// The same for one page, with the writers' lock, so that it need not look again.
    #[cold]
    fn fault_as_writer<'m>(&'m self, addr: u64, access: Access, hand: &mut Hand<'m, M>) -> Result<u64, FaultCause> {
        let mm = &self.mm().0.0;
        let page = addr..addr + PAGE_SIZE;
        if access == Access::Write {
            if !hand.may_replace(&page) {
                self.tell(hand, page);
            }
            self.prepare(&mut hand.frames, 1)?;
        }
        let write = mm.store.write(0, &Call(())).map_err(|_| FaultCause::NoMemory)?;
        let vma = find(&write, addr)?;
        check::<M>(vma, access)?;
        if access == Access::Write && vma.anon_vma().is_none() {
            vma.set_anon_vma(neighbours_anon_vma(&write, vma).unwrap_or_else(|| mm.new_anon_vma()));
        }
        let guard = self.walker.read_lock();
        let leaf = self.walker.link(&guard, addr, || true);
        // Tables die under the writers' lock only.
        let leaf = leaf.map_err(|_| FaultCause::NoMemory)?;
        let end = addr + PAGE_SIZE;
        if let Some(mut leaf) = leaf.lock() {
            self.install(&mut leaf, addr..end, vma.flags(), access, hand);
        }
        Ok(end)
    }

    /// Adds fresh pages to `frames`, until there are `count`, or no more.
    fn prepare(&self, frames: &mut FrameList, count: usize) -> Result<(), FaultCause> {
        if frames.len() < count {
            let mut taken = self.take_frames(count - frames.len());
            if taken.is_empty() && frames.is_empty() {
                return Err(FaultCause::NoMemory);
            }
            // SAFETY: all frames of a thread are from its machine's.
            while let Some(pfn) = unsafe { taken.pop(self.frames()) } {
                // SAFETY: the frame is this thread's.
                unsafe { self.frames().page(pfn).write_bytes(0, PAGE_SIZE as usize) };
                // SAFETY: as above.
                unsafe { frames.push(self.frames(), pfn) };
            }
        }
        Ok(())
    }

    /// Puts the pages of `range` in, as far as there are frames, and it has been told where others give way; gives where to go on,
    /// `None` if that is the first.
    #[doc(alias = "do_anonymous_page")]
    fn install(
        &self,
        leaf: &mut LockedLeaf<'_, M>,
        range: Range<u64>,
        flags: VmFlags,
        access: Access,
        hand: &mut Hand<'_, M>,
    ) -> Option<u64> {
        let frames = self.frames();
        let allowed = M::Arch::protection(flags);
        let readable = (allowed - PageFlags::WRITE) | PageFlags::ACCESSED;
        let writable = allowed | PageFlags::ACCESSED | PageFlags::DIRTY;
        for page in pages(range.clone()) {
            let old = leaf.pte(page);
            match (old, access) {
                (Some(old), Access::Write) if !old.flags.contains(PageFlags::ZERO) => {
                    leaf.set_flags(page, old, old.flags | writable);
                }
                (_, Access::Write) => {
                    // A page of zeros that has come since it looked may not have been told of.
                    let may_replace = old.is_none() || hand.may_replace(&(page..page + PAGE_SIZE));
                    // SAFETY: all frames of a thread are from its machine's.
                    let fresh = may_replace.then(|| unsafe { hand.frames.pop(frames) }).flatten();
                    let Some(pfn) = fresh else {
                        return (page > range.start).then_some(page);
                    };
                    let flags = writable;
                    leaf.set_page(frames, page, old, Pte { pfn, flags });
                }
                (Some(old), _) => leaf.set_flags(page, old, old.flags | readable),
                (None, _) => {
                    let flags = readable | PageFlags::ZERO;
                    leaf.set_page(
                        frames,
                        page,
                        None,
                        Pte {
                            pfn: frames.zero(),
                            flags,
                        },
                    );
                }
            }
        }
        Some(range.end)
    }

    /// The page at `addr`, with its table locked, if it may be accessed so without a fault.
    pub(crate) fn lock_page<'g>(
        &'g self,
        guard: &'g Guard<'_>,
        addr: u64,
        access: Access,
    ) -> Option<(LockedLeaf<'g, M>, Pte)> {
        let Step::Leaf(leaf) = self.walker.find(guard, addr) else {
            return None;
        };
        let leaf = leaf.lock()?;
        let pte = leaf.pte(addr).filter(|pte| pte.allows(access))?;
        Some((leaf, pte))
    }
}

/// The first addresses of the pages in `range`.
fn pages(range: Range<u64>) -> impl Iterator<Item = u64> {
    range.step_by(PAGE_SIZE as usize)
}

/// The mapping that holds `addr`.
fn find(vmas: &impl VmaRead, addr: u64) -> Result<&Vma, FaultCause> {
    let vma = vmas.find(addr).filter(|vma| vma.range().start <= addr);
    vma.ok_or(FaultCause::MapErr)
}

/// Whether a mapping may be accessed so, and has pages.
fn check<M: Machine>(vma: &Vma, access: Access) -> Result<(), FaultCause> {
    if !M::Arch::permits(vma.flags(), access) {
        return Err(FaultCause::AccErr);
    }
    if vma.file().is_some() {
        return Err(FaultCause::NotSupported);
    }
    Ok(())
}

/// The identity that a mapping can share with a neighbour.
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
