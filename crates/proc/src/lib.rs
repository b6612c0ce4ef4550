#![doc = include_str!("../README.md")]
//!
//! # The files
//!
//! - [`Maps`]: maps. [`read`](OpenFile::read) is seq_file's protocol, a page of whole lines at a
//!   time; [`next_record`](Maps::next_record) returns [`VmaRecord`]s instead;
//!   [`query`](Maps::query) is the ioctl `PROCMAP_QUERY`.
//! - [`Smaps`]: smaps, read in the same ways; [`SmapsRecord`]s say what is resident of each
//!   mapping. [`SmapsRollup`]: smaps_rollup, the sum, by a walk over all pages or by counters.
//! - [`Pagemap`]: pagemap, 8 bytes for each page. [`Statm`]: statm. [`Status`]: the lines of memory
//!   in status.
//! - [`Maps::snapshot`], [`Smaps::snapshot`]: the mappings of one instant of the whole address
//!   space.
//! - [`VmaRecord::write_line`], [`SmapsRecord::write_text`] and the like: the text of a record of
//!   any origin.
//!
//! The feature `std` (default) adds [`std::io::Read`], `serde` makes records serializable.
//!
//! # What a reader may see
//!
//! This section is about maps. The files that count pages add to it, each in its own docs:
//! [`Smaps`], [`SmapsRollup`], [`Pagemap`], [`Statm`], [`Status`].
//!
//! A scan begins at the lowest address and goes on until a read returns 0. It is made of steps: one
//! for each buffer of text, one for each record. Each step finds its place by address. The next VMA
//! is the first that ends above the cursor, and its end becomes the cursor. The address space may
//! change between any two steps, but
//!
//! - **Each line is of some instant** within the scan: all its fields are those of one VMA, or of
//!   the part of it at and above the cursor. The VMA begins below the cursor if it grew or was
//!   merged since. For a VMA of a file that part has its own offset. A record has the VMA's true
//!   range, and [`new_from`](VmaRecord::new_from).
//! - **Lines ascend and never overlap.** No address is in two of them.
//! - **What is mapped all the time is covered.** An address that is mapped from the scan's
//!   beginning to its end lies in some line, however often its mapping is split, merged or replaced
//!   in between.
//! - **What is untouched appears exactly once**, whole and as it is: a VMA that is the same all the
//!   time.
//! - A buffer of maps is *one* instant: its lines are all that there was then from the cursor to
//!   where it ends. A read that leaves some of a buffer for the next read does not render it again.
//! - What is moved to another address may be missed or seen twice. A scan ends, since the cursor
//!   only rises, but it may have more lines than there were mappings when it began.
//!
//! A [snapshot](Maps::snapshot) is one instant from the first line to the last, for any number of
//! scans.
//!
//! The kernel promises less: it shows a VMA whole that grew over the cursor, so lines may overlap,
//! and each line is of an instant of its own. While nothing changes, the text is the same.
//!
//! The tests `contract` and `smaps_contract` of the workspace's `conformance` crate check every
//! rule against the log of writers that split, merge, grow, shrink, fill and move mappings, and
//! every count against the log of which pages there were.
//!
//! # No thread waits for a reader
//!
//! A read renders into a buffer of its own in one section of [`vmaple_mm`]. The section has ended
//! before a byte is copied to the caller. With a [`MapleStore`](vmaple_mm::MapleStore) no writer
//! waits for a section. So a reader that is stopped, anywhere and for ever, delays no call of the
//! application and makes none fail. It keeps in memory what was mapped when its section began, and
//! a constant (the bound of `vmaple_rcu`); what is mapped and unmapped after that is freed. An open
//! file that no thread reads keeps nothing. A snapshot keeps what was mapped when it was taken,
//! until it is dropped.
//!
//! Reading allocates nothing, so there is no lock of the allocator either. A buffer grows only for
//! a line that is longer than it, or for a record's name that is longer than any before, and it
//! does so outside of the section.
//!
//! Counting pages holds nothing either. A walk is a read-side section of the page tables for each
//! leaf table, or for 512 of them by their counters, inside of the section that holds the VMA. A
//! fault, munmap(2) or madvise(2) at the same time does not wait. A walk that is stopped for ever
//! keeps the tables that there were.
//!
//! The models of Linux are read in the same ways, but their sections are locks:
//!
//! - `RbStore`, v5.4: the semaphore for reading, for a buffer of maps or smaps, for all of
//!   smaps_rollup if it is walked, for 2 MiB of addresses of pagemap; never for statm and status.
//!   Writers wait for it, and after them other readers and faults.
//! - `VmaLockStore`, v6.17 and later: the lock of the VMA that is shown, so that lines of one
//!   buffer are each of an instant of its own; `mmap_lock` for smaps_rollup and pagemap.
//!
//! The test `waits` of the crate `conformance` has a table of which thread waits for which, and
//! checks it.
//!
//! # Which kernel
//!
//! The text is that of Linux 6.18, compared with the running kernel's on the same mappings (the
//! test `resident` of `conformance`). Where it depends on the configuration, it is as without
//! `CONFIG_MEM_SOFT_DIRTY` (no `sd` in VmFlags, bit 55 of pagemap is 0) and without protection keys
//! (no line ProtectionKey). What the address spaces have none of is 0: memory that is merged (KSM),
//! lazily freed, locked, swapped out or in huge pages. In status, VmHWM is missing, as no code
//! keeps it.
//!
//! # A cached map
//!
//! A monitor that comes back often need not read what did not change:
//! [`change`](vmaple_mm::MmRef::change) is a look at one word. The same even number before and
//! after a scan says that the scan is one state, and still the current one. The number of mappings
//! is as cheap: [`map_count`](vmaple_mm::MmRef::map_count).
//!
//! ```
//! use std::io::Read;
//! use vmaple_mm::{Layout, Limits, MapFlags, Mm, MmReader, MmRef, Prot, VirtAddr};
//! use vmaple_proc::Maps;
//!
//! struct Cached {
//!     mm: MmRef,
//!     maps: Maps,
//!     text: String,
//!     /// The address space's number when the text was read; odd if it may be of several states.
//!     change: u64,
//! }
//!
//! impl Cached {
//!     fn text(&mut self) -> std::io::Result<&str> {
//!         let now = self.mm.change();
//!         if now != self.change || now % 2 == 1 {
//!             self.text.clear();
//!             self.maps.rewind();
//!             self.maps.read_to_string(&mut self.text)?;
//!             self.change = if self.mm.change() == now { now } else { 1 };
//!         }
//!         Ok(&self.text)
//!     }
//! }
//!
//! let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
//! let (maps, text) = (Maps::open(&mm)?, String::new());
//! let mut cached = Cached { mm: mm.grab(), maps, text, change: 1 };
//! assert_eq!(cached.text()?, "");
//! let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
//! mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ, flags, None, 0)?;
//! assert_eq!(cached.text()?, "00010000-00013000 r--p 00000000 00:00 0 \n");
//! assert_eq!(mm.map_count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Records as JSON
//!
//! With the feature `serde`, permissions and names are text:
#![cfg_attr(feature = "serde", doc = "```")]
#![cfg_attr(not(feature = "serde"), doc = "```ignore")]
//! use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
//! use vmaple_proc::{Maps, Smaps};
//!
//! let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
//! let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
//! mm.mmap(VirtAddr(0x10000), 0x3000, Prot::READ, flags, None, 0)?;
//! let mut maps = Maps::open(&mm)?;
//! let json = serde_json::to_value(maps.next_record()?)?;
//! assert_eq!(json["start"], 0x10000);
//! assert_eq!(json["perms"], "r--p");
//!
//! let json = serde_json::to_value(Smaps::open(&mm)?.next_record()?)?;
//! assert_eq!(json["vma"]["end"], 0x13000);
//! assert_eq!((&json["flags"], &json["counts"]["rss"]), (&"rd mr mw me".into(), &0.into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Permissions
//!
//! The kernel lets a thread read that may trace the process (`ptrace_may_access()`), and knows
//! which process a PID means. This crate knows neither processes nor users: a caller that has a
//! reference to an address space may read it. A server of the text has to check its clients, at
//! each open as the kernel does, and to keep the reference of the process that was meant. Whether
//! the frames of pages are shown is a choice at the open of [`Pagemap`].

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_debug_implementations)]
#![forbid(unsafe_code)]

extern crate alloc;

mod files;
mod name_buffer;
mod open_file;
mod record;
mod seq_file;
mod source;

pub use files::maps::{Maps, MapsFile};
pub use files::pagemap::Pagemap;
pub use files::query::QueryFlags;
pub use files::smaps::{Smaps, SmapsFile};
pub use files::smaps_record::SmapsRecord;
pub use files::smaps_rollup::{RollupRecord, SmapsRollup, SmapsRollupFile};
pub use files::statm::{Statm, StatmFile, StatmRecord};
pub use files::status::{Status, StatusFile, StatusRecord};
pub use open_file::{OpenFile, ProcFile};
pub use record::vma_record;
pub use source::{PageSource, SnapshotWithPages, Source};
pub use vmaple_smaps::{Name, Perms, TooShort, VmaRecord};
