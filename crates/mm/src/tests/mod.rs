//! Tests of what users of the crate cannot see.

#[cfg(loom)]
mod pgtable;
#[cfg(not(loom))]
mod races;
#[cfg(all(feature = "std", not(loom)))]
mod vma_lock;
