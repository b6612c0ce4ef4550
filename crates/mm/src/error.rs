//! Errors: Linux's numbers, and why.

use core::fmt;

use vmaple_rcu::AllocError;

/// The errors of calls on an address space, by the names and numbers of errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Errno {
    /// Operation not permitted.
    EPERM,
    /// No such entry.
    ENOENT,
    /// The address space is gone.
    ESRCH,
    /// A mapping that the call is not for.
    EBADF,
    /// Try again later.
    EAGAIN,
    /// No memory, no room, too many mappings, or nothing mapped there.
    ENOMEM,
    /// Permission denied.
    EACCES,
    /// The address cannot have pages.
    EFAULT,
    /// Something is mapped in the range.
    EEXIST,
    /// Invalid argument.
    EINVAL,
    /// Too large for the type.
    EOVERFLOW,
    /// Not supported.
    EOPNOTSUPP,
}

impl Errno {
    /// Returns Linux's number, positive.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::EPERM => 1,
            Self::ENOENT => 2,
            Self::ESRCH => 3,
            Self::EBADF => 9,
            Self::EAGAIN => 11,
            Self::ENOMEM => 12,
            Self::EACCES => 13,
            Self::EFAULT => 14,
            Self::EEXIST => 17,
            Self::EINVAL => 22,
            Self::EOVERFLOW => 75,
            Self::EOPNOTSUPP => 95,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A failed call. The address space is as it was, unless the call documents partial effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The error number that the system call returns.
    pub errno: Errno,
    /// Which of the number's reasons it was.
    pub why: &'static str,
}

impl Error {
    /// Creates an error with its reason.
    #[must_use]
    pub const fn new(errno: Errno, why: &'static str) -> Self {
        Self { errno, why }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.errno, self.why)
    }
}

impl core::error::Error for Error {}

/// Converts to the system's error of this number. The reason is lost.
#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::from_raw_os_error(error.errno.code())
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        Self::new(Errno::ENOMEM, "no memory for the bookkeeping of the address space")
    }
}
