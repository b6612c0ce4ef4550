//! What the writers' lock protects beside the VMAs.

use crate::limits::Limits;

/// The state of an address space that only writers need.
#[derive(Clone, Copy, Debug)]
pub struct MmState {
    /// The end of the heap, in bytes (`mm->brk`).
    pub(crate) brk: u64,
    pub(crate) limits: Limits,
}
