//! A concurrent map of ranges: one writer at a time, any number of readers that hold nothing and never retry.
//!
//! Keys are `u64` indexes, ranges are given as `first..=last` or `start..end`; ranges do not overlap; 0 and `u64::MAX` are
//! ordinary. Made for address spaces, page caches, address allocators and symbol tables, in kernels, VMMs, sandboxes and
//! servers. `no_std` with `alloc`.
//!
//! Named after Linux's maple tree, and of the same use and interface; but where that changes nodes in place and lets readers
//! begin anew when they meet a change, **here a write copies the path from the root to what it changes, and publishes the new
//! version with one store.** So a reader has one whole version, a change of many ranges appears at one instant, a
//! snapshot is one load, and gaps are searched for without a lock.
//!
//! ```
//! use maple_tree::MapleTree;
//!
//! let tree = MapleTree::<Box<&str>>::new()?;
//! tree.insert_range(0x1000..0x3000, Box::new("text"))?;
//! tree.insert_range(0x8000..=0x8fff, Box::new("stack"))?;
//!
//! let reader = tree.reader()?; // one for each thread or open file
//! let view = reader.read_lock(); // holds nothing that a writer waits for
//! assert_eq!(view.load(0x2fff), Some(&"text"));
//! assert_eq!(view.find(0x3000), Some((0x8000..=0x8fff, &"stack"))); // the first at or above
//! assert_eq!(view.empty_area(0x4000, 0x1000.., 0x1000), Some(0x3000));
//!
//! tree.erase(0x1000)?; // the view stays what it was
//! assert_eq!(view.iter().count(), 2);
//! assert_eq!(reader.read_lock().iter().count(), 1); // a section that begins now has the version of now
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`MapleTree`]: the tree. [`Write`]: its writers' lock, held, and a transaction.
//! - [`Reader`], [`ReadGuard`], [`Snapshot`]: ways to a [`View`], one version of the tree, which answers all questions:
//!   [`load`](View::load), [`find`](View::find), [`range`](View::range), [`cursor`](View::cursor),
//!   [`empty_area`](View::empty_area), [`dump`](View::dump).
//! - [`Entry`]: what it holds. [`Divide`]: what may be cut in two.
//!
//! # What a reader may see
//!
//! A view is exactly one state that the tree was in between two transactions: that of the moment when the section began. It
//! sees no part of a transaction without the rest, nothing later, and it does not change. A section that is stopped for
//! ever delays no writer, and keeps what was in the tree when it began and no more ([`vmaple_rcu`] says how): what is added
//! and taken out meanwhile is freed.
//!
//! # Progress
//!
//! | operation | steps |
//! |---|---|
//! | [`Reader::read_lock`] | two stores and a load, a fence in between; the load is repeated at most 64 times, and only if the era moved: wait-free |
//! | [`View::load`], [`View::find`] | one node on each level; no loop depends on a writer, as a version does not change: wait-free |
//! | [`View::iter`], a step | O(1) amortised, O(log n) at most; wait-free |
//! | [`View::empty_area`] | O(log n), and one for each gap that is large enough but not where it could be aligned; wait-free |
//! | a snapshot | O(1) |
//! | an edit | O(log n), and O(k) for k entries taken out; waits for other writers, never for a reader |
//! | a commit | O(nodes that were replaced), and a look at each reader that is registered then ([`Updater::held_until`](vmaple_rcu::Updater::held_until)), snapshots included, if the tree's fences are symmetric |
//! | [`MapleTree::reader`], a snapshot's part of it | a search for a free slot: O(readers) |
//!
//! `tests/concurrent.rs` counts the loads of the root while a writer runs.
//!
//! # Memory
//!
//! An edit takes all memory before it changes anything and gives an error otherwise; publishing cannot fail. Nodes come from
//! a pool of the tree's own and go back there when no reader can hold them; where nobody reads, at once. Once warm, neither
//! readers nor writers call the allocator ([`MapleTree::reserve`] warms it, [`MapleTree::trim`] gives memory back).
//!
//! A leaf needs 24 bytes for an entry, and 8 more for the era of its birth if the entry has no place for it ([`Entry::Stamp`]).
//!
//! # An RCU of one's own
//!
//! A kernel has an RCU already. [`MapleTree::with_rcu`] takes it, behind the traits [`Reclaim`], [`Section`](vmaple_rcu::Section) and
//! [`Update`](vmaple_rcu::Update); `examples/in_a_kernel.rs` is the whole of it, to be copied. What it must guarantee:
//!
//! - **Publish, fence, look.** The tree stores the new root with Release, and calls [`retire`](vmaple_rcu::Update::retire) after that. Before an
//!   implementation looks which sections are open, it passes a SeqCst fence. A section that begins is announced first, passes
//!   a SeqCst fence then, and loads after that. So a section that the look misses finds the new root. Without both fences the root may still
//!   be in a store buffer while the look finds that nobody reads: then a section begins, finds the old root, and uses what is freed.
//!   SeqCst accesses of the announcement alone are not enough (`ci/deep/litmus/own-rcu-broken.litmus` in the sources).
//! - **A section ends with Release, and the look is an Acquire**: all loads of the section come before the free.
//! - **Sections of one reader nest, and end in any order.** Safe code may call [`Reader::read_lock`] again while a guard of that reader
//!   lives, and drop either first. What the first has found stays until the first ends.
//! - **A section that is bound to its CPU or thread is not `Send`**, and such an RCU has no [`OwnedSections`], so no snapshots.
//! - **After [`reserve`](vmaple_rcu::Update::reserve) the calls of `retire` do not fail**, and neither waits for a section.
//! - [`held_until`](vmaple_rcu::Update::held_until) stays the default, unless there are eras: what it calls free is used anew at once.
//!
//! # Panics in values
//!
//! A value whose drop panics ends the process. Values are dropped by whoever frees: usually a later writer, after it has left
//! the lock; a transaction that is undone drops what it brought under the lock, so a drop must not write to the tree.
//!
//! # Atomics
//!
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | the root | a commit | Release | Acquire in a section's load: nodes and entries are initialised and stamped |
//! | the pool's list of nodes that came back | who frees | Release | Acquire of the writer who takes it: their last readers are done |
//! | the same word as a count, after the tree is gone | who frees | AcqRel | each other: all use of the pool comes before its end |
//! | a node's link and maker | writers | Relaxed | ordered by the lock, or by the exchange that hands a list over |
//! | whether the pool is low | writers | Relaxed | none: a hint |
//!
//! The rest is [`vmaple_rcu`]'s, which protects the root's load; what is below it does not change, so one protected load covers it
//! all. With another [`Reclaim`] it is that one's.

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

/// The code of the README, which is compiled and run as this crate's own.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

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
