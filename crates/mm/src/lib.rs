//! An address space with Linux's semantics that a monitor reads without ever delaying it.
//!
//! Reading `/proc/PID/maps` takes a lock that `mmap()`, `munmap()` and page faults need; a monitor that is preempted meanwhile
//! stalls the process. Here the mappings (VMAs) are in a maple tree and freed by RCU: a reader holds a read-side section, for which
//! nobody waits, and sees one state of the whole address space.
//!
//! - [`Mm`]: a user, who calls [`mmap`](Mm::mmap), [`munmap`](Mm::munmap), [`mprotect`](Mm::mprotect), [`brk`](Mm::brk),
//!   [`set_anon_vma_name`](Mm::set_anon_vma_name). [`MmThread`]: a thread that touches memory: faults, data,
//!   [`madvise`](MmThread::madvise). [`MmRef`]: who looks, and keeps nothing mapped. [`MmReader`]: a monitor's handle.
//!   [`MmSnapshot`]: one instant, kept.
//! - [`Vma`]: one mapping, immutable. [`File`]: what it is of, as maps shows it.
//! - [`pgtable`]: page tables, in the format of an architecture, with memory behind them; usable without the rest. [`Machine`]: what
//!   an address space runs on.
//! - [`VmaStore`]: where the VMAs are and who waits for whom. [`MapleStore`] is the cure. The others are the disease, to compare with:
//!   `RbStore`, Linux v5.4's tree and a semaphore that is fair as v5.4's is once somebody has waited for 4 ms, and `VmaLockStore`, v6.17's lock
//!   in each VMA, which for smaps is a later kernel's. All else is shared.
//!
//! For 64-bit targets, `no_std` with `alloc`; the feature `std` (default) adds locks that park, `RbStore` and `VmaLockStore`. The text of the files is in
//! the crate `vmaple-proc`. Pages of files and of shared memory, and fork, are to come.
//!
//! ```
//! use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr, VmaRead};
//!
//! let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
//! let monitor = mm.reader()?;
//! let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
//! let at = mm.mmap(VirtAddr(0), 0x4000, Prot::READ | Prot::WRITE, flags, None, 0)?;
//!
//! let section = monitor.read_lock().unwrap();
//! mm.munmap(at, 0x4000)?; // waits for nobody
//! assert_eq!(section.iter_from(VirtAddr(0)).map(|vma| vma.pages()).sum::<u64>(), 4); // still what was there
//! drop(section);
//! assert!(monitor.read_lock().unwrap().find(VirtAddr(0)).is_none());
//! # Ok::<(), vmaple_mm::Error>(())
//! ```
//!
//! # What a concurrent reader may see
//! A section, and a snapshot, is one state that the mappings were in, between two calls: never half of a call, however many
//! mappings it replaced, split or merged. The fields of a VMA belong together. What was unmapped before the section began is not
//! in it. [`MmRef::change`] says whether what several sections showed is one state. [`MmRef::map_count`] and
//! [`MmRef::total_vm`] are what they were a moment ago.
//!
//! Pages are another matter: each is seen as it was at some moment of the walk, and the mapping may be gone by then
//! ([`Vma::state`]). While a call that replaces mappings is at it, pages of what was there before may be seen in the new mapping
//! ([`MmRef::is_pending`]); no fault finds them.
//!
//! # Locks, and who waits for whom
//! `W`, the writers' lock of the store → the right to unlink page tables → upper tables → leaf tables → the memory of tables; frames
//! have their own. Under none of them is I/O done, does a [notifier](MmuNotifier) run, or does a destructor of an embedder's (a [`File`] goes when a VMA is freed,
//! which is after `W`; in `RbStore`, as in v5.4, under it). Memory for VMAs is asked for before `W` is taken; the tree has nodes for
//! calls of a few mappings at hand, and asks the global allocator under `W` only where a call meets more mappings than fit in some
//! leaves. Memory for pages and tables is asked for without a lock, but by a fault that has looked three times and lines up with the
//! writers.
//!
//! Who is stopped (rows) and who then waits (columns), in a `MapleStore`; in brackets, where it differs, in a `RbStore`:
//!
//! | stopped | another writer | a fault | a monitor that reads | `change`, `map_count` | the last user that goes |
//! |---|---|---|---|---|---|
//! | a monitor in a section, in a read of maps or smaps, or in a page walk | no (**yes**) | no (behind a writer that waits) | no (the same) | no | no (**yes**) |
//! | a monitor between two reads | no | no | no | no | no |
//! | an open snapshot | no | no | no | no | no |
//! | a fault, an access to data | if it takes pages out of that leaf table (**yes**) | at pages of that leaf table | no (behind a writer that waits) | no | it is a user |
//! | a writer in a call | **yes** | in what it replaces, or after three looks; at pages of a table that it is just at (**yes**) | no (**yes**) | no | **yes** |
//!
//! In a `VmaLockStore` (`vma_lock.rs` in this crate's tests does the rows):
//!
//! | stopped | another writer | a fault | a monitor that reads | `change`, `map_count` | the last user that goes |
//! |---|---|---|---|---|---|
//! | a monitor that has found a VMA (a line of maps, a page walk of smaps) | of that VMA or one that merges with it: **yes**; others: no | no | no | no | **yes** |
//! | the same, a writer waiting for it | **yes**, every one | in what the writer has locked, and the first write to a mapping: **yes**; else no | of what the writer has locked, and of the whole address space: **yes**; else no | no | it is a user |
//! | a monitor of the whole address space (smaps_rollup until it comes to the next mapping, pagemap) | **yes** | no | no (behind a writer that waits: of the whole address space) | no | **yes** |
//! | a monitor between two reads | no | no | no | no | no |
//! | a writer in a call | **yes** | in what it takes out or puts in, and the first write to a mapping: **yes** | of what it takes out or puts in, and of the whole address space: **yes** | no | it is a user |
//!
//! In Linux the last user that goes does not wait for a reader, in v5.4 and later: the reader is a user too while it reads, and the last of
//! both takes everything out, so that a monitor may have to do that, and the memory stays until then. The models wait instead.
//!
//! `waits.rs` in `crates/conformance` does the rows. A call takes `W` once, and again if it turns out to need more memory or has to tell a notifier; locks
//! park after they have spun, and are type parameters. A monitor that is stopped for ever keeps what was mapped when its section
//! began, or the page tables that were there when its walk did, and the bound of [`vmaple_rcu`]; names and paths that VMAs refer to
//! are not counted there. It keeps no page of data.
//!
//! What is retired is freed by the calls that follow, each some of it; whoever goes idle after a large call may call
//! [`reap`](vmaple_rcu::RcuDomain::reap) of [`MapleStore::rcu`] and of [`MmRef::pgtables_rcu`] until it has
//! nothing to do. The last user frees all but what open sections hold, which goes with the monitors' references.
//!
//! # Atomics
//! | word | written by | ordering | partner |
//! |---|---|---|---|
//! | the root of the tree | `commit` | Release | Acquire in a section: see [`maple_tree`] |
//! | the change counter, made odd | `commit`, before the root | Relaxed | ordered by the root's Release store |
//! | the change counter, made even | `commit`, after the root | Release | Acquire in [`MmRef::change`] |
//! | a VMA's state | `commit`, after the root, before pages follow | Release | Acquire in [`Vma::state`]; a fault that is to find it finds it by a table's lock |
//! | a VMA's identity | the first write fault | Relaxed | none: a number |
//! | the pending range | a call that replaces mappings, before the root | Release | Acquire in `overlaps`: the pages of calls before it are gone; ordered by the root's Release store, through which a fault has found the new mapping |
//! | the same, empty again | the same call, when the pages are gone | Release | the same |
//! | `users` | `clone`, `upgrade`, `drop` | AcqRel at the end | Acquire in [`MmRef::is_gone`]: what users did comes before the end |
//! | a [`Kref`]'s count | `clone`, `drop` | AcqRel at the end | each other |
//! | `map_count`, `total_vm` and the like, `brk`, open snapshots, the next identity, whether the slab is low | | Relaxed | none: counts and hints |
//!
//! Page tables have their own table: [`pgtable`].
//!
//! # Where it differs from Linux
//! Found by running the same random calls on both (`differential.rs` in `crates/conformance`), and left so:
//! - No transparent huge pages, no swap: mappings of 2 MiB and more are not placed at multiples of 2 MiB. Droppable memory is never
//!   dropped.
//! - A call that fails at a limit leaves the mapping that it failed at as it was. Linux leaves it split, if it had split it before;
//!   [`PartialEffects::AsLinux`] does as Linux.
//! - A file is taken for one that is open for reading and writing, of a file system that allows execution.
//! - A name is refused with EAGAIN for too many mappings, but with ENOMEM where there is no memory at all.
//! - Nobody has CAP_SYS_RAWIO: addresses below [`Layout::min_addr`] are refused. Overcommit is not limited.
//! - Memory cannot be locked yet: MAP_LOCKED is refused with EPERM, as where RLIMIT_MEMLOCK is 0. No huge pages: MAP_HUGETLB is
//!   refused with EINVAL, as by a kernel without them. No protection keys: memory that may only be executed can be read. No sealing.
//! - MAP_32BIT begins at 1 GiB. Linux adds up to 32 MiB by chance where addresses are randomised.
//! - An RLIMIT_DATA of 0 is a limit. Linux takes it for none up to the hard limit, for Valgrind's sake.
//! - Of the advice of madvise(2) there is what [`Advice`] has; other numbers are refused with EINVAL. No mapping refuses DONTNEED, as
//!   `[vvar]` does in Linux's processes, where a range that reaches it is refused with EINVAL.
//! - A fault below a mapping that grows down is refused: stacks do not grow yet. No pages of files and of shared memory.
//! - A page that mprotect makes writable again takes one fault more when it is written.
//!
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_debug_implementations)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "vmaple-mm needs a 64-bit target: entries of page tables hold addresses of this program as words of 64 bits"
);

extern crate alloc;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
