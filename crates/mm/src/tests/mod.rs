//! Tests of what users of the crate cannot see.

#[cfg(not(loom))]
mod merge;
#[cfg(loom)]
mod pgtable;
#[cfg(not(loom))]
mod races;
#[cfg(all(feature = "std", not(loom)))]
mod vma_lock;
