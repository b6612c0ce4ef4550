//! The values that smaps has lines for.

use crate::options::Want;
use crate::text::record::{MemSizeStats, PSS_SHIFT, ScanRecord};

/// A value that smaps has a line for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of smaps")]
pub enum Field {
    Size,
    KernelPageSize,
    MMUPageSize,
    Rss,
    Pss,
    PssDirty,
    PssAnon,
    PssFile,
    PssShmem,
    SharedClean,
    SharedDirty,
    PrivateClean,
    PrivateDirty,
    Referenced,
    Anonymous,
    Ksm,
    LazyFree,
    AnonHugePages,
    ShmemPmdMapped,
    FilePmdMapped,
    SharedHugetlb,
    PrivateHugetlb,
    Swap,
    SwapPss,
    Locked,
    THPeligible,
    ProtectionKey,
    VmFlags,
}

impl Field {
    /// All, in the order of smaps and its roll-up.
    pub const ALL: [Self; 28] = [
        Self::Size,
        Self::KernelPageSize,
        Self::MMUPageSize,
        Self::Rss,
        Self::Pss,
        Self::PssDirty,
        Self::PssAnon,
        Self::PssFile,
        Self::PssShmem,
        Self::SharedClean,
        Self::SharedDirty,
        Self::PrivateClean,
        Self::PrivateDirty,
        Self::Referenced,
        Self::Anonymous,
        Self::Ksm,
        Self::LazyFree,
        Self::AnonHugePages,
        Self::ShmemPmdMapped,
        Self::FilePmdMapped,
        Self::SharedHugetlb,
        Self::PrivateHugetlb,
        Self::Swap,
        Self::SwapPss,
        Self::Locked,
        Self::THPeligible,
        Self::ProtectionKey,
        Self::VmFlags,
    ];

    /// Its name in smaps.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Size => "Size",
            Self::KernelPageSize => "KernelPageSize",
            Self::MMUPageSize => "MMUPageSize",
            Self::Rss => "Rss",
            Self::Pss => "Pss",
            Self::PssDirty => "Pss_Dirty",
            Self::PssAnon => "Pss_Anon",
            Self::PssFile => "Pss_File",
            Self::PssShmem => "Pss_Shmem",
            Self::SharedClean => "Shared_Clean",
            Self::SharedDirty => "Shared_Dirty",
            Self::PrivateClean => "Private_Clean",
            Self::PrivateDirty => "Private_Dirty",
            Self::Referenced => "Referenced",
            Self::Anonymous => "Anonymous",
            Self::Ksm => "KSM",
            Self::LazyFree => "LazyFree",
            Self::AnonHugePages => "AnonHugePages",
            Self::ShmemPmdMapped => "ShmemPmdMapped",
            Self::FilePmdMapped => "FilePmdMapped",
            Self::SharedHugetlb => "Shared_Hugetlb",
            Self::PrivateHugetlb => "Private_Hugetlb",
            Self::Swap => "Swap",
            Self::SwapPss => "SwapPss",
            Self::Locked => "Locked",
            Self::THPeligible => "THPeligible",
            Self::ProtectionKey => "ProtectionKey",
            Self::VmFlags => "VmFlags",
        }
    }

    /// The field of a name as in smaps, in letters of any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|field| field.label().eq_ignore_ascii_case(name))
    }

    /// What has to be looked at for it.
    #[must_use]
    pub fn needs(self) -> Want {
        match self {
            Self::Size | Self::KernelPageSize | Self::MMUPageSize | Self::ProtectionKey | Self::VmFlags => Want::Ranges,
            Self::Rss
            | Self::AnonHugePages
            | Self::ShmemPmdMapped
            | Self::FilePmdMapped
            | Self::SharedHugetlb
            | Self::PrivateHugetlb
            | Self::Swap
            | Self::SwapPss => Want::Tables,
            _ => Want::Pages,
        }
    }

    /// Whether the kernel has it in smaps_rollup alone.
    #[must_use]
    pub fn is_of_sum(self) -> bool {
        matches!(self, Self::PssAnon | Self::PssFile | Self::PssShmem)
    }

    /// What it is in bytes, of a roll-up or of the pages of a mapping; nothing if it is no sum of pages, or not known.
    #[must_use]
    pub fn bytes(self, stats: &MemSizeStats) -> Option<u64> {
        Some(match self {
            Self::Rss => stats.rss,
            Self::Pss => stats.pss >> PSS_SHIFT,
            Self::PssDirty => stats.pss_dirty >> PSS_SHIFT,
            Self::PssAnon => stats.pss_anon >> PSS_SHIFT,
            Self::PssFile => stats.pss_file >> PSS_SHIFT,
            Self::PssShmem => stats.pss_shmem >> PSS_SHIFT,
            Self::SharedClean => stats.shared_clean,
            Self::SharedDirty => stats.shared_dirty,
            Self::PrivateClean => stats.private_clean,
            Self::PrivateDirty => stats.private_dirty,
            Self::Referenced => stats.referenced,
            Self::Anonymous => stats.anonymous,
            Self::Ksm => stats.ksm,
            Self::LazyFree => stats.lazy_free,
            Self::AnonHugePages => stats.anon_huge_pages,
            Self::ShmemPmdMapped => stats.shmem_pmd_mapped,
            Self::FilePmdMapped => stats.file_pmd_mapped,
            Self::SharedHugetlb => stats.shared_hugetlb,
            Self::PrivateHugetlb => stats.private_hugetlb,
            Self::Swap if stats.swap_unknown => return None,
            Self::Swap => stats.swap,
            Self::SwapPss if stats.swap_pss_unknown => return None,
            Self::SwapPss => stats.swap_pss >> PSS_SHIFT,
            Self::Locked => stats.locked >> PSS_SHIFT,
            _ => return None,
        })
    }

    /// As [`bytes`](Self::bytes), to be written: nothing if it is a value without a unit.
    pub(crate) fn set(self, stats: &mut MemSizeStats, bytes: u64) {
        match self {
            Self::Rss => stats.rss = bytes,
            Self::Pss => stats.pss = bytes << PSS_SHIFT,
            Self::PssDirty => stats.pss_dirty = bytes << PSS_SHIFT,
            Self::PssAnon => stats.pss_anon = bytes << PSS_SHIFT,
            Self::PssFile => stats.pss_file = bytes << PSS_SHIFT,
            Self::PssShmem => stats.pss_shmem = bytes << PSS_SHIFT,
            Self::SharedClean => stats.shared_clean = bytes,
            Self::SharedDirty => stats.shared_dirty = bytes,
            Self::PrivateClean => stats.private_clean = bytes,
            Self::PrivateDirty => stats.private_dirty = bytes,
            Self::Referenced => stats.referenced = bytes,
            Self::Anonymous => stats.anonymous = bytes,
            Self::Ksm => stats.ksm = bytes,
            Self::LazyFree => stats.lazy_free = bytes,
            Self::AnonHugePages => stats.anon_huge_pages = bytes,
            Self::ShmemPmdMapped => stats.shmem_pmd_mapped = bytes,
            Self::FilePmdMapped => stats.file_pmd_mapped = bytes,
            Self::SharedHugetlb => stats.shared_hugetlb = bytes,
            Self::PrivateHugetlb => stats.private_hugetlb = bytes,
            Self::Swap => stats.swap = bytes,
            Self::SwapPss => stats.swap_pss = bytes << PSS_SHIFT,
            Self::Locked => stats.locked = bytes << PSS_SHIFT,
            _ => {}
        }
    }

    /// What it is of a record, in bytes or as a number; nothing if it is not known.
    #[must_use]
    pub fn of(self, record: &ScanRecord<'_>) -> Option<u64> {
        match self {
            Self::Size => Some(record.vma.end - record.vma.new_from),
            Self::KernelPageSize | Self::MMUPageSize => Some(record.page_bytes),
            Self::THPeligible => record.thp_eligible.map(u64::from),
            Self::ProtectionKey => Some(record.vm_flags >> 32 & 15),
            Self::VmFlags => None,
            _ => self.bytes(&record.stats),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_the_names_of_smaps() {
        for field in Field::ALL {
            assert_eq!(Field::parse(field.label()), Some(field));
            assert_eq!(Field::parse(&field.label().to_lowercase()), Some(field));
        }
        assert_eq!(Field::parse("Pss_"), None);
    }
}
