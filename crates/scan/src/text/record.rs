//! What a scan says of one mapping, and of all.

use vmaple_proc::{Name, Perms, VmaRecord};

use crate::bpf::abi::{RECORD_SHMEM, RECORD_SWAP_SHARED, Record};

/// Binary logarithm of the parts of a byte in which proportional sizes are counted, as in Linux.
pub const PSS_SHIFT: u32 = 12;

/// What is resident of a mapping: the fields of smaps, in bytes; proportional sizes in parts of a byte, shifted by
/// [`PSS_SHIFT`].
///
/// Source: `struct mem_size_stats` of Linux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of smaps, in smaller letters")]
pub struct MemSizeStats {
    pub rss: u64,
    pub pss: u64,
    pub pss_dirty: u64,
    pub pss_anon: u64,
    pub pss_file: u64,
    pub pss_shmem: u64,
    pub shared_clean: u64,
    pub shared_dirty: u64,
    pub private_clean: u64,
    pub private_dirty: u64,
    pub referenced: u64,
    pub anonymous: u64,
    pub ksm: u64,
    pub lazy_free: u64,
    pub anon_huge_pages: u64,
    pub shmem_pmd_mapped: u64,
    pub file_pmd_mapped: u64,
    pub shared_hugetlb: u64,
    pub private_hugetlb: u64,
    pub swap: u64,
    /// Whether `swap` is not known: pages were swapped out of a file in shared memory that is mapped in part, or privately, and which
    /// of them stands in the file.
    pub swap_unknown: bool,
    pub swap_pss: u64,
    /// Whether `swap_pss` is not known: pages were swapped out that other processes may have too, and on this kernel by how many is
    /// not shown.
    pub swap_pss_unknown: bool,
    pub locked: u64,
}

impl MemSizeStats {
    /// The counts of a record, in bytes.
    pub(crate) fn of(record: &Record) -> Self {
        let bytes = |pages: u64| pages.saturating_mul(PAGE);
        let mut stats = Self {
            rss: bytes(record.rss),
            pss: record.pss,
            pss_dirty: record.pss_dirty,
            pss_anon: record.pss_anon,
            pss_file: record
                .pss
                .saturating_sub(record.pss_anon)
                .saturating_sub(record.pss_shmem),
            pss_shmem: record.pss_shmem,
            shared_clean: bytes(record.shared_clean),
            shared_dirty: bytes(record.shared_dirty),
            private_clean: bytes(record.private_clean),
            private_dirty: bytes(record.private_dirty),
            referenced: bytes(record.referenced),
            anonymous: bytes(record.anonymous),
            ksm: bytes(record.ksm),
            lazy_free: bytes(record.lazyfree),
            anon_huge_pages: bytes(record.anon_thp),
            shmem_pmd_mapped: bytes(record.shmem_thp),
            file_pmd_mapped: bytes(record.file_thp),
            shared_hugetlb: record.shared_hugetlb,
            private_hugetlb: record.private_hugetlb,
            swap: bytes(record.swap),
            swap_unknown: false,
            swap_pss: record.swap_pss,
            swap_pss_unknown: record.flags & RECORD_SWAP_SHARED != 0,
            locked: 0,
        };
        if record.vm_flags & VM_LOCKED != 0 {
            stats.locked = stats.pss;
        }
        // What of shared memory is swapped out stands in the file, not in page tables. The first part of the mapping has it.
        if record.flags & RECORD_SHMEM != 0 && record.shmem_swapped != 0 && record.from == record.start {
            let is_whole = record.pgoff == 0 && record.end.saturating_sub(record.start) >= record.i_size;
            let is_of_file = record.vm_flags & VM_SHARED != 0 || record.vm_flags & VM_WRITE == 0;
            if is_whole && is_of_file {
                stats.swap = stats.swap.saturating_add(bytes(record.shmem_swapped));
            } else {
                stats.swap_unknown = true;
            }
        }
        stats
    }

    fn pairs<'a>(&'a mut self, other: &Self) -> [(&'a mut u64, u64); 22] {
        [
            (&mut self.rss, other.rss),
            (&mut self.pss, other.pss),
            (&mut self.pss_dirty, other.pss_dirty),
            (&mut self.pss_anon, other.pss_anon),
            (&mut self.pss_file, other.pss_file),
            (&mut self.pss_shmem, other.pss_shmem),
            (&mut self.shared_clean, other.shared_clean),
            (&mut self.shared_dirty, other.shared_dirty),
            (&mut self.private_clean, other.private_clean),
            (&mut self.private_dirty, other.private_dirty),
            (&mut self.referenced, other.referenced),
            (&mut self.anonymous, other.anonymous),
            (&mut self.ksm, other.ksm),
            (&mut self.lazy_free, other.lazy_free),
            (&mut self.anon_huge_pages, other.anon_huge_pages),
            (&mut self.shmem_pmd_mapped, other.shmem_pmd_mapped),
            (&mut self.file_pmd_mapped, other.file_pmd_mapped),
            (&mut self.shared_hugetlb, other.shared_hugetlb),
            (&mut self.private_hugetlb, other.private_hugetlb),
            (&mut self.swap, other.swap),
            (&mut self.swap_pss, other.swap_pss),
            (&mut self.locked, other.locked),
        ]
    }
}

impl std::ops::AddAssign<&Self> for MemSizeStats {
    fn add_assign(&mut self, other: &Self) {
        for (sum, more) in self.pairs(other) {
            *sum = sum.saturating_add(more);
        }
        self.swap_unknown = self.swap_unknown || other.swap_unknown;
        self.swap_pss_unknown = self.swap_pss_unknown || other.swap_pss_unknown;
    }
}

/// A mapping as a scan saw it, or the part of it that is new to the scan: what it borrows is the [`Scan`](crate::Scan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanRecord<'a> {
    /// Its line of maps.
    pub vma: VmaRecord<'a>,
    /// Its flags, with the bits of the running kernel.
    pub vm_flags: u64,
    /// Its pages, from `vma.new_from` on.
    pub stats: MemSizeStats,
    /// The size of its pages, as far as it is one of its own: other than 4 KiB for hugetlbfs alone.
    pub page_bytes: u64,
    /// Whether huge pages may be used; nothing where this kernel's rule is not known.
    pub thp_eligible: Option<bool>,
    /// Whether the line is known to be of one instant. If not, it passed the tests of structure alone.
    pub is_validated: bool,
    /// Whether writers were inside between the moment of the line and the end of counting its pages: some of them may then be
    /// those of what came after it.
    pub counts_later: bool,
}

/// A record as it is kept, with the place of its name in the text of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// From here on it is new.
    pub(crate) from: u64,
    pub(crate) vm_flags: u64,
    pub(crate) offset: u64,
    pub(crate) dev: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) name: NameKind,
    pub(crate) name_at: usize,
    pub(crate) name_bytes: usize,
    pub(crate) stats: MemSizeStats,
    pub(crate) page_bytes: u64,
    pub(crate) thp_eligible: Option<bool>,
    pub(crate) is_validated: bool,
    pub(crate) counts_later: bool,
    /// Whether the kernel's text had letters of flags that are not known.
    pub(crate) lost_letters: bool,
}

/// What a mapping is called, without the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NameKind {
    #[default]
    None,
    Path,
    Heap,
    Stack,
    Anon,
    AnonShmem,
}

/// Of page tables.
pub(crate) const PAGE: u64 = 4096;

pub(crate) const VM_READ: u64 = 1;
pub(crate) const VM_WRITE: u64 = 2;
pub(crate) const VM_EXEC: u64 = 4;
pub(crate) const VM_SHARED: u64 = 8;
pub(crate) const VM_MAYSHARE: u64 = 0x80;
pub(crate) const VM_LOCKED: u64 = 0x2000;
pub(crate) const VM_HUGETLB: u64 = 0x0040_0000;
pub(crate) const VM_HUGEPAGE: u64 = 0x2000_0000;
pub(crate) const VM_NOHUGEPAGE: u64 = 0x4000_0000;

pub(crate) fn perms(vm_flags: u64) -> Perms {
    Perms {
        read: vm_flags & VM_READ != 0,
        write: vm_flags & VM_WRITE != 0,
        execute: vm_flags & VM_EXEC != 0,
        shared: vm_flags & VM_MAYSHARE != 0,
    }
}

impl Line {
    /// The record, with its name from the text of all names.
    pub(crate) fn record<'a>(&self, names: &'a [u8]) -> ScanRecord<'a> {
        let text = names
            .get(self.name_at..self.name_at + self.name_bytes)
            .unwrap_or_default();
        let name = match self.name {
            NameKind::None => Name::None,
            NameKind::Path => Name::Path(text),
            NameKind::Heap => Name::Heap,
            NameKind::Stack => Name::Stack,
            NameKind::Anon => Name::Anon(text),
            NameKind::AnonShmem => Name::AnonShmem(text),
        };
        ScanRecord {
            vma: VmaRecord {
                start: self.start,
                end: self.end,
                perms: perms(self.vm_flags),
                offset: self.offset,
                dev: self.dev,
                inode: self.inode,
                name,
                new_from: self.from,
            },
            vm_flags: self.vm_flags,
            stats: self.stats,
            page_bytes: self.page_bytes,
            thp_eligible: self.thp_eligible,
            is_validated: self.is_validated,
            counts_later: self.counts_later,
        }
    }
}

/// The sum over all mappings, as smaps_rollup has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rollup {
    /// The first address of the first mapping.
    pub start: u64,
    /// The end of the last.
    pub end: u64,
    /// How many mappings; 0 where the sum was read as such ([`Options::sum_alone`](crate::Options::sum_alone)), which does not say.
    pub mappings: u64,
    /// Their sizes, in bytes; 0 in the same case.
    pub size: u64,
    /// Their pages.
    pub stats: MemSizeStats,
}
