//! What an address space runs on: the format of page tables, memory, and who else translates addresses.

use core::marker::PhantomData;
use core::ops::Range;

use lock_api::RawMutex;
use maple_tree::DefaultLock;

use crate::kref::Kref;
use crate::pgtable::{Arch, Frames, Ram, X86_64};

/// What an address space runs on.
///
/// # Safety
/// [`frames`](Self::frames) is always the same.
pub unsafe trait Machine: Send + Sync + 'static {
    /// The format of page tables.
    type Arch: Arch;
    /// Where memory comes from.
    type Frames: Frames;
    /// The locks of page tables.
    type Lock: RawMutex + Send + Sync;
    /// Who is told of translations that end.
    type Notifier: MmuNotifier;

    /// Where memory comes from.
    fn frames(&self) -> &Self::Frames;

    /// Who is told of translations that end.
    fn notifier(&self) -> &Self::Notifier;
}

/// Whoever translates addresses besides, and keeps the results: a VMM's shadow of the tables, an emulator's TLB.
///
/// What [`MmThread::with_page`](crate::MmThread::with_page) lends may be kept beyond the call by those who are told here when it
/// ends.
#[doc(alias = "mmu_notifier_ops")]
pub trait MmuNotifier: Send + Sync + 'static {
    /// Translations of these addresses have ended or allow less now: whoever kept some forgets them, and waits for those who
    /// still use them. Called when no new ones can be had, before frames are used anew and before the call that did it returns.
    /// Neither the writers' lock nor one of a table is held; it must not call back.
    fn invalidate_range(&self, range: Range<u64>);
}

impl MmuNotifier for () {
    fn invalidate_range(&self, _: Range<u64>) {}
}

/// A machine in software: an architecture's format, frames, a notifier.
///
/// ```
/// use vmaple_mm::pgtable::{Ram, Sv39};
/// use vmaple_mm::{Layout, Limits, MapleStore, Mm, Soft};
///
/// let machine: Soft<Sv39> = Soft::new(Ram::new(16 << 20)?);
/// let layout = Layout { mmap_base: 1 << 37, task_size: 1 << 38, start_brk: 1 << 20, ..Layout::default() };
/// let mm: Mm<MapleStore, _> = Mm::with_machine(layout, Limits::default(), machine)?;
/// # Ok::<(), vmaple_mm::Error>(())
/// ```
#[derive(Debug)]
pub struct Soft<A = X86_64, F = Kref<Ram>, N = (), L = DefaultLock> {
    frames: F,
    notifier: N,
    format: PhantomData<fn() -> (A, L)>,
}

impl<A, F, N: Default, L> Soft<A, F, N, L> {
    /// A machine with these frames.
    pub fn new(frames: F) -> Self {
        Self::with_notifier(frames, N::default())
    }
}

impl<A, F, N, L> Soft<A, F, N, L> {
    /// A machine with these frames, on which somebody else translates addresses too.
    pub fn with_notifier(frames: F, notifier: N) -> Self {
        Self {
            frames,
            notifier,
            format: PhantomData,
        }
    }
}

// SAFETY: the frames are a field, which is lent only.
unsafe impl<A: Arch, F: Frames, N: MmuNotifier, L: RawMutex + Send + Sync + 'static> Machine for Soft<A, F, N, L> {
    type Arch = A;
    type Frames = F;
    type Lock = L;
    type Notifier = N;

    fn frames(&self) -> &F {
        &self.frames
    }

    fn notifier(&self) -> &N {
        &self.notifier
    }
}
