//! Where things are in an address space.

use crate::addr::PAGE_SIZE;

/// The fixed addresses of an address space, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The lowest address that may be mapped (`vm.mmap_min_addr`).
    pub min_addr: u64,
    /// Mappings without an address go below it, as high as there is room.
    pub mmap_base: u64,
    /// The first address that is none of the address space's.
    pub task_size: u64,
    /// Where the heap of brk(2) begins.
    pub start_brk: u64,
    /// An address in the main thread's stack; 0 if there is none.
    pub start_stack: u64,
    /// Addresses that are chosen are multiples of it: a power of two, a page at least.
    pub align: u64,
}

impl Layout {
    /// Whether addresses are of pages and in order, and sums of them cannot overflow.
    pub(crate) fn is_valid(&self) -> bool {
        let addresses = [self.min_addr, self.mmap_base, self.task_size, self.start_brk];
        self.align.is_power_of_two()
            && addresses
                .into_iter()
                .chain([self.align])
                .all(|addr| addr.is_multiple_of(PAGE_SIZE) && addr <= self.task_size)
            && self.min_addr <= self.mmap_base
            && self.task_size <= 1 << 63
    }
}

impl Default for Layout {
    /// A process of x86-64 Linux, without randomisation.
    fn default() -> Self {
        Self {
            min_addr: 0x1_0000,
            mmap_base: 0x7fff_f7ff_f000,
            task_size: 0x7fff_ffff_f000,
            start_brk: 0x5555_5555_9000,
            start_stack: 0,
            align: PAGE_SIZE,
        }
    }
}
