//! The role of a mapping: heap or stack, by its place.

use crate::addr::{VirtAddr, VirtRange};

/// What the address space uses a mapping for, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Nothing special.
    None,
    /// It holds some of what brk(2) made: `[heap]`.
    Heap,
    /// It holds the main thread's stack: `[stack]`.
    Stack,
}

/// The addresses that give a VMA its role.
#[derive(Clone, Copy)]
pub(crate) struct Landmarks {
    pub(crate) start_brk: VirtAddr,
    /// The end of the heap. It moves.
    pub(crate) brk: VirtAddr,
    pub(crate) start_stack: VirtAddr,
}

impl Landmarks {
    /// Returns the role of an anonymous mapping of `range`. Mappings of files have none.
    #[doc(alias = "vma_is_initial_heap")]
    #[doc(alias = "vma_is_initial_stack")]
    pub(crate) fn role(&self, range: VirtRange) -> Role {
        if range.start < self.brk && range.end > self.start_brk {
            Role::Heap
        } else if range.start <= self.start_stack && range.end >= self.start_stack {
            Role::Stack
        } else {
            Role::None
        }
    }
}
