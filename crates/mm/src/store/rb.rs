//! Linux v5.4: VMAs in a red-black tree, under a reader-writer semaphore (`mmap_sem`) that readers
//! hold.
//!
//! The semaphore ([`RwSem`]) causes the problem of the talk. A reader that is preempted while it
//! holds it, or that is handed it while asleep, stops the writers, and all threads queued after
//! them.
//!
//! Pages are zapped with the semaphore held for writing. In munmap and brk v5.4 holds it for
//! reading by then, and so lets readers and faults in a little earlier.
//!
//! VMAs are freed at once, since their readers hold the semaphore. v5.4 finds a gap by the gaps
//! that its tree knows below each node. This one looks at one VMA after the other: it is no faster
//! than v5.4, and no measurement uses it.

use alloc::vec::Vec;
use core::fmt;
use core::mem::offset_of;
use core::ptr::NonNull;

use intrusive_collections::rbtree::AtomicLinkOps;
use intrusive_collections::{Adapter, Bound, KeyAdapter, PointerOps, RBTree, RBTreeAtomicLink};
use lock_api::{RawRwLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use vmaple_rcu::AllocError;

use super::rwsem::RwSem;
use super::slab::{NewSlab, Slab, SlabBox};
use super::{Call, Sealed, Shortage, VmaRead, VmaStore, VmaWrite};
use crate::addr::{VirtAddr, VirtRange};
use crate::mm::MmState;
use crate::vma::Vma;

/// A VMA, and its link in the tree.
struct Node {
    link: RBTreeAtomicLink,
    vma: Vma,
}

/// Converts the boxes that the tree owns to pointers and back.
#[derive(Default)]
struct Boxes;

// SAFETY: a box is a pointer to its object, which stays where it is; back and forth gives the same
// box.
unsafe impl PointerOps for Boxes {
    type Value = Node;
    type Pointer = SlabBox<Node>;

    unsafe fn from_raw(&self, value: *const Node) -> SlabBox<Node> {
        // SAFETY: by the contract it is from `into_raw`, so not null.
        let raw = unsafe { NonNull::new_unchecked(value.cast_mut()) };
        // SAFETY: as above.
        unsafe { SlabBox::from_raw(raw.cast()) }
    }

    fn into_raw(&self, ptr: SlabBox<Node>) -> *const Node {
        ptr.into_raw().cast::<Node>().as_ptr()
    }
}

/// Finds the link, the key and the owner of a node.
#[derive(Default)]
struct ByStart {
    links: AtomicLinkOps,
    boxes: Boxes,
}

// SAFETY: the link is a field, from which the node is found and back.
unsafe impl Adapter for ByStart {
    type LinkOps = AtomicLinkOps;
    type PointerOps = Boxes;

    unsafe fn get_value(&self, link: NonNull<RBTreeAtomicLink>) -> *const Node {
        // SAFETY: by the contract it is the field of a node.
        unsafe { link.as_ptr().byte_sub(offset_of!(Node, link)) }.cast()
    }

    unsafe fn get_link(&self, value: *const Node) -> NonNull<RBTreeAtomicLink> {
        // SAFETY: by the contract it is a node.
        let link = unsafe { &raw const (*value).link };
        // SAFETY: the address of a field is not null.
        unsafe { NonNull::new_unchecked(link.cast_mut()) }
    }

    fn link_ops(&self) -> &AtomicLinkOps {
        &self.links
    }

    fn link_ops_mut(&mut self) -> &mut AtomicLinkOps {
        &mut self.links
    }

    fn pointer_ops(&self) -> &Boxes {
        &self.boxes
    }
}

impl KeyAdapter<'_> for ByStart {
    type Key = VirtAddr;

    fn get_key(&self, node: &Node) -> VirtAddr {
        node.vma.range().start
    }
}

/// An edit of a transaction, so that it can be undone.
enum Edit {
    Inserted(VirtAddr),
    Removed(SlabBox<Node>),
}

/// The state that the semaphore protects.
struct Protected {
    tree: RBTree<ByStart>,
    vmas: Slab<Node>,
    /// The edits of the transaction in progress.
    edits: Vec<Edit>,
    state: MmState,
}

/// VMAs under a reader-writer semaphore, as in Linux v5.4. `L` is the semaphore.
///
/// A writer waits for the readers and writers before it, a reader for the writers before it.
pub struct RbStore<L: RawRwLock = RwSem> {
    mmap_sem: RwLock<L, Protected>,
}

impl VmaRead for Protected {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        let mut at = self.tree.upper_bound(Bound::Included(&addr));
        // Before the first, the next is the first.
        if at.get().is_none_or(|node| node.vma.range().end <= addr) {
            at.move_next();
        }
        at.get().map(|node| &node.vma)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        self.tree
            .upper_bound(Bound::Excluded(&addr))
            .get()
            .map(|node| &node.vma)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        let mut next = match self.find(addr) {
            Some(vma) => self.tree.find(&vma.range().start),
            None => self.tree.cursor(),
        };
        core::iter::from_fn(move || {
            let vma = &next.get()?.vma;
            next.move_next();
            Some(vma)
        })
    }
}

impl Protected {
    fn undo(&mut self) {
        while let Some(edit) = self.edits.pop() {
            match edit {
                Edit::Inserted(start) => drop(self.tree.find_mut(&start).remove()),
                Edit::Removed(node) => drop(self.tree.insert(node)),
            }
        }
    }

    fn empty_area(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        let mut low = limits.start;
        for vma in self.iter_from(low) {
            let start = low.checked_align_up(align)?;
            if start.checked_add(size)? <= vma.range().start.min(limits.end) {
                return Some(start);
            }
            low = vma.range().end;
        }
        let start = low.max(limits.start).checked_align_up(align)?;
        (start.checked_add(size)? <= limits.end).then_some(start)
    }

    fn empty_area_rev(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        let mut high = limits.end;
        let mut below = self.tree.upper_bound(Bound::Excluded(&high));
        loop {
            let vma = below.get().map(|node| node.vma.range());
            let low = vma.map_or(VirtAddr(0), |vma| vma.end).max(limits.start);
            let start = high.checked_sub(size)?.align_down(align);
            if start >= low {
                return Some(start);
            }
            high = vma.filter(|vma| vma.start > limits.start)?.start;
            below.move_prev();
        }
    }
}

/// The semaphore, held for reading.
pub struct RbSection<'r, L: RawRwLock = RwSem>(RwLockReadGuard<'r, L, Protected>);

/// The semaphore, held for writing, with a transaction.
pub struct RbWrite<'s, L: RawRwLock = RwSem>(RwLockWriteGuard<'s, L, Protected>);

impl<L: RawRwLock> Drop for RbWrite<'_, L> {
    /// Undoes the edits that were not published.
    fn drop(&mut self) {
        self.0.undo();
    }
}

/// Implements reading by the protected state.
macro_rules! reads_what_is_protected {
    ($($type:ident),*) => { $(
        impl<L: RawRwLock> VmaRead for $type<'_, L> {
            fn find(&self, addr: VirtAddr) -> Option<&Vma> {
                self.0.find(addr)
            }

            fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
                self.0.find_prev(addr)
            }

            fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
                self.0.iter_from(addr)
            }
        }
    )* };
}

reads_what_is_protected!(RbSection, RbWrite);

impl<L: RawRwLock> Sealed for RbStore<L> {}

impl<L: RawRwLock> Sealed for RbWrite<'_, L> {}

impl<L: RawRwLock + Send + Sync + 'static> VmaStore for RbStore<L> {
    type Reader<'s> = &'s Self;
    type Section<'r> = RbSection<'r, L>;
    type Write<'s> = RbWrite<'s, L>;

    fn new(state: MmState) -> Result<Self, AllocError> {
        let protected = Protected {
            tree: RBTree::new(ByStart::default()),
            vmas: Slab::new()?,
            edits: Vec::new(),
            state,
        };
        let mmap_sem = RwLock::new(protected);
        Ok(Self { mmap_sem })
    }

    fn reader(&self) -> Result<&Self, AllocError> {
        Ok(self)
    }

    fn read_lock<'r>(reader: &'r &Self) -> RbSection<'r, L> {
        RbSection(reader.mmap_sem.read())
    }

    fn write(&self, vmas: usize, _: &Call) -> Result<RbWrite<'_, L>, AllocError> {
        let mut chunks = Vec::new();
        loop {
            let mut write = RbWrite(self.mmap_sem.write());
            let slab = &mut write.0.vmas;
            chunks.drain(..).for_each(|chunk| slab.add(chunk));
            if !slab.is_below(vmas) {
                return Ok(write);
            }
            drop(write);
            for _ in 0..vmas.div_ceil(Slab::<Node>::OF_A_CHUNK) {
                chunks.try_reserve(1).map_err(|_| AllocError)?;
                chunks.push(NewSlab::new()?);
            }
        }
    }

    fn trim(&self, call: &Call) {
        // With 0 VMAs it cannot fail.
        if let Ok(mut write) = self.write(0, call) {
            let protected = &mut *write.0;
            protected.vmas.trim();
            protected.edits = Vec::new();
        }
    }
}

impl<L: RawRwLock> VmaWrite for RbWrite<'_, L> {
    fn state(&self) -> &MmState {
        &self.0.state
    }

    fn state_mut(&mut self) -> &mut MmState {
        &mut self.0.state
    }

    fn empty_area(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        self.0.empty_area(size, limits, align)
    }

    fn empty_area_rev(&self, size: u64, limits: VirtRange, align: u64) -> Option<VirtAddr> {
        self.0.empty_area_rev(size, limits, align)
    }

    fn replace(&mut self, range: VirtRange, vmas: &mut [Option<Vma>; 3]) -> Result<(), Shortage> {
        let Protected {
            tree,
            vmas: slab,
            edits,
            ..
        } = &mut *self.0;
        let new = vmas.len();
        if slab.is_below(new) {
            return Err(Shortage::Vmas(new));
        }
        let mut at = tree.lower_bound_mut(Bound::Included(&range.start));
        while at.get().is_some_and(|node| node.vma.range().start < range.end) {
            edits.try_reserve(1).map_err(|_| Shortage::Memory)?;
            edits.extend(at.remove().map(Edit::Removed));
        }
        edits.try_reserve(new).map_err(|_| Shortage::Memory)?;
        for vma in vmas.iter_mut().filter_map(Option::take) {
            let start = vma.range().start;
            let link = RBTreeAtomicLink::new();
            let Ok(node) = slab.put(Node { link, vma }) else {
                unreachable!("there is room");
            };
            tree.insert(node);
            edits.push(Edit::Inserted(start));
        }
        Ok(())
    }

    fn has_room(&mut self, vmas: usize) -> bool {
        !self.0.vmas.is_below(vmas)
    }

    fn clear(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        before();
        let protected = &mut *self.0;
        protected.undo();
        protected.tree.clear();
        after();
    }

    fn commit(&mut self, before: impl FnOnce(), after: impl FnOnce()) {
        before();
        after();
        for edit in self.0.edits.drain(..) {
            if let Edit::Removed(node) = edit {
                node.vma.supersede();
            }
        }
    }
}

impl<L: RawRwLock> fmt::Debug for RbStore<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RbStore").finish_non_exhaustive()
    }
}

/// The mappings that it sees.
impl<L: RawRwLock> fmt::Debug for RbSection<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter_from(VirtAddr(0))).finish()
    }
}

/// The mappings that it sees.
impl<L: RawRwLock> fmt::Debug for RbWrite<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter_from(VirtAddr(0))).finish()
    }
}
