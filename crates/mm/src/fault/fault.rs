//! The failure of an access to memory.

use core::fmt;

use crate::addr::VirtAddr;
use crate::error::{Errno, Error};

/// A failed access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The address of the access.
    pub addr: VirtAddr,
    /// Why it failed.
    pub cause: FaultCause,
}

/// Why an access failed, by the signal that a process would get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultCause {
    /// Nothing is mapped at the address (SIGSEGV, `SEGV_MAPERR`).
    MapErr,
    /// The mapping does not permit the access (SIGSEGV, `SEGV_ACCERR`).
    AccErr,
    /// The address of a word is not a multiple of its size (SIGBUS, `BUS_ADRALN`).
    Unaligned,
    /// There is no memory for a page, or a page table.
    NoMemory,
    /// Pages of files and of shared memory are not built yet.
    NotSupported,
}

impl FaultCause {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::MapErr => "SIGSEGV (SEGV_MAPERR): nothing is mapped there",
            Self::AccErr => "SIGSEGV (SEGV_ACCERR): the mapping may not be accessed so",
            Self::Unaligned => "SIGBUS (BUS_ADRALN): not a multiple of the word's size",
            Self::NoMemory => "no memory for a page",
            Self::NotSupported => "pages of files and of shared memory are not built yet",
        }
    }
}

impl fmt::Display for FaultCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access to {}: {}", self.addr, self.cause)
    }
}

/// Converts to the error of a system call that accesses memory, such as `copy_from_user`: `EFAULT`,
/// or `ENOMEM`.
///
/// ```
/// use vmaple_mm::{Errno, Error, Layout, Limits, Mm, VirtAddr};
/// fn get(mm: &Mm) -> Result<[u8; 4], Error> {
///     let mut bytes = [0; 4];
///     mm.thread()?.read(VirtAddr(0x1000), &mut bytes)?;
///     Ok(bytes)
/// }
/// let error = get(&Mm::new(Layout::default(), Limits::default())?).unwrap_err();
/// assert_eq!(error.errno, Errno::EFAULT);
/// assert_eq!(std::io::Error::from(error).raw_os_error(), Some(14));
/// # Ok::<(), Error>(())
/// ```
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let errno = match fault.cause {
            FaultCause::NoMemory => Errno::ENOMEM,
            FaultCause::MapErr | FaultCause::AccErr | FaultCause::Unaligned | FaultCause::NotSupported => Errno::EFAULT,
        };
        Self::new(errno, fault.cause.text())
    }
}

impl core::error::Error for Fault {}
