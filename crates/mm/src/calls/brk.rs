//! brk(2).

use super::transaction::{Failure, Transaction, fail};
use super::unmapped_area::{STACK_GUARD_GAP, start_gap};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange};
use crate::error::Errno;
use crate::machine::Machine;
use crate::mm::Mm;
use crate::store::VmaStore;
use crate::vma::{MAY_ACCESS, Mapping, Merge, Request, VmFlags};

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// `brk(addr)`: moves the end of the heap, and returns where it is then.
    ///
    /// That is `addr`, or where it was if it cannot move there. As in Linux, there are no errors.
    ///
    /// The heap starts at [`Layout::start_brk`](crate::Layout::start_brk). Readers see its mapping
    /// grow or shrink at one instant.
    ///
    /// ```
    /// use vmaple_mm::{Limits, Layout, Mm, VirtAddr};
    /// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    /// let start = mm.brk(VirtAddr(0));
    /// assert_eq!(start, Layout::default().start_brk);
    /// assert_eq!(mm.brk(start + 0x2800).0, start.0 + 0x2800);
    /// assert_eq!((mm.map_count(), mm.total_vm()), (1, 3));
    /// # Ok::<(), vmaple_mm::Error>(())
    /// ```
    #[doc(alias = "do_brk_flags")]
    pub fn brk(&self, addr: VirtAddr) -> VirtAddr {
        let mut before = self.0.0.brk();
        let moved = self.transact(|transaction| {
            before = transaction.brk;
            transaction.move_brk(addr)
        });
        if moved.is_ok() { addr } else { before }
    }
}

impl<S: VmaStore, M: Machine> Transaction<'_, S, M> {
    fn move_brk(&mut self, brk: VirtAddr) -> Result<(), Failure> {
        let start_brk = self.layout().start_brk;
        if brk < start_brk || brk > self.layout().task_size {
            return fail(Errno::EINVAL, "outside of the address space");
        }
        if brk - start_brk > self.limits().data {
            return fail(Errno::ENOMEM, "above RLIMIT_DATA");
        }
        let (old, new) = (self.brk.page_ceil(), brk.page_ceil());
        if new > old {
            self.grow_heap(old, new, brk)
        } else {
            if new < old {
                self.shrink_heap(new, old)?;
            }
            self.brk = brk;
            Ok(())
        }
    }

    fn grow_heap(&mut self, old: VirtAddr, new: VirtAddr, brk: VirtAddr) -> Result<(), Failure> {
        let room_end = new + PAGE_SIZE;
        let next = self.range(VirtRange::new(old, room_end + STACK_GUARD_GAP)).next();
        if new > self.layout().task_size || next.is_some_and(|next| room_end > start_gap(next)) {
            return fail(Errno::ENOMEM, "no room above the heap");
        }
        let mapping = Mapping {
            flags: VmFlags::READ | VmFlags::WRITE | VmFlags::ACCOUNT | MAY_ACCESS,
            file: None,
            anon_name: None,
            anon_vma: None,
        };
        if !self.may_expand(mapping.flags, (new - old) >> PAGE_SHIFT) {
            return fail(Errno::ENOMEM, "above RLIMIT_AS or RLIMIT_DATA");
        }
        if self.accounts.map_count > self.max_map_count() {
            return fail(Errno::ENOMEM, "more mappings than max_map_count");
        }
        self.brk = brk;
        let request = Request::Map {
            mapping,
            pgoff: old.page_number(),
            merge: Merge::Heap,
        };
        let plan = self
            .neighbours(VirtRange::new(old, new))
            .plan(request, &self.landmarks());
        self.apply(plan)
    }

    fn shrink_heap(&mut self, new: VirtAddr, old: VirtAddr) -> Result<(), Failure> {
        if self.unmap(VirtRange::new(new, old))? {
            Ok(())
        } else {
            fail(Errno::ENOMEM, "the heap is not there")
        }
    }
}
