//! Records of address spaces: what their VMAs and page counts are in the terms of maps and smaps.

use vmaple_mm::pgtable::PageCounts;
use vmaple_mm::{PAGE_SHIFT, Role, VirtAddr, Vma};
use vmaple_smaps::{FlagLetters, Form, MemSizeStats, Name, Perms, VmaRecord};

/// The form of smaps and smaps_rollup: that of Linux 6.18 without protection keys.
pub(crate) static FORM: Form = Form::of_release((6, 18)).with_letters(LETTERS);

/// The letters of flags: those of Linux 6.18 on a machine whose flags above bit 31 are not x86-64's
/// own.
pub(crate) const LETTERS: FlagLetters = {
    let mut letters = FlagLetters::of_release((6, 18));
    let mut bit = 32;
    while bit < 38 {
        letters = letters.with(bit, b"??");
        bit += 1;
    }
    letters.with(38, b"ss")
};

/// Returns the record of a VMA for a scan that has come to the address `cursor`, which is below the
/// VMA's end.
///
/// Nothing is copied: the record borrows the VMA.
///
/// ```
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr, VmaRead};
/// use vmaple_proc::vma_record;
///
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
/// mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ | Prot::WRITE, private, None, 0)?;
///
/// let reader = mm.reader()?;
/// let section = reader.read_lock().unwrap();
/// for record in section.iter_from(VirtAddr(0)).map(|vma| vma_record(vma, VirtAddr(0))) {
///     assert_eq!((record.start, record.end), (0x10000, 0x13000));
///     assert_eq!(record.perms.to_string(), "rw-p");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
#[must_use]
pub fn vma_record(vma: &Vma, cursor: VirtAddr) -> VmaRecord<'_> {
    let (offset, dev, inode) = match vma.file() {
        Some(file) => (vma.pgoff() << PAGE_SHIFT, file.dev(), file.inode()),
        None => (0, (0, 0), 0),
    };
    let range = vma.range();
    VmaRecord {
        start: range.start.0,
        end: range.end.0,
        perms: Perms::of_vm_flags(vma.flags().bits()),
        offset,
        dev,
        inode,
        name: name(vma),
        new_from: range.start.max(cursor).0,
    }
}

/// Returns what a VMA is called, in the order in which the kernel asks (`get_vma_name()`).
#[inline]
fn name(vma: &Vma) -> Name<'_> {
    match (vma.file(), vma.anon_name(), vma.role()) {
        (Some(_), Some(name), _) => Name::AnonShmem(name),
        (Some(file), None, _) => Name::Path(file.path()),
        (None, _, Role::Heap) => Name::Heap,
        (None, _, Role::Stack) => Name::Stack,
        (None, Some(name), _) => Name::Anon(name),
        (None, None, _) => Name::None,
    }
}

/// Returns counts of pages as smaps has them.
///
/// What the address spaces have none of stays 0: memory that is merged (KSM), lazily freed, locked,
/// swapped out or in huge pages.
pub(crate) fn stats(counts: &PageCounts) -> MemSizeStats {
    let mut stats = MemSizeStats::default();
    stats.rss = counts.rss;
    stats.pss = counts.pss;
    stats.pss_dirty = counts.pss_dirty;
    stats.pss_anon = counts.pss_anon;
    stats.pss_file = counts.pss.saturating_sub(counts.pss_anon);
    stats.shared_clean = counts.shared_clean;
    stats.shared_dirty = counts.shared_dirty;
    stats.private_clean = counts.private_clean;
    stats.private_dirty = counts.private_dirty;
    stats.referenced = counts.referenced;
    stats.anonymous = counts.anonymous;
    stats
}

/// How counts are serialized.
#[cfg(feature = "serde")]
#[derive(serde::Serialize)]
#[serde(remote = "PageCounts")]
pub(crate) struct PageCountsFields {
    rss: u64,
    pss: u64,
    pss_dirty: u64,
    pss_anon: u64,
    shared_clean: u64,
    shared_dirty: u64,
    private_clean: u64,
    private_dirty: u64,
    referenced: u64,
    anonymous: u64,
    leaves_by_counters: u64,
    leaves_walked: u64,
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::iter;

    use vmaple_mm::VmFlags;

    use super::*;

    fn only(flags: VmFlags) -> String {
        LETTERS.text(flags.bits())
    }

    #[test]
    fn flags_have_linux_s_letters() {
        for (bit, expected) in [
            (0, "rd"),
            (7, "ms"),
            (8, "gd"),
            (11, "gu"),
            (13, "lo"),
            (20, "ac"),
            (21, "nr"),
            (31, "mg"),
            (38, "ss"),
            (40, "dp"),
            (41, "ui"),
            (42, "sl"),
            (43, "ur"),
            (44, "??"),
            (63, "??"),
        ]
        .into_iter()
        .chain(iter::zip(32..38, iter::repeat("??")))
        {
            assert_eq!(only(VmFlags::from_bits_retain(1 << bit)), expected, "bit {bit}");
        }
        for (flags, expected) in [
            (VmFlags::SYNC, "sf"),
            (VmFlags::WIPEONFORK, "wf"),
            (VmFlags::DONTDUMP, "dd"),
            (VmFlags::NOHUGEPAGE, "nh"),
            (VmFlags::DROPPABLE, "dp"),
        ] {
            assert_eq!(only(flags), expected, "{flags:?}");
        }
    }
}
