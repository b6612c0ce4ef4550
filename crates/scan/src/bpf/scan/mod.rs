//! A scan of one process.
//!
//! - A [`session`] makes [`runs`], from the cursor on, until the end.
//! - What they find becomes [`lines`], with [`counts`], [`name`]s and [`thp`], and the page
//!   [`vsyscall`].
//! - [`sums`] are made without lines, and a [`sample`] makes them of a part of the tables of pages.

mod counts;
mod lines;
pub(super) mod name;
mod runs;
mod sample;
pub(super) mod session;
pub(super) mod strings;
mod sums;
pub(super) mod thp;
pub(super) mod vsyscall;
