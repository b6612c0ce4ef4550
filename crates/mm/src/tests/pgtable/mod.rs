//! Page tables under loom.

mod interleavings;
mod loom_lock;
