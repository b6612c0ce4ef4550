//! Read-copy-update whose memory stays bounded when a reader stops.
//!
//! Readers of a shared structure hold nothing that a writer waits for; writers replace objects and
//! defer the freeing of the old ones until no reader can hold them. With epochs, or the grace
//! periods of classical RCU, one reader that is preempted inside of its section holds back
//! *everything* that is retired from then on, a gigabyte a second. Here it holds back what was live
//! when it stopped, and a constant: each object knows the eras in which it was reachable, each
//! reader announces the eras from which it may hold pointers, and an object is freed when no
//! announced interval meets its life.
//!
//! - [`RcuDomain`]: one structure's readers and deferred freeing. [`Updater`]: the right to change
//!   it; there is one.
//! - [`Reader`], [`Guard`]: sections. [`RcuPtr`], [`RcuBox`]: owned objects that are replaced; or
//!   [`Guard::protect`], [`Updater::birth`] and [`Updater::retire`] for words of any other form.
//! - [`Reclaim`]: what a structure needs of this crate, so that a kernel can put its own RCU there.
//! - [`pool`]: objects whose memory goes round between writer and reaper without the global
//!   allocator.
//!
//! `no_std` with `alloc`; the feature `std` (default) adds thread-local readers and membarrier(2).
//!
//! ```
//! use vmaple_rcu::{RcuBox, RcuDomain, RcuPtr};
//!
//! let (domain, mut updater) = RcuDomain::new()?;
//! let config = RcuPtr::null(&domain);
//! config.assign(&mut updater, Some(RcuBox::new(String::from("old"))?)).map_err(|(e, _)| e)?;
//!
//! let reader = domain.reader()?;
//! let guard = reader.read_lock();
//! let held = config.dereference(&guard).unwrap();
//! config.assign(&mut updater, Some(RcuBox::new(String::from("new"))?)).map_err(|(e, _)| e)?;
//! assert_eq!(held, "old"); // stays while the guard lives
//! assert_eq!(config.dereference(&guard).unwrap(), "new");
//! drop(guard);
//!
//! updater.rcu_barrier(); // waits until all that was retired is freed
//! assert_eq!(domain.stats().deferred_objects, 0);
//! # Ok::<(), vmaple_rcu::AllocError>(())
//! ```
//!
//! # Two kinds of structure
//!
//! **Immutable versions** (a tree whose writers copy the path and replace the root): everything
//! reachable from a root was stamped before that root was published, and retired after it was
//! replaced, so the era that covers the root's load covers all below it. Enter with
//! [`Reader::read_lock_at`], which loads the root, and follow plain pointers from there. That load
//! is the only step that may be repeated, at most 64 times, and nothing is extended.
//!
//! **Structures changed in place** (page tables): every pointer is loaded with [`Guard::protect`],
//! which extends the announced interval when the era has moved. That alone is not enough where
//! objects are unlinked together:
//!
//! > **Rule C.** An object is retired only when no word that a reader may still load holds it,
//! > words of unlinked objects
//! > included.
//!
//! Else: a reader is inside of table T. A younger table C is linked into T, then T is unlinked with
//! C in it and both are retired. The reader's interval keeps T but not C, which is freed; then the
//! reader loads C's address from T, extends its interval, loads again, still finds C, and uses it.
//! Re-loading validates only words that are cleared or reachable. So: unlink top-down, clear the
//! words of what was unlinked, then retire. `tests/loom/sections.rs` has both versions.
//!
//! # The bound
//!
//! A reader that stops inside of a section holds the objects whose life meets its interval. If it
//! never extended it, these are: what was live when it entered, and what was born in that era: 64
//! objects or 64 KiB more, and one object of any size. In flight besides, whoever reads: at most
//! four blocks of 63 records of a writer that asks [`Updater::reap_due`] after each change, and
//! what [`RcuDomain::reap`] has not come to yet. Nothing that is born later is held, however long
//! it sleeps. The bound is one on stopped *readers*: while a thread is stopped inside of
//! [`RcuDomain::reap`], nobody else frees, so let the writer do it.
//!
//! Each extension adds what is live then, what is in flight, and what is born in the eras of its
//! slack (none in the first round): a reader that is woken now and then, and extends each time,
//! holds (k + 1) times that after k wakes. Leave the section instead, and find the place again.
//!
//! # Progress
//!
//! | operation | loops | promise |
//! |---|---|---|
//! | [`Reader::read_lock`], dropping a guard | none | wait-free |
//! | [`Reader::read_lock_at`], [`Guard::protect`], [`RcuPtr::dereference`] | at most 64 rounds | wait-free |
//! | [`Updater::birth`], [`Updater::retire`] | over blocks reserved (at most a walk of what is asked), and a push to a stack that only the reaper takes from | lock-free; never waits for a reader |
//! | [`Updater::held_until`] | over readers' slots | wait-free |
//! | [`RcuDomain::reap`] | over readers' slots and at most 64 blocks | never waits: another reaper at work is left to it |
//! | [`RcuDomain::reader`] | over slots | lock-free |
//! | [`Updater::synchronize_rcu`], [`Updater::rcu_barrier`] | until readers leave | waits; for those who want that |
//!
//! A look at readers costs what there are now, and not what there once were: chunks without one are
//! passed over (they hold 16 slots, then 32, and so on up to 4096), and in the others 64 slots
//! without a reader at once. The memory of slots, 128 bytes each, stays with the domain. `cargo run
//! --release --example many_readers` measures it.
//!
//! # fork(2)
//!
//! The child of fork(2) has a copy of the domain, but of all threads only the one that called it.
//! So in the child
//! - a section that *another* thread had open stays open for ever: what it holds is never freed,
//!   and [`Updater::synchronize_rcu`] and [`Updater::rcu_barrier`] wait for ever. What is retired
//!   later is freed all the same, within the bound below for one reader that has stopped;
//! - a reaper's lock or a structure's lock that another thread held stays locked: nothing of the
//!   domain is freed any more;
//! - membarrier(2) goes on: the process's registration is inherited.
//!
//! A child that goes on with the domain is therefore forked while the caller holds the [`Updater`],
//! no other thread reads, and none is inside of [`RcuDomain::reap`]. One that calls execve(2) or
//! ends need not care.
//!
//! # Atomics
//!
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | an object's word | updater's publishing store | Release | the Acquire load in `protect`: object and stamp are initialised |
//! | `era` | `Updater::advance` | Release | Acquire in `enter` and `protect`: who reads an era does not find what was unlinked before it |
//! | `lo` | `enter`, `exit`, `extend` | Release | Acquire in the reaper's look: a section's accesses come before the free |
//! | `lo`, `hi` then the object's word | reader: stores, light fence, load | fence | unlinking store, heavy fence, look: the look sees the announcement or the load sees the unlinking |
//! | `hi` | `enter`, `extend` | Relaxed | ordered by the fences alone |
//! | a slot's bit, and its chunk's count | `claim` | Acquire, Relaxed | Release in `release`; towards looks ordered by the fences, as `lo` is |
//! | the same | `release` | Release | Acquire in `claim`, and in looks, which pass over the slot: its sections come before the free |
//! | a chunk's link | `append` | Release | Acquire in `claim` and in looks |
//! | `sealed`, `empty` | `push` | Release | Acquire in `take_all` |
//! | reaper's `locked` | `try_lock`, `Held::drop` | Acquire, Release | each other |
//! | `users`, `memory` | `Handle::drop` | Release, Acquire fence | each other |
//! | `users` in `is_abandoned` | | Relaxed | none: zero is for ever, and never seen while one is borrowed |
//! | `backlog`, `empties`, counters | | Relaxed | none: hints and statistics |
//!
//! # What notices when a rule is broken
//!
//! `ci/deep/mutate.sh` takes the rules out one by one and expects a test to fail:
//!
//! | taken out | noticed by |
//! |---|---|
//! | the fence at the entry; the fence before the look; Release at the end of a section; Acquire in the look | loom: `a_reader_keeps_what_a_writer_replaces` |
//! | the extension; the fence after it; loading again after it; keeping `lo` while something is held | loom: `an_interval_is_extended_before_a_younger_object_is_used` |
//! | Release in an announcement | loom: `a_section_comes_after_earlier_ones` |
//! | rule C | loom: `without_rule_c_a_young_child_in_an_unlinked_parent_is_used_after_it_was_freed` |
//! | the fence and the Acquire in `held_until` | loom: `what_no_section_holds_may_be_freed_at_once` |
//! | the wait in `synchronize_rcu`, and its Acquire | loom: `synchronize_rcu_waits_for_sections_that_are_open` |
//! | claim, release and counting of slots | loom: `slots` |
//! | the reaper's lock, the hand-over of blocks, the end of a domain | loom: `reaping` |
//! | the count of users, by which threads' readers are let go | loom: `nested_read` |
//! | birth eras | `a_frozen_reader_holds_what_was_live_and_no_more` |
//! | keeping `lo` while an inner section is open | `a_root_that_is_loaded_again_keeps_what_inner_sections_hold` |
//! | counting births | `births_alone_advance_the_era` |
//! | looking again at what is parked, on slots that are released too | `an_object_stays_while_a_guard_holds_it_and_goes_after`, `what_waits_for_a_reader_that_is_gone_is_freed` |
//!
//! loom exhausts each model up to three preemptions, with gaps of its own (`tests/loom/main.rs`
//! names them). For what it cannot see there are litmus tests in the memory model of C and Rust,
//! each beside a broken twin (`ci/deep/litmus.sh`): the fences (`announcement`), a look that passes over
//! a slot (`passed-over`), the stores of two owners of a slot (`slot`), and what only asymmetric
//! fences need: membarrier(2) at each point of an entry (`membarrier-*`), and the Acquire of the
//! era (`era`).

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

/// The code in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
