//! Whether the program is right about this kernel.
//!
//! - The [`self_test`] starts a child with mappings of many [`shapes`], and makes a [`comparison`]
//!   of a scan of it with the kernel's own text.
//! - [`identity`] checks what tells processes apart.
//! - [`own_page`] checks what an earlier start has learnt.

mod comparison;
#[cfg(test)]
mod forged;
mod identity;
pub(super) mod own_page;
pub(super) mod self_test;
mod shapes;
