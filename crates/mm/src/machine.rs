//! The machine of an address space: the format of page tables, memory, and a notifier.

use core::marker::PhantomData;

use lock_api::RawMutex;
use maple_tree::DefaultLock;

use crate::addr::VirtRange;
use crate::kref::Kref;
use crate::pgtable::{Arch, Frames, Ram, X86_64};

/// The machine that an address space runs on.
///
/// # Safety
/// [`frames`](Self::frames) always returns the same allocator.
pub unsafe trait Machine: Send + Sync + 'static {
    /// The format of page tables.
    type Arch: Arch;
    /// The allocator of frames.
    type Frames: Frames;
    /// The locks of page tables.
    type Lock: RawMutex + Send + Sync;
    /// The notifier of translations that end.
    type Notifier: MmuNotifier;

    /// Returns the allocator of frames.
    fn frames(&self) -> &Self::Frames;

    /// Returns the notifier of translations that end.
    fn notifier(&self) -> &Self::Notifier;
}

/// A second translator of addresses, which keeps the results: a VMM's shadow page tables, an
/// emulator's TLB.
///
/// An embedder may keep what [`MmThread::with_page`](crate::MmThread::with_page) lends beyond the
/// call, as it is told here when that ends. A call that ends translations, or makes them allow
/// less, tells the start of a range before it changes anything. It tells the end after it has
/// changed everything and freed what it took out:
///
/// - In [`invalidate_range_start`](Self::invalidate_range_start) the embedder forgets what it keeps
///   of the range, and waits until no thread uses it any more. When it returns, the old
///   translations are gone, and the new ones are not there yet.
/// - Until the [end](Self::invalidate_range_end) of the same range the embedder keeps no new
///   translation of it: a page of the range may still be the old one. What `with_page` lends
///   meanwhile is valid in the call, as always.
///
/// So no thread can use a new translation while another one still uses an old one. Ranges of
/// several threads may overlap, so the embedder counts. The simplest correct TLB keeps nothing
/// while any range is open:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use vmaple_mm::{MmuNotifier, VirtAddr, VirtRange};
///
/// #[derive(Default)]
/// struct Tlb(Mutex<(usize, BTreeMap<VirtAddr, usize>)>);
///
/// impl Tlb {
///     /// Keeps a translation. Called in `with_page`.
///     fn keep(&self, page: VirtAddr, memory: usize) {
///         let (open, kept) = &mut *self.0.lock().unwrap();
///         if *open == 0 {
///             kept.insert(page, memory);
///         }
///     }
/// }
///
/// impl MmuNotifier for Tlb {
///     fn invalidate_range_start(&self, range: VirtRange) {
///         let (open, kept) = &mut *self.0.lock().unwrap();
///         *open += 1;
///         kept.retain(|page, _| !range.contains(*page));
///     }
///
///     fn invalidate_range_end(&self, _: VirtRange) {
///         self.0.lock().unwrap().0 -= 1;
///     }
/// }
/// ```
///
/// # What waits
/// Both are called with no lock of the address space held and in no section. They may block. Only
/// the call that tells waits: no fault in the same page, no writer and no monitor does. What they
/// wait for must not wait for that call.
///
/// # Panics
/// A start that panics has no end. It ends the call, which has changed nothing of the range that it
/// told: no page and no frame has gone. A call that tells several ranges one after the other (a
/// long `write`, or `POPULATE_WRITE`) has done the earlier ones. There is one exception: page
/// tables that are dropped with pages in them cannot stay, and end the program by a second panic. A
/// panic of the end reaches the caller after the call is done.
#[doc(alias = "mmu_notifier_ops")]
pub trait MmuNotifier: Send + Sync + 'static {
    /// Whether there is a notifier. Without one, faults and calls save what telling costs.
    const IS_TOLD: bool = true;

    /// Handles the start: translations of these addresses are about to end, or to allow less.
    fn invalidate_range_start(&self, range: VirtRange);

    /// Handles the end: the translations have ended, and new ones may be kept.
    fn invalidate_range_end(&self, range: VirtRange);
}

impl MmuNotifier for () {
    const IS_TOLD: bool = false;

    fn invalidate_range_start(&self, _: VirtRange) {}

    fn invalidate_range_end(&self, _: VirtRange) {}
}

/// A machine in software: an architecture's format, frames, a notifier.
///
/// ```
/// use vmaple_mm::pgtable::{Ram, Sv39};
/// use vmaple_mm::{Layout, Limits, MapleStore, Mm, Soft, VirtAddr};
///
/// let machine: Soft<Sv39> = Soft::new(Ram::new(16 << 20)?);
/// let mut layout = Layout::default();
/// layout.mmap_base = VirtAddr(1 << 37);
/// layout.task_size = VirtAddr(1 << 38);
/// layout.start_brk = VirtAddr(1 << 20);
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
    /// Creates a machine with these frames.
    pub fn new(frames: F) -> Self {
        Self::with_notifier(frames, N::default())
    }
}

impl<A, F, N, L> Soft<A, F, N, L> {
    /// Creates a machine with these frames, and a notifier for an embedder that translates
    /// addresses too.
    pub fn with_notifier(frames: F, notifier: N) -> Self {
        Self {
            frames,
            notifier,
            format: PhantomData,
        }
    }
}

// SAFETY: the frames are a field, which is only lent.
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
