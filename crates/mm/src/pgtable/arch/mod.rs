//! The format of an architecture's page tables.

mod riscv;
mod x86_64;

use bitflags::bitflags;

pub use riscv::Sv39;
pub use x86_64::X86_64;

use super::frame::Pfn;
use crate::addr::{VirtAddr, VirtRange};
use crate::vma::{Access, VmFlags};

/// Binary logarithm of [`ENTRIES`].
pub(super) const INDEX_BITS: u32 = if cfg!(loom) { 1 } else { 9 };

/// Entries of a table.
pub const ENTRIES: usize = 1 << INDEX_BITS;

bitflags! {
    /// The flags of a page in its leaf entry.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PageFlags: u32 {
        /// The page may be read.
        const READ = 0x1;
        /// The page may be written.
        const WRITE = 0x2;
        /// The page may be executed.
        const EXEC = 0x4;
        /// The page has been accessed (`young`).
        const ACCESSED = 0x8;
        /// The page has been written.
        const DIRTY = 0x10;
        /// The page is the zero page, which is not counted (`special`).
        const ZERO = 0x20;
    }
}

/// The flags that say how a page may be accessed.
pub(crate) const PAGE_ACCESS: PageFlags = PageFlags::READ.union(PageFlags::WRITE).union(PageFlags::EXEC);

/// A present page: its frame, and how it may be accessed.
///
/// A page that may not be accessed at all (PROT_NONE) has none of `READ`, `WRITE` and `EXEC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pte {
    /// The page's frame.
    pub pfn: Pfn,
    /// How the page may be accessed, and how it has been.
    pub flags: PageFlags,
}

impl Pte {
    /// Returns whether the entry allows this access without a fault.
    pub(crate) fn allows(self, access: Access) -> bool {
        self.flags.contains(match access {
            Access::Read => PageFlags::READ,
            Access::Write => PageFlags::WRITE,
            Access::Exec => PageFlags::EXEC,
        })
    }
}

/// The format of an architecture's page tables: 512 entries of 64 bits in a table, pages of 4 KiB.
///
/// Upper tables hold addresses of tables as this program sees them. An embedder whose hardware
/// walks other addresses translates them.
///
/// Where [`permits`](Self::permits) allows an access to a mapping's pages,
/// [`protection`](Self::protection) must too. Otherwise a thread takes the same fault for ever.
///
/// # Safety
/// `table_addr` returns what `table` was made of, and 0 for 0. `pte` returns the frame that `page`
/// was made of, with its `WRITE`, `ZERO`, `ACCESSED` and `DIRTY`, and `None` for 0. None of them
/// depends on anything else.
pub unsafe trait Arch: Send + Sync + 'static {
    /// The architecture's name.
    const NAME: &'static str;

    /// Tables from the root to the leaf.
    const LEVELS: u32;

    /// One past the highest address of a process.
    const TASK_SIZE: VirtAddr;

    /// Where [`MapFlags::MAP_32BIT`](crate::MapFlags::MAP_32BIT) puts mappings; `None` where
    /// neither it nor [`ABOVE4G`](crate::MapFlags::ABOVE4G) is a flag.
    const LOW: Option<VirtRange> = None;

    /// Whether a fetch from a missing page maps it before the fetch is refused.
    ///
    /// The processor reports only that the page is missing, and the system handles that as a read.
    const FETCHES_AS_READ: bool = false;

    /// Returns the entry that refers to the table at `addr`, a multiple of 4096. Not 0.
    fn table(addr: u64) -> u64;

    /// Returns the address of the table that an entry refers to; 0 if the entry is 0.
    fn table_addr(entry: u64) -> u64;

    /// Returns the leaf entry for a page. Not 0.
    fn page(pte: Pte) -> u64;

    /// Returns the page of a leaf entry; `None` if the entry is 0.
    fn pte(entry: u64) -> Option<Pte>;

    /// Returns how the hardware lets pages of a mapping be accessed (`protection_map`).
    fn protection(flags: VmFlags) -> PageFlags;

    /// Returns whether a mapping permits an access (`access_error`). Never if it has none of
    /// `READ`, `WRITE` and `EXEC`.
    fn permits(flags: VmFlags, access: Access) -> bool;
}
