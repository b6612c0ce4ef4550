//! Counts of mappings and of their pages.

/// Numbers of mapped pages by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmStat {
    /// All mapped pages.
    pub total: u64,
    /// Pages of private, writable mappings that are no stack (`data_vm`).
    pub data: u64,
    /// Pages of executable mappings that are neither writable nor stack (`exec_vm`).
    pub exec: u64,
    /// Pages of mappings that grow down (`stack_vm`).
    pub stack: u64,
    /// The highest total so far (`hiwater_vm`).
    pub peak: u64,
}
