//! A concurrent map of ranges.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod build;
mod cursor;
mod dump;
mod edit;
mod entry;
mod error;
mod gap;
mod iter;
mod node;
mod path;
mod pool;
mod primitive;
mod range;
mod read;
mod root;
mod search;
mod splice;
mod store;
mod tree;
mod validate;
mod view;
mod write;

pub use cursor::Cursor;
pub use dump::{Dump, DumpDot};
pub use entry::{ArcBorrow, Divide, Entry, Stamp};
pub use error::{AllocError, BuildError, InsertError, InsertErrorKind};
pub use iter::Iter;
pub use read::{ReadGuard, Reader, Snapshot};
pub use tree::{DefaultLock, MapleTree};
pub use validate::{Census, Invalid};
pub use view::{RangeEntry, View};
pub use write::{Displaced, Write};
