//! Errors of insertions and of building a tree.

use core::fmt;
use core::ops::RangeInclusive;

pub use vmaple_rcu::AllocError;

/// The reason why an entry was not inserted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertErrorKind {
    /// An entry holds a part of the range already.
    Occupied,
    /// Nothing holds the index, so there is nothing to replace.
    Vacant,
    /// There is no memory. The tree has not changed.
    AllocError,
    /// The range is empty, the size is zero, or the alignment is not a power of two.
    InvalidRequest,
    /// No gap within the limits is large enough.
    Full,
}

/// An entry that was not inserted, and the reason.
pub struct InsertError<E> {
    /// The entry, given back.
    pub value: E,
    /// The reason.
    pub cause: InsertErrorKind,
}

impl<E> fmt::Debug for InsertError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertError")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<E> fmt::Display for InsertError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<E> core::error::Error for InsertError<E> {}

impl fmt::Display for InsertErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Occupied => "the range is occupied: erase what is there, or store over it",
            Self::Vacant => "nothing holds the index: insert instead of replacing",
            Self::AllocError => "no memory for the tree's nodes or for noting what to free",
            Self::InvalidRequest => "an empty range, a size of zero, or an alignment that is no power of two",
            Self::Full => "no gap within the limits is large enough",
        })
    }
}

impl core::error::Error for InsertErrorKind {}

impl From<AllocError> for InsertErrorKind {
    fn from(_: AllocError) -> Self {
        Self::AllocError
    }
}

/// The reason why ranges could not be built into a tree.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A range is empty.
    Empty,
    /// This range is not above the one before it.
    Unsorted(RangeInclusive<u64>),
    /// There is no memory.
    AllocError,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsorted(range) => write!(
                f,
                "{:#x}..={:#x} is not above the range before it: sort the ranges first",
                range.start(),
                range.end()
            ),
            Self::Empty => f.write_str("a range is empty: leave it out"),
            Self::AllocError => f.write_str("no memory for the tree's nodes"),
        }
    }
}

impl core::error::Error for BuildError {}

impl From<AllocError> for BuildError {
    fn from(_: AllocError) -> Self {
        Self::AllocError
    }
}
