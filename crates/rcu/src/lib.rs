#![doc = include_str!("../README.md")]
//!
//! # Where to start
//! - [`RcuDomain`]: one structure's readers and deferred freeing. [`Updater`]: the right to change
//!   it; there is one.
//! - [`Reader`], [`Guard`]: sections. [`RcuPtr`], [`RcuBox`]: owned objects that are replaced.
//! - [`Guard::protect`], [`Updater::birth`] and [`Updater::retire`]: the same for words of any
//!   form.
//! - [`Reclaim`]: what a structure needs of this crate, so that a kernel can put its own RCU there.
//! - [`pool`]: recycles objects between writer and reaper without the global allocator.
//!
#![doc = include_str!("../PROTOCOL.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod block;
mod domain;
mod error;
mod fences;
mod handle;
#[cfg(feature = "std")]
mod local;
mod memory;
pub mod pool;
mod primitive;
mod ptr;
mod read;
mod reap;
mod reclaim;
mod shared;
mod slot;
mod stats;
mod update;

pub use block::Retired;
pub use domain::RcuDomain;
pub use error::AllocError;
pub use fences::Fences;
pub use ptr::{RcuBox, RcuPtr};
pub use read::{Guard, OwnedGuard, Reader};
pub use reclaim::{OwnedSections, Reclaim, Section, Update};
pub use stats::{ReaderStats, Stats};
pub use update::Updater;
