//! The VMA: one mapping, immutable but for the word that says whether it is still one.

use core::ops::Range;
// Not of `primitive`: loom models the change counter; this word is checked under locks.
use core::sync::atomic::{AtomicU8, Ordering};

use vmaple_rcu::AllocError;

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::file::File;
use crate::flags::VmFlags;
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

/// What the address space is to a mapping, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    None,
    /// It holds some of what brk(2) made: `[heap]`.
    Heap,
    /// It holds the main thread's stack: `[stack]`.
    Stack,
}

/// Whether a VMA is one of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VmaState {
    /// Published, but what was mapped there before is not gone yet.
    Pending = 0,
    /// What is mapped there.
    Live = 1,
    /// Replaced, or about to be by a writer that cannot fail any more.
    Superseded = 2,
}

/// One mapping: a range of pages, and what they are of. All of it but [`state`](Self::state) stays as it was published; a call
/// that changes a mapping publishes another VMA. So whoever holds one reads fields that belong together.
///
/// # Invariants
/// `start` and `end` are page-aligned, `start < end`. The state only rises.
#[doc(alias = "vm_area_struct")]
pub struct Vma {
    start: u64,
    end: u64,
    flags: VmFlags,
    pgoff: u64,
    file: Option<Kref<File>>,
    anon_name: Option<Kref<AnonName>>,
    role: Role,
    state: AtomicU8,
}

/// What a mapping is of, wherever it is.
#[derive(Clone)]
pub(crate) struct Mapping {
    pub(crate) flags: VmFlags,
    pub(crate) file: Option<Kref<File>>,
    pub(crate) anon_name: Option<Kref<AnonName>>,
}

impl Vma {
    pub(crate) fn new(range: Range<u64>, pgoff: u64, mapping: Mapping, role: Role) -> Self {
        // INVARIANT: ranges that calls work on are of whole pages, and not empty.
        debug_assert!(range.start < range.end && (range.start | range.end).trailing_zeros() >= PAGE_SHIFT);
        Self {
            start: range.start,
            end: range.end,
            flags: mapping.flags,
            pgoff,
            file: mapping.file,
            anon_name: mapping.anon_name,
            role,
            state: AtomicU8::new(VmaState::Live as u8),
        }
    }

    /// Its first address.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        VirtAddr(self.start)
    }

    /// The address behind its last.
    #[must_use]
    pub fn end(&self) -> VirtAddr {
        VirtAddr(self.end)
    }

    /// Its addresses.
    #[inline]
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// Its pages.
    #[doc(alias = "vma_pages")]
    #[must_use]
    pub fn pages(&self) -> u64 {
        (self.end - self.start) >> PAGE_SHIFT
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
            0 => VmaState::Pending,
            1 => VmaState::Live,
            _ => VmaState::Superseded,
        }
    }

    /// Says that it is replaced. By the holder of the writers' lock, once nothing can fail any more.
    pub(crate) fn supersede(&self) {
        // Release pairs with the Acquire in `state`.
        self.state.store(VmaState::Superseded as u8, Ordering::Release);
    }

    pub(crate) fn mapping(&self) -> Mapping {
        Mapping {
            flags: self.flags,
            file: self.file.clone(),
            anon_name: self.anon_name.clone(),
        }
    }

    /// The page offset of what lies at `addr`, which may be outside of it.
    pub(crate) fn pgoff_at(&self, addr: u64) -> u64 {
        self.pgoff
            .wrapping_add((addr >> PAGE_SHIFT).wrapping_sub(self.start >> PAGE_SHIFT))
    }

    /// Whether `mapping`, with the page offset `pgoff` at `addr`, continues this one.
    #[doc(alias = "can_vma_merge_after")]
    #[doc(alias = "is_mergeable_vma")]
    pub(crate) fn continues_as(&self, addr: u64, pgoff: u64, mapping: &Mapping) -> bool {
        let same_file = match (&self.file, &mapping.file) {
            (None, None) => true,
            (Some(one), Some(other)) => Kref::ptr_eq(one, other),
            _ => false,
        };
        self.flags == mapping.flags
            && same_file
            && self.anon_name() == mapping.anon_name.as_ref().map(|name| name.bytes())
            && self.pgoff_at(addr) == pgoff
    }
}
