//! A monitor's handle.

use core::fmt;

use super::attached::Attached;
use super::reference::MmRef;
use crate::error::{Errno, Error};
use crate::machine::{Machine, Soft};
use crate::pgtable::Walker;
use crate::store::{MapleStore, VmaStore};

/// A monitor's handle, for one thread or open file.
pub struct MmReader<S: VmaStore = MapleStore, M: Machine = Soft>(Attached<S, M>);

impl<S: VmaStore, M: Machine> fmt::Debug for MmReader<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmReader")
            .field("mm", self.mm())
            .finish_non_exhaustive()
    }
}

impl<S: VmaStore, M: Machine> MmRef<S, M> {
    /// Registers a monitor: one for each thread or open file that reads. It delays no user.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM` if there is no memory.
    pub fn reader(&self) -> Result<MmReader<S, M>, Error> {
        if self.is_gone() {
            return Err(Error::new(Errno::ESRCH, "the address space is gone"));
        }
        Attached::new(self.clone()).map(MmReader)
    }
}

impl<S: VmaStore, M: Machine> MmReader<S, M> {
    /// Begins a section; `None` if the address space is gone.
    ///
    /// A section reads one state of the address space. In a [`MapleStore`] no thread waits for it,
    /// however long it lives. It keeps what was mapped when it began.
    #[inline]
    #[must_use]
    pub fn read_lock(&self) -> Option<S::Section<'_>> {
        let section = self.0.read_lock();
        // In this order: a section that finds what the last user left finds the address space gone.
        (!self.mm().is_gone()).then_some(section)
    }

    /// Begins a section as [`read_lock`](Self::read_lock) does, with the lock of the whole address
    /// space if the store has one.
    ///
    /// For files that Linux reads under `mmap_lock`.
    #[inline]
    #[must_use]
    pub fn mmap_read_lock(&self) -> Option<S::Section<'_>> {
        let section = self.0.mmap_read_lock();
        // As in `read_lock`.
        (!self.mm().is_gone()).then_some(section)
    }

    /// Renews a section between two records of a file, so that the next record is not older than
    /// necessary.
    ///
    /// Where other threads may wait for the section, it may stay the same.
    #[inline]
    #[must_use]
    pub fn renew<'r>(&'r self, section: S::Section<'r>) -> Option<S::Section<'r>> {
        let section = self.0.renew(section);
        // As in `read_lock`.
        (!self.mm().is_gone()).then_some(section)
    }

    /// Returns the handle to walk the page tables.
    #[must_use]
    pub fn walker(&self) -> &Walker<'_, M> {
        self.0.walker()
    }

    /// Returns the address space that it reads.
    #[must_use]
    pub fn mm(&self) -> &MmRef<S, M> {
        self.0.mm()
    }
}
