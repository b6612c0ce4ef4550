//! Page tables that a monitor walks without holding a lock: freed by RCU, in the architecture's
//! format. Usable without VMAs.
//!
//! - [`PageTables`]: the tables of one address space, on a [`Machine`](crate::Machine). [`Walker`]:
//!   a thread's handle to look at them, and to map pages.
//! - [`Arch`]: the format of entries. [`X86_64`] with 4 or 5 levels, [`Sv39`] of RISC-V.
//! - [`Frames`]: an allocator of frames. [`Ram`]: one in this program's own memory. [`FrameList`]:
//!   frames on their way.
//! - [`PageCounts`]: what smaps reports of a range, by reading entries or the counters that each
//!   leaf table keeps of itself.
//!
//! # What a concurrent reader may see
//! Each entry is one word, read whole. A walk looks at one leaf table in a read-side section: the
//! table stays, and its entries change under the look. The table may be unlinked meanwhile; then it
//! shows what was in it. Counters are of one moment, and so agree with each other. Nothing is read
//! after it was freed: of a frame a monitor reads only its metadata, which stays.
//!
//! # Locks and their order
//! The unlink lock → an upper table → the tables below it, leaf last → the memory of tables. Frames
//! have their own lock. A thread that fills a missing entry locks its table alone. Each lock is
//! held for one step: no lock is held while memory is allocated, and monitors take none.
//!
//! # Atomics
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | an entry of an upper table | `link`, under its lock | Release | Acquire in `child`: the table below and its descriptor are initialised |
//! | the same, cleared | `unlink`, under its lock | Release | Acquire in `child`; that it is retired after is for the era's Release store: see [`vmaple_rcu`] |
//! | an entry of a leaf table | under its lock | Release | Acquire in `pte`: the frame's metadata is there |
//! | dead | under its lock | Relaxed | the lock |
//! | counters | under its lock | Release | Acquire in `counters`: the state of the mapping, read after, is not older |
//! | a frame's map count | under the lock of a leaf table | Relaxed, AcqRel when it falls | each other: all use of a frame comes before it is used again |
//! | a frame's link | its owner | Relaxed | the lock of the allocator that keeps free frames |
//! | [`Ram`]'s chunks | `grow` | Release | Acquire in `find_chunk` and `page` |

mod arch;
mod count;
mod counters;
mod frame;
mod frame_cache;
mod frame_list;
mod gather;
mod link;
mod memory;
mod page_tables;
mod ram;
mod table;
mod walk;

pub use arch::{Arch, ENTRIES, PageFlags, Pte, Sv39, X86_64};
pub use count::{CountBy, PSS_SHIFT, PageCounts};
pub use counters::LeafCounters;
pub use frame::{FrameMeta, Frames, Pfn, UniqueFrame};
pub(crate) use frame_cache::FrameCache;
pub use frame_list::{FrameChain, FrameList};
pub(crate) use link::{LeafTable, LinkError, LockedLeaf};
pub use page_tables::PageTables;
pub use ram::Ram;
#[cfg(all(test, loom))]
pub(crate) use table::POISON;
pub use walk::{Leaf, Step, Walker};
