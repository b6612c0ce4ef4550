//! The running kernel beside the model: the same calls to both, and what they say compared.
//!
//! The kernel's side is a process of which one window of addresses is free and all others are taken, so that the kernel has
//! no choice that the model does not have. What is left out, so that both can be compared exactly:
//!
//! - Calls that would change the child outside of its window, unless they are sure to fail ([`Op::is_harmless`]).
//! - Lengths between 2 MiB and what cannot fit: huge pages have their say on where these go.
//! - Calls that fail at a limit after they have split mappings: the kernel leaves these split, the model leaves no trace of a
//!   call that fails for want of something ([`Op::leaves_splits`]).
//! - Addresses in the last page of all with FIXED: the kernel takes them for the number of an error, and fails with that.
//! - Memory is never touched, so no mapping has an `anon_vma`.
//! - The numbers of shared anonymous objects: which mappings have the same one is compared.

mod child;
mod generator;
mod model;
mod op;
mod pair;
mod shrink;
mod window;

pub(crate) use child::Child;
pub(crate) use generator::Generator;
pub(crate) use op::{Files, Op};
pub(crate) use pair::{Outcome, Pair, Setting};
pub(crate) use shrink::shrink;
pub(crate) use window::{PAGE, Window, sysctl};
