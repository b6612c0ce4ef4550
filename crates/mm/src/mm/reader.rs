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
    /// Registers a monitor: one for each thread or open file that reads.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone, `ENOMEM` if there is no memory; its users never notice.
    pub fn reader(&self) -> Result<MmReader<S, M>, Error> {
        if self.is_gone() {
            return Err(Error::new(Errno::ESRCH, "the address space is gone"));
        }
        Attached::new(self.clone()).map(MmReader)
    }
}

impl<S: VmaStore, M: Machine> MmReader<S, M> {
    /// Begins to read; `None` if the address space is gone.
    ///
    /// What is read through the section is one state of the address space. In a [`MapleStore`] nobody waits for it, however
    /// long it lives; it keeps what was mapped when it began.
    #[inline]
    #[must_use]
    pub fn read_lock(&self) -> Option<S::Section<'_>> {
        let section = self.0.read_lock();
        // In this order: who finds what the last user left finds it gone.
        (!self.mm().is_gone()).then_some(section)
    }

    /// As [`read_lock`](Self::read_lock); where the design has a lock of the whole address space that readers take, with that. For
    /// files that Linux reads under it.
    #[inline]
    #[must_use]
    pub fn mmap_read_lock(&self) -> Option<S::Section<'_>> {
        let section = self.0.mmap_read_lock();
        // As in `read_lock`.
        (!self.mm().is_gone()).then_some(section)
    }

    /// Between two records of a file: where a section is held that nobody waits for, one that begins now instead, so that the next
    /// record is not older than need be; else the same.
    #[inline]
    #[must_use]
    pub fn renew<'r>(&'r self, section: S::Section<'r>) -> Option<S::Section<'r>> {
        let section = self.0.renew(section);
        // As in `read_lock`.
        (!self.mm().is_gone()).then_some(section)
    }

    /// The handle to walk its page tables.
    #[must_use]
    pub fn walker(&self) -> &Walker<'_, M> {
        self.0.walker()
    }

    /// What it reads.
    #[must_use]
    pub fn mm(&self) -> &MmRef<S, M> {
        self.0.mm()
    }
}
