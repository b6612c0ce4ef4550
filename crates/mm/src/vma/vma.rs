//! The VMA: one mapping, immutable but for the word that says whether it is still one.

use core::fmt;
use core::num::NonZeroU64;
// Not of `primitive`: loom models the change counter; this word is checked under locks.
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use vmaple_rcu::AllocError;

use super::file::File;
use super::flags::{ACCESS, VmFlags};
use super::role::Role;
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::kref::Kref;

/// Most bytes of an anonymous mapping's name, the kernel's limit without its final zero.
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
    /// A name that has been checked to be not too long.
    pub(crate) fn new(name: &[u8]) -> Result<Kref<Self>, AllocError> {
        let mut bytes = [0; ANON_NAME_MAX];
        bytes[..name.len()].copy_from_slice(name);
        // INVARIANT: the copy would have failed.
        let len = name.len() as u8;
        Kref::new(Self { bytes, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Whether a VMA is one of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VmaState {
    /// What is mapped there.
    Live = 0,
    /// Replaced.
    Superseded = 1,
}

/// One mapping: a range of pages, and what they are of. All of it but [`state`](Self::state) stays as it was published, and the
/// identity of its anonymous memory, which it gets once; a call that changes a mapping publishes another VMA. So whoever holds one
/// reads fields that belong together.
///
/// # Invariants
/// `start` and `end` are page-aligned, `start < end`. The state only rises. `anon_vma` is 0 until it is set once.
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

/// What anonymous memory of neighbouring mappings shares, so that they may become one: in Linux the object through which its pages
/// are found, here a number.
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

/// What a mapping is of, wherever it is.
#[derive(Clone)]
pub(crate) struct Mapping {
    pub(crate) flags: VmFlags,
    pub(crate) file: Option<Kref<File>>,
    pub(crate) anon_name: Option<Kref<AnonName>>,
    pub(crate) anon_vma: Option<AnonVma>,
}

impl Vma {
    pub(crate) fn new(range: VirtRange, pgoff: u64, mapping: Mapping, role: Role) -> Self {
        // INVARIANT: ranges that calls work on are of whole pages, and not empty.
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

    /// Its first address.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        self.range.start
    }

    /// The address behind its last.
    #[must_use]
    pub fn end(&self) -> VirtAddr {
        self.range.end
    }

    /// Its addresses.
    #[inline]
    #[must_use]
    pub fn range(&self) -> VirtRange {
        self.range
    }

    /// Its pages.
    #[doc(alias = "vma_pages")]
    #[must_use]
    pub fn pages(&self) -> u64 {
        (self.range.end - self.range.start) >> PAGE_SHIFT
    }

    /// What it is.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> VmFlags {
        self.flags
    }

    /// Where in its object it begins, in pages; of private anonymous memory, the page number that it was mapped at.
    #[doc(alias = "vm_pgoff")]
    #[inline]
    #[must_use]
    pub fn pgoff(&self) -> u64 {
        self.pgoff
    }

    /// The object that it maps; `None` of private anonymous memory.
    #[doc(alias = "vm_file")]
    #[inline]
    #[must_use]
    pub fn file(&self) -> Option<&Kref<File>> {
        self.file.as_ref()
    }

    /// The name that [`Mm::set_anon_vma_name`](crate::Mm::set_anon_vma_name) gave it.
    #[inline]
    #[must_use]
    pub fn anon_name(&self) -> Option<&[u8]> {
        self.anon_name.as_ref().map(|name| name.bytes())
    }

    /// What its place makes it.
    ///
    /// Found when it was made, and constant: the heap's pages change with its VMA only.
    #[inline]
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether it is still one of the address space. A snapshot's VMAs may be superseded ones.
    #[must_use]
    pub fn state(&self) -> VmaState {
        // Acquire pairs with the Release in `supersede`: who sees it superseded sees what came before.
        match self.state.load(Ordering::Acquire) {
            0 => VmaState::Live,
            _ => VmaState::Superseded,
        }
    }

    /// Says that it is replaced. By the holder of the writers' lock, once nothing can fail any more.
    pub(crate) fn supersede(&self) {
        // Release pairs with the Acquire in `state`.
        self.state.store(VmaState::Superseded as u8, Ordering::Release);
    }

    /// The identity of its anonymous memory; `None` while nothing has been written to it.
    pub(crate) fn anon_vma(&self) -> Option<AnonVma> {
        // Relaxed: a number of its own.
        AnonVma::new(self.anon_vma.load(Ordering::Relaxed))
    }

    /// Gives it an identity, if it has none. A call that replaces the VMA at the same time may not see it, and merge what Linux
    /// would keep apart.
    #[doc(alias = "anon_vma_prepare")]
    pub(crate) fn set_anon_vma(&self, id: AnonVma) {
        // Relaxed as in `anon_vma`.
        let _ = self
            .anon_vma
            .compare_exchange(0, id.0.get(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether `next`, which begins where this ends, differs in nothing but how it may be accessed, so that anonymous memory of both
    /// may have one identity.
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

    /// Whether it is what is mapped there.
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

    /// The page offset of what lies at `addr`, which may be outside of it.
    pub(crate) fn pgoff_at(&self, addr: VirtAddr) -> u64 {
        self.pgoff
            .wrapping_add(addr.page_number().wrapping_sub(self.range.start.page_number()))
    }

    /// Whether `mapping`, with the page offset `pgoff` at `addr`, continues this one.
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
