//! What the program counted of a mapping's pages, as smaps counts.

use vmaple_smaps::vm_flags::{VM_LOCKED, VM_SHARED, VM_WRITE};
use vmaple_smaps::{Field, MemSizeStats};

use crate::bpf::abi::{RECORD_SHMEM, RECORD_SWAP_SHARED, RECORD_UNREAD, Record};
use crate::left_out;
use crate::record::{Ages, PAGE};

/// Returns the ages of a record's pages.
pub(crate) fn ages_of(record: &Record) -> Ages {
    [record.age0, record.age1, record.age2, record.age3].map(|pages| pages.saturating_mul(PAGE))
}

/// Returns the counts of a record.
///
/// [`Field::Swap`] is unknown if pages were swapped out of a file in shared memory that is mapped
/// in part, or privately: the file says how many, not which. [`Field::SwapPss`] is if other
/// processes may have swapped pages too, and this kernel does not show how many. All are if a page
/// table could not be read.
pub(crate) fn stats_of(record: &Record) -> MemSizeStats {
    let bytes = |pages: u64| pages.saturating_mul(PAGE);
    let mut stats = MemSizeStats::default();
    stats.rss = bytes(record.rss);
    stats.pss = record.pss;
    stats.pss_dirty = record.pss_dirty;
    stats.pss_anon = record.pss_anon;
    stats.pss_file = record
        .pss
        .saturating_sub(record.pss_anon)
        .saturating_sub(record.pss_shmem);
    stats.pss_shmem = record.pss_shmem;
    stats.shared_clean = bytes(record.shared_clean);
    stats.shared_dirty = bytes(record.shared_dirty);
    stats.private_clean = bytes(record.private_clean);
    stats.private_dirty = bytes(record.private_dirty);
    stats.referenced = bytes(record.referenced);
    stats.anonymous = bytes(record.anonymous);
    stats.ksm = bytes(record.ksm);
    stats.lazy_free = bytes(record.lazyfree);
    stats.anon_huge_pages = bytes(record.anon_thp);
    stats.shmem_pmd_mapped = bytes(record.shmem_thp);
    stats.file_pmd_mapped = bytes(record.file_thp);
    stats.shared_hugetlb = record.shared_hugetlb;
    stats.private_hugetlb = record.private_hugetlb;
    stats.swap = bytes(record.swap);
    stats.swap_pss = record.swap_pss;
    if record.vm_flags & VM_LOCKED != 0 {
        stats.locked = stats.pss;
    }
    if record.flags & RECORD_UNREAD != 0 {
        stats.unknown = left_out::of_pages().collect();
    }
    if record.flags & RECORD_SWAP_SHARED != 0 {
        stats.unknown.insert(Field::SwapPss);
    }
    // What of shared memory is swapped out stands in the file, not in page tables. The first part
    // of the mapping has it.
    if record.flags & RECORD_SHMEM != 0 && record.shmem_swapped != 0 && record.from == record.start {
        let is_whole = record.pgoff == 0 && record.end.saturating_sub(record.start) >= record.i_size;
        let is_of_file = record.vm_flags & VM_SHARED != 0 || record.vm_flags & VM_WRITE == 0;
        if is_whole && is_of_file {
            stats.swap = stats.swap.saturating_add(bytes(record.shmem_swapped));
        } else {
            stats.unknown.insert(Field::Swap);
        }
    }
    stats
}
