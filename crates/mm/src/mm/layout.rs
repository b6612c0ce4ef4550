//! The layout of an address space.

use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::error::{Errno, Error};

/// The fixed addresses of an address space. Start from the [default](Self::default), as fields may
/// be added:
///
/// ```
/// let mut layout = vmaple_mm::Layout::default();
/// layout.start_brk = vmaple_mm::VirtAddr(0x10_0000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Layout {
    /// The lowest address that may be mapped (`vm.mmap_min_addr`).
    pub min_addr: VirtAddr,
    /// Mappings without an address go below this one, as high as there is room.
    pub mmap_base: VirtAddr,
    /// One past the highest address (`TASK_SIZE`).
    pub task_size: VirtAddr,
    /// The start of the heap of brk(2).
    pub start_brk: VirtAddr,
    /// An address in the main thread's stack; 0 if there is none.
    pub start_stack: VirtAddr,
    /// The alignment of chosen addresses: a power of two, at least a page.
    pub align: u64,
}

impl Layout {
    /// Checks that addresses are page-aligned and in order, that their sums cannot overflow, and
    /// that page tables which end at `tables_end` can translate them.
    pub(crate) fn check(&self, tables_end: VirtAddr) -> Result<(), Error> {
        let refuse = |why| Err(Error::new(Errno::EINVAL, why));
        if self.task_size > tables_end {
            return refuse("layout: task_size is beyond what the page tables translate");
        }
        if self.task_size > VirtAddr(1 << 63) {
            return refuse("layout: task_size is above 1 << 63");
        }
        if !self.align.is_power_of_two() {
            return refuse("layout: align is not a power of two");
        }
        for (addr, of_pages, too_high) in [
            (self.task_size, "layout: task_size is not a multiple of 4096", ""),
            (
                VirtAddr(self.align),
                "layout: align is not a multiple of 4096",
                "layout: align is above task_size",
            ),
            (
                self.min_addr,
                "layout: min_addr is not a multiple of 4096",
                "layout: min_addr is above task_size",
            ),
            (
                self.mmap_base,
                "layout: mmap_base is not a multiple of 4096",
                "layout: mmap_base is above task_size",
            ),
            (
                self.start_brk,
                "layout: start_brk is not a multiple of 4096",
                "layout: start_brk is above task_size",
            ),
        ] {
            if !addr.is_page_aligned() {
                return refuse(of_pages);
            }
            if addr > self.task_size {
                return refuse(too_high);
            }
        }
        if self.min_addr > self.mmap_base {
            return refuse("layout: min_addr is above mmap_base");
        }
        Ok(())
    }
}

impl Default for Layout {
    /// Returns the layout of a process of x86-64 Linux, without randomisation.
    fn default() -> Self {
        Self {
            min_addr: VirtAddr(0x1_0000),
            mmap_base: VirtAddr(0x7fff_f7ff_f000),
            task_size: VirtAddr(0x7fff_ffff_f000),
            start_brk: VirtAddr(0x5555_5555_9000),
            start_stack: VirtAddr(0),
            align: PAGE_SIZE,
        }
    }
}
