//! Tests of what is inside of page tables.

#[cfg(loom)]
mod interleavings;
#[cfg(loom)]
mod loom_lock;
