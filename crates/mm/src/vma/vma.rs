//! The VMA: one mapping, immutable but for its state and the identity of its memory.

use core::fmt;
use core::num::NonZeroU64;
// Not of `primitive`: loom models the change counter. The state is checked under locks.
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use vmaple_rcu::AllocError;

use super::file::File;
use super::flags::{ACCESS, VmFlags};
use super::role::Role;
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::kref::Kref;

/// The most bytes of an anonymous mapping's name: the limit of Linux without its final zero.
pub const ANON_NAME_MAX: usize = 79;

/// The name of an anonymous mapping.
///
/// # Invariants
/// `len` is at most [`ANON_NAME_MAX`].
pub(crate) struct AnonName {
    bytes: [u8; ANON_NAME_MAX],
    len: u8,
}

impl AnonName {
    /// Makes a name of at most [`ANON_NAME_MAX`] bytes.
    pub(crate) fn new(name: &[u8]) -> Result<Kref<Self>, AllocError> {
        let mut bytes = [0; ANON_NAME_MAX];
        bytes[..name.len()].copy_from_slice(name);
        // INVARIANT: the copy above fails for a longer name.
        let len = name.len() as u8;
        Kref::new(Self { bytes, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Whether a VMA is still part of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VmaState {
    /// It is.
    Live = 0,
    /// It was replaced or unmapped.
    Superseded = 1,
}

/// One mapping: a range of pages, and the object that they are of.
///
/// It stays as it was published, but for its [`state`](Self::state), and for the identity of its
/// anonymous memory, which is set once. A call that changes a mapping publishes another VMA. So the
/// fields that a reader sees belong together.
///
/// # Invariants
/// `start` and `end` are page-aligned, `start < end`. The state only rises. `anon_vma` is 0 until
/// it is set once.
#[doc(alias = "vm_area_struct")]
pub struct Vma {
    range: VirtRange,
    flags: VmFlags,
    pgoff: u64,
    file: Option<Kref<File>>,
    anon_name: Option<Kref<AnonName>>,
    role: Role,
    state: AtomicU8,
    anon_vma: AtomicU64,
}

impl fmt::Debug for Vma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut vma = f.debug_struct("Vma");
        vma.field("range", &self.range).field("flags", &self.flags);
        if let Some(file) = &self.file {
            vma.field("path", &format_args!("{}", file.path().escape_ascii()))
                .field("pgoff", &self.pgoff);
        }
        if let Some(name) = &self.anon_name {
            vma.field("anon_name", &format_args!("{}", name.bytes().escape_ascii()));
        }
        vma.field("role", &self.role)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// The identity of anonymous memory: mappings with different ones do not merge.
///
/// In Linux it is the object through which a page finds its mappings; here it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnonVma(NonZeroU64);

impl AnonVma {
    pub(crate) const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
}

/// What a mapping is, apart from its place.
#[derive(Clone)]
pub(crate) struct Mapping {
    pub(crate) flags: VmFlags,
    pub(crate) file: Option<Kref<File>>,
    pub(crate) anon_name: Option<Kref<AnonName>>,
    pub(crate) anon_vma: Option<AnonVma>,
}

impl Vma {
    pub(crate) fn new(range: VirtRange, pgoff: u64, mapping: Mapping, role: Role) -> Self {
        // INVARIANT: the calls pass ranges of whole pages that are not empty.
        debug_assert!(!range.is_empty() && range.start.is_page_aligned() && range.end.is_page_aligned());
        Self {
            range,
            flags: mapping.flags,
            pgoff,
            file: mapping.file,
            anon_name: mapping.anon_name,
            role,
            state: AtomicU8::new(VmaState::Live as u8),
            anon_vma: AtomicU64::new(mapping.anon_vma.map_or(0, |id| id.0.get())),
        }
    }

    /// Returns its first address.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        self.range.start
    }

    /// Returns the address after its last.
    #[must_use]
    pub fn end(&self) -> VirtAddr {
        self.range.end
    }

    /// Returns its addresses.
    #[inline]
    #[must_use]
    pub fn range(&self) -> VirtRange {
        self.range
    }

    /// Returns the number of its pages.
    #[doc(alias = "vma_pages")]
    #[must_use]
    pub fn pages(&self) -> u64 {
        (self.range.end - self.range.start) >> PAGE_SHIFT
    }

    /// Returns its flags.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> VmFlags {
        self.flags
    }

    /// Returns its offset in its object, in pages.
    ///
    /// Of private anonymous memory, the page number where it was first mapped.
    #[doc(alias = "vm_pgoff")]
    #[inline]
    #[must_use]
    pub fn pgoff(&self) -> u64 {
        self.pgoff
    }

    /// Returns the object that it maps; `None` for private anonymous memory.
    #[doc(alias = "vm_file")]
    #[inline]
    #[must_use]
    pub fn file(&self) -> Option<&Kref<File>> {
        self.file.as_ref()
    }

    /// Returns the name set by [`Mm::set_anon_vma_name`](crate::Mm::set_anon_vma_name).
    #[inline]
    #[must_use]
    pub fn anon_name(&self) -> Option<&[u8]> {
        self.anon_name.as_ref().map(|name| name.bytes())
    }

    /// Returns its role, by its place.
    ///
    /// It is determined when the VMA is made, and stays: a call that moves the end of the heap
    /// makes another VMA.
    #[inline]
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns whether it is still part of the address space. In a snapshot it may not be.
    #[must_use]
    pub fn state(&self) -> VmaState {
        // Acquire pairs with the Release in `supersede`: a thread that sees it superseded sees what
        // came before.
        match self.state.load(Ordering::Acquire) {
            0 => VmaState::Live,
            _ => VmaState::Superseded,
        }
    }

    /// Marks it as replaced. For the holder of the writers' lock, after everything that can fail.
    pub(crate) fn supersede(&self) {
        // Release pairs with the Acquire in `state`.
        self.state.store(VmaState::Superseded as u8, Ordering::Release);
    }

    /// Returns the identity of its anonymous memory; `None` before the first write.
    pub(crate) fn anon_vma(&self) -> Option<AnonVma> {
        // Relaxed: the number alone matters.
        AnonVma::new(self.anon_vma.load(Ordering::Relaxed))
    }

    /// Sets its identity, if it has none.
    ///
    /// A call that replaces the VMA at the same time may miss it, and merge what Linux would keep
    /// apart.
    #[doc(alias = "anon_vma_prepare")]
    pub(crate) fn set_anon_vma(&self, id: AnonVma) {
        // Relaxed as in `anon_vma`.
        let _ = self
            .anon_vma
            .compare_exchange(0, id.0.get(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the memory of this VMA and of `next`, the one after it, may have one identity.
    ///
    /// They may differ in protection only.
    #[doc(alias = "anon_vma_compatible")]
    pub(crate) fn shares_anon_vma(&self, next: &Self) -> bool {
        self.range.end == next.range.start
            && (self.flags ^ next.flags) - ACCESS == VmFlags::empty()
            && self.is_of_file(next.file.as_ref())
            && self.pgoff_at(next.range.start) == next.pgoff
    }

    fn is_of_file(&self, file: Option<&Kref<File>>) -> bool {
        match (&self.file, file) {
            (None, None) => true,
            (Some(one), Some(other)) => Kref::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Whether it is part of the address space.
    pub(crate) fn is_live(&self) -> bool {
        self.state() == VmaState::Live
    }

    pub(crate) fn mapping(&self) -> Mapping {
        Mapping {
            flags: self.flags,
            file: self.file.clone(),
            anon_name: self.anon_name.clone(),
            anon_vma: self.anon_vma(),
        }
    }

    /// Returns the page offset of `addr`, which may be outside of the VMA.
    pub(crate) fn pgoff_at(&self, addr: VirtAddr) -> u64 {
        self.pgoff
            .wrapping_add(addr.page_number().wrapping_sub(self.range.start.page_number()))
    }

    /// Whether it and `mapping`, with the page offset `pgoff` at `addr`, may be one VMA.
    #[doc(alias = "can_vma_merge_after")]
    #[doc(alias = "is_mergeable_vma")]
    pub(crate) fn continues_as(&self, addr: VirtAddr, pgoff: u64, mapping: &Mapping) -> bool {
        self.flags == mapping.flags
            && self.is_of_file(mapping.file.as_ref())
            && (self.anon_vma() == mapping.anon_vma || self.anon_vma().is_none() || mapping.anon_vma.is_none())
            && self.anon_name() == mapping.anon_name.as_ref().map(|name| name.bytes())
            && self.pgoff_at(addr) == pgoff
    }
}
