//! What an architecture's page tables look like.

mod riscv;
mod x86_64;

use core::ops::Range;

use bitflags::bitflags;

pub use riscv::Sv39;
pub use x86_64::X86_64;

use super::frame::Pfn;
use crate::vma::{Access, VmFlags};

/// Binary logarithm of [`ENTRIES`].
pub(super) const INDEX_BITS: u32 = if cfg!(loom) { 1 } else { 9 };

/// Entries of a table.
pub const ENTRIES: usize = 1 << INDEX_BITS;

bitflags! {
    /// What an entry of a leaf table says of its page.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PageFlags: u32 {
        /// May be read.
        const READ = 0x1;
        /// May be written.
        const WRITE = 0x2;
        /// May be executed.
        const EXEC = 0x4;
        /// Has been accessed (`young`).
        const ACCESSED = 0x8;
        /// Has been written.
        const DIRTY = 0x10;
        /// Is the page of zeros, which counts for nobody (`special`).
        const ZERO = 0x20;
    }
}

/// How a page may be accessed, alone.
pub(crate) const PAGE_ACCESS: PageFlags = PageFlags::READ.union(PageFlags::WRITE).union(PageFlags::EXEC);

/// A page that is there: which frame, and what may be done with it. One that may not be accessed at all (PROT_NONE) has none of
/// `READ`, `WRITE` and `EXEC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pte {
    /// Its frame.
    pub pfn: Pfn,
    /// What may be done with it, and what has been.
    pub flags: PageFlags,
}

impl Pte {
    /// Whether the entry allows this access by itself, without a fault.
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
/// Upper tables hold addresses of tables as this program sees them; where those are not what the hardware walks, that is for the
/// embedder to translate.
///
/// Where [`permits`](Self::permits) allows an access to a mapping's pages, [`protection`](Self::protection) does; else a thread would
/// take the same fault for ever.
///
/// # Safety
/// `table_addr` gives what `table` was made of, and 0 of 0. `pte` gives the frame that `page` was made of, with its `WRITE`, `ZERO`,
/// `ACCESSED` and `DIRTY`, and `None` of 0. None of them depends on anything else.
pub unsafe trait Arch: Send + Sync + 'static {
    /// What it is called.
    const NAME: &'static str;

    /// Tables from the root to the leaf.
    const LEVELS: u32;

    /// The end of a process's addresses.
    const TASK_SIZE: u64;

    /// Where [`MapFlags::MAP_32BIT`](crate::MapFlags::MAP_32BIT) puts mappings; `None` where neither it nor
    /// [`ABOVE4G`](crate::MapFlags::ABOVE4G) is a flag.
    const LOW: Option<Range<u64>> = None;

    /// Whether a fetch from a page that is not there brings it in before it is refused: the processor has said only that nothing
    /// is there, and the system takes it for a read.
    const FETCHES_AS_READ: bool = false;

    /// The entry of an upper table that refers to the table at an address, which is a multiple of 4096. Not 0.
    fn table(addr: u64) -> u64;

    /// The address that an entry of an upper table refers to; 0 if the entry is 0.
    fn table_addr(entry: u64) -> u64;

    /// The entry of a leaf table for a page. Not 0.
    fn page(pte: Pte) -> u64;

    /// The page that an entry of a leaf table is for; `None` if the entry is 0.
    fn pte(entry: u64) -> Option<Pte>;

    /// How the hardware would let pages of a mapping be accessed (`protection_map`).
    fn protection(flags: VmFlags) -> PageFlags;

    /// Whether memory of a mapping may be accessed so (`access_error`); never if it has none of `READ`, `WRITE` and `EXEC`.
    fn permits(flags: VmFlags, access: Access) -> bool;
}
