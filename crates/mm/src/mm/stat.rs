//! Counts of mappings and of their pages.

/// Pages of an address space by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmStat {
    /// All.
    pub total: u64,
    /// Private and writable, no stack (`data_vm`).
    pub data: u64,
    /// Executable and not writable, no stack (`exec_vm`).
    pub exec: u64,
    /// Of mappings that grow down (`stack_vm`).
    pub stack: u64,
    /// The most that there have been at a time (`hiwater_vm`).
    pub peak: u64,
}
