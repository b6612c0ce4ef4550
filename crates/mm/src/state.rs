//! What the writers' lock protects beside the VMAs.

use crate::limits::Limits;

/// The state of an address space that only writers need.
#[derive(Clone, Copy, Debug)]
pub struct MmState {
    pub(crate) limits: Limits,
}
