//! Counts of mappings and of their pages.

use crate::vma::Vma;

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

/// Mappings, their pages, and those of them that are data: what the limits are about.
#[derive(Clone, Copy, Default)]
pub(crate) struct Accounts {
    pub(crate) map_count: usize,
    pub(crate) total_vm: u64,
    pub(crate) data_vm: u64,
    pub(crate) exec_vm: u64,
    pub(crate) stack_vm: u64,
}

impl Accounts {
    #[doc(alias = "vm_stat_account")]
    pub(crate) fn add(&mut self, vma: &Vma) {
        let (flags, pages) = (vma.flags(), vma.pages());
        let kind = |is: bool| if is { pages } else { 0 };
        self.map_count += 1;
        self.total_vm += pages;
        self.data_vm += kind(flags.is_data_mapping());
        self.exec_vm += kind(flags.is_exec_mapping());
        self.stack_vm += kind(flags.is_stack_mapping());
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            map_count: self.map_count - other.map_count,
            total_vm: self.total_vm - other.total_vm,
            data_vm: self.data_vm - other.data_vm,
            exec_vm: self.exec_vm - other.exec_vm,
            stack_vm: self.stack_vm - other.stack_vm,
        }
    }
}
