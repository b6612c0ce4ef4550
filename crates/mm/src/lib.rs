#![doc = include_str!("../README.md")]
//!
//! # What a concurrent reader may see
//! A section or a snapshot is one state that the mappings were in between two calls. It is never
//! half of a call, however many mappings the call replaced, split or merged. The fields of a VMA
//! belong together. What was unmapped before the section began is not in it. [`MmRef::change`]
//! tells whether several sections showed one state. [`MmRef::map_count`] and [`MmRef::total_vm`]
//! are as of a moment ago.
//!
//! Pages are different: each is seen as it was at some moment of the walk, and the mapping may be
//! gone by then ([`Vma::state`]). While a call replaces mappings, old pages may be seen in the new
//! mapping ([`MmRef::is_pending`]). No fault finds them.
//!
//! # Locks, and who waits for whom
//! The order of locks: `W`, the writers' lock of the store → the unlink lock of page tables →
//! upper tables → leaf tables → the memory of tables. Frames have their own lock. Under none of
//! them is I/O done, or does a [notifier](MmuNotifier) or a destructor of the embedder run, with
//! one exception: a `RbStore` drops a [`File`] under `W`, as v5.4 does. The other stores drop it
//! when they free its VMA, after `W`. The closure of [`MmThread::with_page`] runs under the lock of
//! a leaf table: that is its purpose.
//!
//! Memory for VMAs is allocated before `W` is taken. The tree has nodes at hand for calls of a few
//! mappings. It calls the global allocator under `W` only where a call replaces more mappings than
//! fit in some leaves. Memory for pages and tables is allocated without a lock, except by a fault
//! that has made three attempts and queues with the writers.
//!
//! Each row is a thread that is stopped, each column a thread that may then wait. The cells are for
//! a `MapleStore`, and in brackets for a `RbStore` where it differs:
//!
//! | stopped | another writer | a fault | a monitor that reads | `change`, `map_count` | the last user that goes |
//! |---|---|---|---|---|---|
//! | a monitor in a section, in a read of maps or smaps, or in a page walk | no (**yes**) | no (after a waiting writer) | no (the same) | no | no (**yes**) |
//! | a monitor between two reads | no | no | no | no | no |
//! | an open snapshot | no | no | no | no | no |
//! | a fault, an access to data | if it takes pages out of that leaf table (**yes**) | at pages of that leaf table | no (after a waiting writer) | no | it is a user |
//! | a writer in a call | **yes** | in what it replaces, or after three attempts; at pages of the table that it is working on (**yes**) | no (**yes**) | no | **yes** |
//!
//! In a `VmaLockStore` (`vma_lock.rs` in this crate's tests executes the rows):
//!
//! | stopped | another writer | a fault | a monitor that reads | `change`, `map_count` | the last user that goes |
//! |---|---|---|---|---|---|
//! | a monitor that has found a VMA (a line of maps, a page walk of smaps) | of that VMA or one that merges with it: **yes**; others: no | no | no | no | **yes** |
//! | the same, a writer waiting for it | **yes**, every one | in what the writer has locked, and the first write to a mapping: **yes**; else no | of what the writer has locked, and of the whole address space: **yes**; else no | no | it is a user |
//! | a monitor of the whole address space (smaps_rollup until it comes to the next mapping, pagemap) | **yes** | no | no (after a waiting writer: of the whole address space) | no | **yes** |
//! | a monitor between two reads | no | no | no | no | no |
//! | a writer in a call | **yes** | in what it takes out or puts in, and the first write to a mapping: **yes** | of what it takes out or puts in, and of the whole address space: **yes** | no | it is a user |
//!
//! In Linux v5.4 and later the last user that goes does not wait for a reader. A reader is a user
//! too while it reads, and the last user unmaps everything. So a monitor may have to do that, and
//! the memory stays until then. The models wait instead.
//!
//! `waits.rs` in `crates/conformance` executes the rows. A call takes `W` once, and again if it
//! needs more memory or has to tell a notifier. Locks park after they have spun, and are type
//! parameters.
//!
//! A monitor that is stopped for ever keeps what was mapped when its section began, or the page
//! tables that were there when its walk began, and the bound of [`vmaple_rcu`]. Names and paths
//! that VMAs refer to are not counted there. It keeps no page of data.
//!
//! Each later call frees a part of what is retired. A program that goes idle after a large call
//! may call [`reap`](vmaple_rcu::RcuDomain::reap) of [`MapleStore::rcu`] and of
//! [`MmRef::pgtables_rcu`] until it has nothing to do. The last user frees all but what open
//! sections hold, which goes with the monitors' references.
//!
//! # Atomics
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | the root of the tree | `commit` | Release | Acquire in a section: see [`maple_tree`] |
//! | the change counter, made odd | `commit`, before the root | Relaxed | ordered by the root's Release store |
//! | the change counter, made even | `commit`, after the root | Release | Acquire in [`MmRef::change`] |
//! | a VMA's state | `commit`, after the root, before pages follow | Release | Acquire in [`Vma::state`]; a fault that must find it finds it by a table's lock |
//! | a VMA's identity | the first write fault | Relaxed | none: a number |
//! | the pending range | a call that replaces mappings, before the root | Release | Acquire in `overlaps`: the pages of calls before it are gone; ordered by the root's Release store, through which a fault has found the new mapping |
//! | the same, empty again | the same call, after the pages are gone | Release | the same |
//! | `users` | `clone`, `upgrade`, `drop` | AcqRel at the end | Acquire in [`MmRef::is_gone`]: what users did comes before the end |
//! | a [`Kref`]'s count | `clone`, `drop` | AcqRel at the end | each other |
//! | `map_count`, `total_vm` and the like, `brk`, open snapshots, the next identity, whether the slab is low | | Relaxed | none: counts and hints |
//!
//! The atomics of page tables are in [`pgtable`].
//!
//! # Where it differs from Linux
//! Found by running the same random calls on both (`differential.rs` in `crates/conformance`), and
//! left so:
//! - No transparent huge pages, no swap: mappings of 2 MiB and more are not placed at multiples of
//!   2 MiB. Droppable memory is never dropped.
//! - A call that fails at a limit leaves the mapping that it failed at as it was. Linux may leave
//!   it split, as [`PartialEffects::AsLinux`] does.
//! - A file counts as open for reading and writing, on a file system that allows execution.
//! - A name is refused with EAGAIN for too many mappings, but with ENOMEM where there is no memory
//!   at all.
//! - No caller has CAP_SYS_RAWIO: addresses below [`Layout::min_addr`] are refused. Overcommit is
//!   not limited.
//! - Memory cannot be locked yet: MAP_LOCKED is refused with EPERM, as where RLIMIT_MEMLOCK is 0.
//!   No huge pages: MAP_HUGETLB is refused with EINVAL, as by a kernel without them. No protection
//!   keys: memory that may only be executed can be read. No sealing.
//! - MAP_32BIT begins at 1 GiB. Linux adds up to 32 MiB by chance where addresses are randomised.
//! - An RLIMIT_DATA of 0 is a limit. Linux ignores it up to the hard limit, for Valgrind.
//! - madvise(2) knows the advice in [`Advice`]; other numbers are refused with EINVAL. No mapping
//!   refuses DONTNEED. In Linux's processes `[vvar]` does: a range that reaches it is refused with
//!   EINVAL.
//! - A fault below a mapping that grows down is refused: stacks do not grow yet. No pages of files
//!   and of shared memory.
//! - A page that mprotect makes writable again takes one more fault when it is written.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_debug_implementations)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "vmaple-mm needs a 64-bit target: entries of page tables hold addresses of this program as words of 64 bits"
);

extern crate alloc;

mod addr;
mod calls;
mod error;
mod fail_point;
mod fault;
mod kref;
mod machine;
mod mm;
mod notice;
pub mod pgtable;
mod primitive;
pub mod store;
#[cfg(test)]
mod tests;
mod vma;

pub use addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange};
pub use calls::{Advice, MapRequest};
pub use error::{Errno, Error};
pub use fault::{Fault, FaultCause, MmThread};
pub use kref::Kref;
pub use lock_api;
pub use machine::{Machine, MmuNotifier, Soft};
pub use mm::{Layout, Limits, Mm, MmReader, MmRef, MmSnapshot, MmState, PartialEffects, SNAPSHOTS_MAX, VmStat};
#[cfg(feature = "std")]
pub use store::rwsem::{Contended, RwSem};
pub use store::{MapleStore, SnapshotStore, VmaRead, VmaStore};
#[cfg(feature = "std")]
pub use store::{RbStore, VmaLockStore};
pub use vma::{ANON_NAME_MAX, Access, File, MapFlags, Prot, Role, VmFlags, Vma, VmaState};
pub use vmaple_rcu::{self, AllocError, RcuDomain};
