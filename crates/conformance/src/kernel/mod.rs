//! The running kernel beside the model: the same calls and accesses to both, and what they say compared.
//!
//! The kernel's side is a process of which one window of addresses is free and all others are taken, so that the kernel has
//! no choice that the model does not have. The window is anywhere, or where there are rules: around the low 2 GiB, around 4 GiB, at
//! the end of the address space. After each call the results, the text of maps, the number of pages, and which pages are
//! there (pagemap) are compared; now and then, and wherever there is a difference, the text of smaps, the counts of data, stacks and
//! what is executable, and every byte. Every bit of `flags` and `prot` is drawn, and lengths and addresses that are unaligned, zero,
//! beyond the address space, or wrap. What is left out, so that both can be compared exactly:
//!
//! - Calls that would change the child outside of its window, unless they are sure to fail ([`Op::is_harmless`]). (Where the window
//!   is at the end of the address space, lengths beyond it change nothing else.)
//! - Lengths between 2 MiB and what cannot fit: huge pages have their say on where these go.
//! - Addresses in the last page of all with FIXED: the kernel takes them for the number of an error, and fails with that.
//! - The numbers of shared anonymous objects: which mappings have the same one is compared.
//! - The lowest address of MAP_32BIT, which the kernel moves by chance at each call, by up to 32 MiB.
//! - Locked memory: the child may lock none, so MAP_LOCKED fails in both. MAP_HUGETLB with a size that the kernel may have.
//! - Advice that the kernel knows and the model does not have. That what is no advice is refused is compared.
//!
//! What the kernel leaves behind of calls that fail at a limit is compared: the models do as Linux in that
//! ([`PartialEffects::AsLinux`](vmaple_mm::PartialEffects)).
//!
//! Of memory ([`Op::is_built`]):
//!
//! - Pages of files and of shared memory, which the model does not have yet: their mappings are neither accessed nor populated.
//!   That such an access is refused is compared.
//! - Accesses below a mapping that grows down, which let it grow in the kernel.
//! - The execution of memory that is not zeros. Zeros, and memory that may not be executed, are jumped to ([`Op::Fetch`]).
//! - Words that lie in two pages, and locked ones that are not aligned: the hardware's business. Bytes are accessed one by one,
//!   over any number of pages.
//! - Addresses that are not canonical: the signal says nothing of them.
//! - Huge pages (the child has none), swap, KSM, and what is freed lazily; the numbers of frames.
//! - In smaps `Referenced`: who looks for memory to reclaim resets it; `THPeligible` and `ProtectionKey`: of the machine; the flag
//!   `sd`, and in pagemap what it is of: of the kernel's configuration.
//! - Memory that can be executed only, where the processor has protection keys: it cannot be read there. None is made.

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
