//! Tests of what is inside of page tables.

#[cfg(not(loom))]
mod counters;
#[cfg(loom)]
mod interleavings;
#[cfg(loom)]
mod loom_lock;
