//! The protocol under loom, at a size that it can exhaust: blocks of one record, an era for each
//! object. Run by `ci/gate/loom.sh`.
//!
//! A model that passes has tried all interleavings with at most three preemptions
//! (`LOOM_MAX_PREEMPTIONS`), and all values that loads may see in them, except what loom 0.7
//! leaves out:
//! - It has one last access for each atomic, so a load by the thread that stores next hides
//!   earlier loads of other threads (tokio-rs/loom issues 166 and 392). So `own_load` loads words
//!   that only one thread writes, of which loom makes no access. And both sides of a model are
//!   spawned, so that neither goes first.
//! - Stores to one word are ordered as they are executed, and sequentially consistent fences
//!   synchronise with each other without an access between them. `ci/deep/litmus.sh` has what is
//!   only seen without that.
//! - It knows nothing of membarrier(2): all models have symmetric fences. `ci/deep/litmus.sh` has
//!   asymmetric ones.
//!
//! Blocks of records, what is parked and the reaper's state report each access to loom, so that a
//! race there fails a model.

#![cfg(loom)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod extensions;
mod nested_read;
mod object;
mod pool;
mod reaping;
mod sections;
mod slots;
mod versions;
