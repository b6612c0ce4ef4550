//! From the object to a program that runs.
//!
//! - [`linked`] is the object, fitted to the kernel's types.
//! - [`syscall`] has the commands of bpf(2).
//! - [`program`] loads and runs it, through memory that is [`shared`]; a [`refusal`] says why it
//!   could not be loaded.
//! - [`layout`] finds out where this kernel keeps physical memory and `struct page`, by a
//!   [`marked_page`].
//! - A [`cache`] keeps what all of that has learnt.

pub(super) mod cache;
pub(super) mod generations;
pub(super) mod layout;
pub(super) mod linked;
pub(super) mod marked_page;
pub(super) mod program;
mod refusal;
mod shared;
mod syscall;
