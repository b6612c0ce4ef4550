//! Counts of VMAs and of their pages, by what the limits and `/proc` ask for.

use super::vma::Vma;

/// The counts of some VMAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) map_count: usize,
    pub(crate) total_vm: u64,
    pub(crate) data_vm: u64,
    pub(crate) exec_vm: u64,
    pub(crate) stack_vm: u64,
}

impl Accounts {
    /// Counts a VMA.
    #[doc(alias = "vm_stat_account")]
    pub(crate) fn add(&mut self, vma: &Vma) {
        let (flags, pages) = (vma.flags(), vma.pages());
        let pages_if = |is_kind: bool| if is_kind { pages } else { 0 };
        self.map_count += 1;
        self.total_vm += pages;
        self.data_vm += pages_if(flags.is_data_mapping());
        self.exec_vm += pages_if(flags.is_exec_mapping());
        self.stack_vm += pages_if(flags.is_stack_mapping());
    }

    /// Returns the counts without those of `other`, whose VMAs are some of these.
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
