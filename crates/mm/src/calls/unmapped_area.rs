//! Where a new mapping goes (`get_unmapped_area`).

use super::transaction::{Failure, Transaction, fail};
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::error::Errno;
use crate::machine::Machine;
use crate::mm::Layout;
use crate::pgtable::Arch;
use crate::store::VmaStore;
use crate::vma::{MapFlags, VmFlags, Vma};

/// Bytes kept free below a mapping that grows down (`stack_guard_gap`).
pub(crate) const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

/// Returns the lowest address that a mapping denies to others: its start, or that of its guard gap.
#[doc(alias = "vm_start_gap")]
pub(crate) fn start_gap(vma: &Vma) -> VirtAddr {
    let gap = if vma.flags().contains(VmFlags::GROWSDOWN) {
        STACK_GUARD_GAP
    } else {
        0
    };
    vma.range().start.saturating_sub(gap)
}

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    /// Returns the address for a mapping of `len` bytes, a multiple of the page size, requested at
    /// `addr`.
    pub(crate) fn unmapped_area(&self, addr: VirtAddr, len: u64, flags: MapFlags) -> Result<VirtAddr, Failure> {
        let Layout {
            min_addr, task_size, ..
        } = *self.layout();
        if len > task_size.0 {
            return fail(Errno::ENOMEM, "longer than the address space");
        }
        let start = if flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
            addr
        } else {
            self.choose(addr, len, flags).unwrap_or(task_size)
        };
        if start > task_size - len {
            return fail(Errno::ENOMEM, "there is no room, or it is beyond the address space");
        }
        if !start.is_page_aligned() {
            return fail(Errno::EINVAL, "the address is not a multiple of the page size");
        }
        if start < min_addr {
            return fail(Errno::EPERM, "the address is below the lowest that may be mapped");
        }
        Ok(start)
    }

    /// Chooses an address for `len` bytes: the hint, if there is room.
    fn choose(&self, addr: VirtAddr, len: u64, flags: MapFlags) -> Option<VirtAddr> {
        let Layout {
            min_addr, task_size, ..
        } = *self.layout();
        match M::Arch::LOW {
            // From the bottom up. A hint may be below the bottom.
            Some(low) if flags.contains(MapFlags::MAP_32BIT) => {
                let low = low.intersection(min_addr..task_size);
                let at_hint = self.at_hint(addr, len, low.end);
                at_hint.or_else(|| self.search_up(len, low))
            }
            low => {
                let is_high = low.is_some() && flags.contains(MapFlags::ABOVE4G);
                let bottom = if is_high {
                    min_addr.max(VirtAddr(1 << 32))
                } else {
                    min_addr
                };
                let at_hint = self.at_hint(addr, len, task_size);
                at_hint.or_else(|| self.search(len, bottom))
            }
        }
    }

    /// Returns the hinted address, if there is a hint and room below `end`.
    fn at_hint(&self, addr: VirtAddr, len: u64, end: VirtAddr) -> Option<VirtAddr> {
        let min_addr = self.layout().min_addr;
        let hint = match addr.page_floor() {
            VirtAddr(0) => return None,
            hint => hint.max(min_addr),
        };
        let is_free = || self.find(hint).is_none_or(|vma| hint + len <= start_gap(vma));
        (hint <= end.checked_sub(len)? && is_free()).then_some(hint)
    }

    /// Returns the highest room between `bottom` and the base, else the lowest anywhere.
    #[doc(alias = "arch_get_unmapped_area_topdown")]
    fn search(&self, len: u64, bottom: VirtAddr) -> Option<VirtAddr> {
        let layout = self.layout();
        let low = layout.min_addr.max(VirtAddr(layout.task_size.0 / 3));
        self.search_down(len, VirtRange::new(bottom, layout.mmap_base))
            .or_else(|| self.search_up(len, VirtRange::new(low, layout.task_size)))
    }

    #[doc(alias = "unmapped_area_topdown")]
    fn search_down(&self, len: u64, mut area: VirtRange) -> Option<VirtAddr> {
        loop {
            let start = (!area.is_empty()).then(|| self.empty_area_rev(len, area))??;
            match self.find(start).map(start_gap) {
                // The guard gap of the mapping above reaches into the room: look below the gap.
                Some(gap) if gap < start + len => area.end = gap,
                _ => return Some(start),
            }
        }
    }

    #[doc(alias = "unmapped_area")]
    fn search_up(&self, len: u64, mut area: VirtRange) -> Option<VirtAddr> {
        loop {
            let start = (!area.is_empty()).then(|| self.empty_area(len, area))??;
            match self.find(start) {
                Some(above) if start_gap(above) < start + len => area.start = above.range().end,
                _ => return Some(start),
            }
        }
    }
}
