//! Reads `maps` and `smaps` of a running process without its locks: nobody waits for the reader.
//!
//! `cat /proc/PID/smaps` holds a lock that the process needs for `mmap()`, `munmap()` and page faults. A reader that loses its CPU
//! while it holds the lock stalls the process until the scheduler runs the reader again. This crate reads the same from the
//! kernel as it is, by a BPF program that walks the kernel's maple tree and page tables under RCU.
//!
//! - [`Scanner`]: loads the program, finds out where this kernel keeps things, and compares what the program says of a child process
//!   with what the kernel says, before the first scan. One scanner serves for any number of processes.
//! - [`Process`]: a process that is held open, to be scanned again and again, and never another one of the same number.
//! - [`Scan`]: a process's mappings as [`ScanRecord`]s, their [sum](Scan::rollup), and a [`Report`]: what was held, for how long, and
//!   what the lines are worth.
//! - [`Form`]: the text of smaps and smaps_rollup, with the lines that the running kernel has.
//! - [`Method`]: where the program is not possible, the kernel's files are read one mapping at a time, at real-time priority. Where that is
//!   not possible either, [`Scanner::new`] says why: to read them as they are, under the kernel's locks, has to be asked for.
//!
//! ```
//! let mut scanner = vmaple_scan::Scanner::new()?;
//! for (method, why) in scanner.passed_over() {
//!     eprintln!("not by {method}: {why}");
//! }
//! for pid in [std::process::id()] {
//!     let scan = scanner.scan(pid)?;
//!     for record in scan.records() {
//!         println!("{:x}-{:x} {} {}", record.vma.start, record.vma.end, record.vma.name, record.stats.rss);
//!     }
//!     if let Some(report) = scan.report() {
//!         eprintln!("{report}"); // what was held, for how long, what the lines are worth
//!     }
//!     assert!(scan.rollup().stats.rss > 0);
//!     scanner.reuse(scan); // its memory, for the next one
//! }
//! # Ok::<(), vmaple_scan::Error>(())
//! ```
//!
//! # What a scan may say
//!
//! A scan is made of runs of the program, each of which goes on from the cursor where the last one stopped. A run reads the tree leaf
//! by leaf. While the process changes its mappings,
//!
//! - **each line is of some instant** within the scan: the kernel's number of writes (`mm_lock_seq`) was even and the same before
//!   and after the leaf was read, else it is read again. Where a writer stays inside, or the kernel has no such number (before 6.4),
//!   what passes the tests of structure is taken, and [said to be unvalidated](ScanRecord::is_validated).
//! - **Lines ascend and never overlap.** A mapping that begins below the cursor, as it grew or was merged, is shown from there on.
//! - **What is mapped all the time is covered** by some line; of a partial scan, below its address.
//! - A scan all of whose runs saw one number is a [snapshot](Report::snapshot): its mappings are of one instant.
//! - **Pages are counted one after the other**, as smaps counts them. They come and go without a number; if writers were inside
//!   meanwhile, [that is said](ScanRecord::counts_later). Page tables are not kept for readers of this kind: reading one that is freed never
//!   faults. After a table all entries that led to it, up to the first, are read again, and its pages are left out if one has changed.
//! - **Of one process and one program**: a scan during which the process ended gives [`Error::NoProcess`], one during which it executed
//!   another program [`Error::Executed`], and one after which the caller may not read it any more [`Error::NotPermitted`]. What was read
//!   is discarded. A process is told from the next one of its number by a pidfd, and by when it began.
//! - A path is read component by component: that of a file below a directory that is renamed at that moment may be one that never was.
//!
//! Of a process that sleeps it is what the kernel's files say, byte by byte (`tests/equality.rs`), but for what is not known here. Nothing
//! is missing in silence: [`Report::left_out`] names each line that is left out, of how many mappings, and [why](Why): Swap of swapped
//! shared memory that is mapped in part, or privately; SwapPss of swapped pages that processes share, where the kernel does not show its
//! variables; THPeligible where the rule is another one; lines and flags of a later kernel. A sum that lacks one mapping's value is left
//! out too. Paths of more than 4096 bytes or 500 components begin with `(cut)`, and [are counted](Report::cut_names). The kernel's second
//! name of a DMA buffer is not read. A kernel that does not count the mappings of each page of a large folio
//! (`CONFIG_NO_PAGE_MAPCOUNT`) is refused by the self-test, where huge pages are on.
//!
//! The other methods read text in which the kernel has rounded each mapping's share down to 1 kB; [`Report::rounded`] says by how much a
//! sum of such values may be low. [`Method::Plain`] reads smaps_rollup instead if the [sum is all that is wanted](Options::sum_alone):
//! there the kernel adds up before it rounds. [`Method::Boosted`] does not, as that file is read under one lock for the whole process.
//!
//! # What it costs
//!
//! A run is bounded by time ([`Options::budget`]) and by page-table entries looked at, as nothing else runs on this CPU for as long where
//! the kernel is not preemptible; one path, of at most 500 components, may be read beyond it. Between runs nothing is held but the
//! number of a link to the task: a scan that is starved then is late, and delays nobody. (For THPeligible, where huge pages are allowed, /proc/PID/status
//! is read once: meanwhile a process that ends keeps its memory.) A scan is bounded too ([`Options::limit`]), whatever the process does,
//! and says how far it came; of that time it waits a tenth, and a second at most, for writers that stay inside. `ci/bench-scan.sh` measures it.
//!
//! **A run is a reader of RCU.** Where the kernel is preemptible (`CONFIG_PREEMPT`, or `preempt=full`), a run can lose its CPU half way, and
//! until it runs again no grace period of the whole machine ends: `synchronize_rcu()` waits, and memory that is freed by RCU
//! piles up. Beside many busy tasks, at a low priority, that can take seconds. The process that is scanned does not wait. So
//! where the caller has CAP_SYS_NICE each run is made at the lowest real-time priority, which usual tasks do not preempt; between
//! runs the thread has its own again. Without it: do not lower the priority of a scan on such a kernel.
//!
//! # What it needs
//!
//! Linux 6.1 or later on x86-64 that describes its types (`CONFIG_DEBUG_INFO_BTF`), and root, or CAP_BPF and CAP_PERFMON; no
//! compiler, library or kernel symbols. Lockdown in its mode `confidentiality` forbids it. The program may read any process; whether the
//! caller may is asked of the kernel before and after each scan, with the rule of /proc/PID/maps ([`Error::NotPermitted`]). CAP_BPF,
//! CAP_PERFMON and CAP_SYS_ADMIN do not count there, unless root asks in a program without rights of its own: they are the right to
//! run the program, and may be those of its file, which others execute. (From Linux 6.15 on the kernel lets CAP_PERFMON read every
//! process's maps.) So without root other users' processes need CAP_SYS_PTRACE, on every kernel. Where CAP_SYS_PTRACE is the file's,
//! everybody who may execute the file may scan every process: that is what this right is.

#![deny(unsafe_code)] // but in the files that say why
#![deny(missing_debug_implementations)]

mod boost;
mod bpf;
mod counters;
mod denied;
mod error;
mod kernel;
mod left_out;
mod method;
mod options;
mod proc;
mod process;
mod record;
mod report;
mod scan;
mod scanner;
mod source;
mod status;
mod want;

pub use counters::{Cgroup, Counter, Counters};
pub use denied::Denied;
pub use error::{Error, Result};
pub use kernel::kernel_form;
pub use left_out::{LeftOut, Rounded, Why};
pub use method::{Method, NoSuchMethod};
pub use options::Options;
pub use process::Process;
pub use process::proc_mount::check as check_proc;
pub use record::{Rollup, ScanRecord};
pub use report::{Acquisitions, Partial, Report, Validation};
pub use scan::Scan;
pub use scanner::Scanner;
pub use vmaple_smaps::{
    Field, FieldSet, Form, Mapping, MemSizeStats, Name, PSS_SHIFT, Perms, Scope, VmaRecord, append,
};
pub use want::Want;

/// The code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
