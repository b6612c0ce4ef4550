//! Makes the same calls and accesses in the running kernel and in the model, and compares the
//! results.
//!
//! The kernel's side is a process in which one window of addresses is free and all others are
//! taken. So the kernel has no choice that the model does not have. The window is anywhere, or
//! where the kernel has rules: around the low 2 GiB, around 4 GiB, at the end of the address space.
//!
//! After each call the results, the text of maps, the number of pages, and which pages exist
//! (pagemap) are compared. Now and then, and at each difference, so are the text of smaps, the
//! counts of data, stacks and executable memory, and every byte. Every bit of `flags` and `prot` is
//! drawn. So are lengths and addresses that are unaligned, zero, beyond the address space, or that
//! wrap.
//!
//! Left out, so that both can be compared exactly:
//!
//! - Calls that would change the child outside its window, unless they are sure to fail
//!   ([`Op::is_harmless`]). (Where the window is at the end of the address space, lengths beyond it
//!   change nothing else.)
//! - Lengths between 2 MiB and those that cannot fit: huge pages influence where these go.
//! - Addresses in the very last page with FIXED: the kernel takes them for the number of an error,
//!   and fails with that.
//! - The numbers of shared anonymous objects. Which mappings have the same object is compared.
//! - The lowest address of MAP_32BIT, which the kernel moves at random at each call, by up to 32
//!   MiB.
//! - Locked memory: the child may lock none, so MAP_LOCKED fails in both. MAP_HUGETLB with a size
//!   that the kernel may have.
//! - Advice that the kernel has and the model does not. That both refuse invalid advice is
//!   compared.
//!
//! What the kernel leaves behind of calls that fail at a limit is compared: the models do as Linux
//! does ([`PartialEffects::AsLinux`](vmaple_mm::PartialEffects)).
//!
//! Left out of memory ([`Op::is_built`]):
//!
//! - Pages of files and of shared memory, which the model does not have: their mappings are neither
//!   accessed nor populated. That such an access is refused is compared.
//! - Accesses below a mapping that grows down, which make it grow in the kernel.
//! - The execution of memory other than zeros. Zeros, and memory that is not executable, are jumped
//!   to ([`Op::Fetch`]).
//! - Words that lie in two pages, and locked ones that are not aligned: they depend on the
//!   hardware. Bytes are accessed one by one, over any number of pages.
//! - Addresses that are not canonical: the signal does not report them.
//! - Huge pages (the child has none), swap, KSM, and lazily freed memory; the numbers of frames.
//! - In smaps, `Referenced`, which reclaim resets; `THPeligible` and `ProtectionKey`, which depend
//!   on the machine; the flag `sd` and its bit in pagemap, which depend on the kernel's
//!   configuration.
//! - Memory that is only executable, where the processor has protection keys: it cannot be read
//!   there. The test makes none.

mod access;
mod child;
mod generator;
mod memory;
mod model;
mod op;
mod pair;
mod proc_files;
mod refused;
mod shrink;
mod text;
mod window;

pub use child::Child;
pub use generator::Generator;
pub use op::{Files, Op};
pub use pair::{Outcome, Pair, Setting};
pub use refused::Refused;
pub use shrink::shrink;
pub use window::{PAGE, Place, Window, sysctl};
