//! How models differ: where the VMAs are and which locks their users wait for. All else is the same
//! code.

use vmaple_mm::pgtable::CountBy;
use vmaple_mm::{MapleStore, RbStore, VmaLockStore, VmaStore};
use vmaple_rcu::RcuDomain;

use super::counted_lock::{CountedMutex, CountedRwLock};

/// Linux v5.4.
pub(super) type V54 = RbStore<CountedRwLock>;

/// Linux v6.17.
pub(super) type V617 = VmaLockStore<CountedRwLock>;

/// The cure.
pub(super) type Maple = MapleStore<CountedMutex>;

/// How a model keeps its VMAs.
pub(super) trait Design: VmaStore {
    /// How pages are counted for smaps and smaps_rollup: the kernels look at every page.
    const COUNT_BY: CountBy;

    /// Returns what frees its VMAs, if readers find them without a lock of the whole address space.
    fn rcu(&self) -> Option<&RcuDomain>;
}

impl Design for V54 {
    const COUNT_BY: CountBy = CountBy::Walk;

    fn rcu(&self) -> Option<&RcuDomain> {
        None
    }
}

impl Design for V617 {
    const COUNT_BY: CountBy = CountBy::Walk;

    fn rcu(&self) -> Option<&RcuDomain> {
        Some(self.rcu())
    }
}

impl Design for Maple {
    const COUNT_BY: CountBy = CountBy::Counters;

    fn rcu(&self) -> Option<&RcuDomain> {
        Some(self.rcu())
    }
}
