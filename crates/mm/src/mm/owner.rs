//! A user of an address space.

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::Ordering;

use super::layout::Layout;
use super::limits::Limits;
use super::mm_struct::MmStruct;
use super::reference::MmRef;
use crate::error::Error;
use crate::machine::{Machine, Soft};
use crate::pgtable::Ram;
use crate::store::{MapleStore, VmaStore};

/// A user of an address space, who may change it. A clone is another user of the same address
/// space.
///
/// The last user to go unmaps everything; a mere reference ([`MmRef`]) never does. `S` is the store
/// of the mappings: [`MapleStore`], whose readers hold no lock, or another design to compare with.
/// `M` is the machine that it runs on.
///
/// ```
/// use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
/// let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
/// mm.mmap(VirtAddr(0), 0x1000, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0)?;
/// let monitor = mm.grab().reader()?;
/// drop(mm);
/// assert!(monitor.read_lock().is_none()); // the address space is gone
/// # Ok::<(), vmaple_mm::Error>(())
/// ```
#[doc(alias = "mm_users")]
pub struct Mm<S: VmaStore = MapleStore, M: Machine = Soft>(pub(crate) MmRef<S, M>);

impl<S: VmaStore> Mm<S> {
    /// Creates an empty address space on x86-64, with one user: the caller.
    ///
    /// Its memory is this program's: up to 64 GiB, taken as it is needed.
    ///
    /// # Errors
    /// `EINVAL` if the layout is not valid: addresses that are not page-aligned or beyond
    /// `task_size`, or an alignment that is not a power of two. `ENOMEM` if there is no memory.
    #[doc(alias = "mm_alloc")]
    pub fn new(layout: Layout, limits: Limits) -> Result<Self, Error> {
        Self::with_machine(layout, limits, Soft::new(Ram::new(64 << 30)?))
    }
}

impl<S: VmaStore, M: Machine> Mm<S, M> {
    /// Creates an empty address space on a machine, with one user: the caller.
    ///
    /// # Errors
    /// As for [`new`](Mm::new), and `EINVAL` if the layout is larger than what the architecture's
    /// page tables can translate.
    pub fn with_machine(layout: Layout, limits: Limits, machine: M) -> Result<Self, Error> {
        Ok(Self(MmRef(MmStruct::new(layout, limits, machine)?)))
    }

    /// Returns a reference, which keeps nothing mapped.
    #[doc(alias = "mmgrab")]
    #[must_use]
    pub fn grab(&self) -> MmRef<S, M> {
        self.0.clone()
    }
}

impl<S: VmaStore, M: Machine> Clone for Mm<S, M> {
    #[doc(alias = "mmget")]
    fn clone(&self) -> Self {
        // Relaxed: made from a user that is there.
        self.0.0.users.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

/// A user is a counted reference too, as `MmWithUser` of Rust for Linux derefs to `Mm`: all that an
/// [`MmRef`] reads, a user reads.
impl<S: VmaStore, M: Machine> Deref for Mm<S, M> {
    type Target = MmRef<S, M>;

    fn deref(&self) -> &MmRef<S, M> {
        &self.0
    }
}

impl<S: VmaStore, M: Machine> Drop for Mm<S, M> {
    /// Unmaps everything with the last user.
    #[doc(alias = "mmput")]
    fn drop(&mut self) {
        // AcqRel: what the other users did comes before the end; Release pairs with the Acquire in
        // `is_gone`.
        if self.0.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.exit();
        }
    }
}

impl<S: VmaStore, M: Machine> fmt::Debug for Mm<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
