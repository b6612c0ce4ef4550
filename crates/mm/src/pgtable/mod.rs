//! Page tables that a monitor walks while holding nothing: freed by RCU, in the architecture's format. Usable without VMAs.
//!
//! - [`PageTables`]: the tables of one address space, on a [`Machine`](crate::Machine). [`Walker`]: a thread's handle to look at
//!   them, and to add pages.
//! - [`Arch`]: what entries look like. [`X86_64`] with 4 or 5 levels, [`Sv39`] of RISC-V.
//! - [`Frames`]: where memory comes from. [`Ram`]: this program's own.
//! - [`PageCounts`]: what smaps says of a range, by looking at entries or by the counters that each leaf table keeps of itself.
//!
//! # What a concurrent reader may see
//! Each entry is a word that is read whole. A walk looks at one leaf table in a read-side section: the table stays, its entries
//! change under the look, and it may be unlinked meanwhile, after which it shows what was in it. Counters are of one moment, and
//! so agree with each other. Nothing is read after it was freed: of frames a monitor reads only what is known of them, which stays.
//!
//! # Locks and their order
//! The right to unlink → an upper table → the tables below it, leaf last → the memory of tables; frames have their own. Whoever
//! fills a missing entry locks its table alone. Locks are held for a step each: nobody holds one while memory is asked for, and
//! monitors take none.
//!
//! # Atomics
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | an entry of an upper table | `link`, under its lock | Release | Acquire in `child`: the table below and its descriptor are initialised |
//! | the same, cleared | `unlink`, under its lock | Release | Acquire in `child`; that it is retired after is for the era's Release store: see [`vmaple_rcu`] |
//! | an entry of a leaf table | under its lock | Release | Acquire in `pte`: what is known of the frame is there |
//! | dead | under its lock | Relaxed | the lock |
//! | counters | under its lock | Release | Acquire in `counters`: the state of the mapping, looked at after, is not older |
//! | a frame's map count | under the lock of a leaf table | Relaxed, AcqRel when it falls | each other: all use of a frame comes before it is used anew |
//! | a frame's link | who has it | Relaxed | the lock of who keeps free frames |
//! | [`Ram`]'s chunks | `grow` | Release | Acquire in `chunk` |

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
