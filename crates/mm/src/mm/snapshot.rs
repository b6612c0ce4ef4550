//! Snapshots: the mappings of one instant, kept.

use core::fmt;
use core::sync::atomic::Ordering;

use super::reference::MmRef;
use crate::addr::VirtAddr;
use crate::error::{Errno, Error};
use crate::machine::{Machine, Soft};
use crate::store::{Call, MapleStore, SnapshotStore, VmaRead, VmaStore};
use crate::vma::Vma;

/// The most snapshots of one address space that may be open at a time. Each keeps what was mapped
/// when it was taken.
///
/// There is no way to one that is not counted:
///
/// ```compile_fail,E0599
/// use vmaple_mm::{Layout, Limits, Mm, VmaStore};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default()).unwrap();
/// let snapshot = mm.store().reader().unwrap().snapshot();
/// ```
pub const SNAPSHOTS_MAX: usize = 64;

impl<S: SnapshotStore, M: Machine> MmRef<S, M> {
    /// Takes a snapshot: the mappings of this instant, kept.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `EAGAIN` if [`SNAPSHOTS_MAX`] are open, `ENOMEM` if
    /// there is no memory.
    pub fn snapshot(&self) -> Result<MmSnapshot<S, M>, Error> {
        let more = |open: usize| (open < SNAPSHOTS_MAX).then_some(open + 1);
        // Relaxed: a count.
        let counted = self
            .0
            .snapshots
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if counted.is_err() {
            return Err(Error::new(Errno::EAGAIN, "SNAPSHOTS_MAX snapshots are open: drop some"));
        }
        let open = Open(self.clone());
        let snapshot = self.0.store.snapshot(&Call(()))?;
        // As in `read_lock`.
        if self.is_gone() {
            return Err(Error::new(Errno::ESRCH, "the address space is gone"));
        }
        Ok(MmSnapshot { snapshot, open })
    }
}

/// The count of an open snapshot.
struct Open<S: VmaStore, M: Machine>(MmRef<S, M>);

impl<S: VmaStore, M: Machine> Drop for Open<S, M> {
    fn drop(&mut self) {
        // Relaxed: a count.
        self.0.0.snapshots.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The mappings of one instant, kept for any time. It reads as a section does, and keeps only what
/// was mapped then.
///
/// [`Vma::state`] says whether a mapping is still there.
#[must_use = "a snapshot keeps memory until it is dropped"]
pub struct MmSnapshot<S: SnapshotStore = MapleStore, M: Machine = Soft> {
    snapshot: S::Snapshot,
    #[expect(dead_code, reason = "counts it, and keeps the store")]
    open: Open<S, M>,
}

impl<S: SnapshotStore, M: Machine> fmt::Debug for MmSnapshot<S, M> {
    /// Lists the mappings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter_from(VirtAddr(0))).finish()
    }
}

impl<S: SnapshotStore, M: Machine> VmaRead for MmSnapshot<S, M> {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        self.snapshot.find(addr)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        self.snapshot.find_prev(addr)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        self.snapshot.iter_from(addr)
    }
}
