//! How much of a process is looked at.

use vmaple_smaps::Field;

/// How much of a process is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Want {
    /// What the kernel has counted already, for the whole process.
    Counters,
    /// Mappings, as maps has them.
    Ranges,
    /// Mappings, and what page tables say of each: resident, huge and swapped pages.
    Tables,
    /// All of smaps: mappings, and what is known of each page.
    Pages,
}

impl Want {
    /// Returns the least that has to be wanted for a scan to have a field.
    #[must_use]
    pub const fn of(field: Field) -> Self {
        match field {
            Field::Size | Field::KernelPageSize | Field::MMUPageSize | Field::ProtectionKey | Field::VmFlags => {
                Self::Ranges
            }
            Field::Rss
            | Field::AnonHugePages
            | Field::ShmemPmdMapped
            | Field::FilePmdMapped
            | Field::SharedHugetlb
            | Field::PrivateHugetlb
            | Field::Swap
            | Field::SwapPss => Self::Tables,
            _ => Self::Pages,
        }
    }
}
