#![doc = include_str!("../README.md")]
//!
//! # Where to start
//! - [`MapleTree`]: the tree. [`Write`]: its writers' lock, held, and a transaction.
//! - [`Reader`], [`ReadGuard`], [`Snapshot`]: ways to a [`View`], one version of the tree. It
//!   answers all questions: [`load`](View::load), [`find`](View::find), [`range`](View::range),
//!   [`cursor`](View::cursor), [`empty_area`](View::empty_area), [`dump`](View::dump).
//! - [`Entry`]: a value in the tree. [`Divide`]: a value whose range may be cut in two.
//!
#![doc = include_str!("../PROTOCOL.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_debug_implementations)]

extern crate alloc;

mod debug;
mod edit;
mod entry;
mod error;
mod lock;
mod node;
mod primitive;
mod range;
mod read;
mod root;
mod search;
mod stamp;
mod tree;
mod view;
mod write;

pub use entry::{ArcBorrow, Divide, Entry, Stamp};
pub use error::{AllocError, BuildError, InsertError, InsertErrorKind};
pub use lock::DefaultLock;
pub use read::{ReadGuard, Reader, Snapshot};
pub use tree::MapleTree;
pub use view::{Census, Cursor, Dump, DumpDot, Invalid, Iter, RangeEntry, View};
pub use write::{Displaced, Entries, Write};

#[doc(no_inline)]
pub use vmaple_rcu::{OwnedSections, RcuBox, RcuDomain, Reclaim};
#[doc(no_inline)]
pub use {lock_api, vmaple_rcu};
