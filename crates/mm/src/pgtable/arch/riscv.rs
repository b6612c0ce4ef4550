//! RISC-V: three levels.
//!
//! Source of the bits: The RISC-V Instruction Set Manual volume II, "Sv39: Page-Based 39-bit
//! Virtual-Memory System". Bits that software may choose are as in Linux's `asm/pgtable-bits.h`.
//! Linux's extensions for memory types are left out: all is main memory here.

use super::{Arch, PAGE_ACCESS, PageFlags, Pte};
use crate::addr::VirtAddr;
use crate::pgtable::Pfn;
use crate::vma::{Access, VmFlags};

/// `_PAGE_PRESENT`: V.
const V: u64 = 1 << 0;
/// `_PAGE_READ`. An entry with V and none of R, W and X refers to a table.
const R: u64 = 1 << 1;
/// `_PAGE_WRITE`; reserved without R.
const W: u64 = 1 << 2;
/// `_PAGE_EXEC`.
const X: u64 = 1 << 3;
/// `_PAGE_USER`.
const U: u64 = 1 << 4;
/// `_PAGE_PROT_NONE`: without V, a page that may not be accessed. With V the bit is G,
/// `_PAGE_GLOBAL`.
const PROT_NONE: u64 = 1 << 5;
/// `_PAGE_ACCESSED`; reserved in upper tables, as D and U are.
const A: u64 = 1 << 6;
/// `_PAGE_DIRTY`.
const D: u64 = 1 << 7;
/// `_PAGE_SPECIAL`, the first of the two bits for software, RSW.
const SPECIAL: u64 = 1 << 8;
/// Position of the frame's number: bits 10 to 53.
const PPN_SHIFT: u32 = 10;
const PPN: u64 = ((1 << 44) - 1) << PPN_SHIFT;

/// The page tables of RISC-V with 39 bits of address.
///
/// A process has the lower half of the addresses. A page that may be written may be read; one that
/// may be executed need not be.
///
/// ```
/// use vmaple_mm::pgtable::{Arch, PageFlags, Pfn, Pte, Sv39};
/// let flags = PageFlags::READ | PageFlags::WRITE | PageFlags::DIRTY;
/// let page = Pte { pfn: Pfn(0x1234), flags };
/// let entry = Sv39::page(page);
/// assert_eq!(entry, 0x1234 << 10 | 0x97); // the frame's number, D, U, W, R, V
/// assert_eq!(Sv39::pte(entry), Some(page));
/// ```
#[derive(Debug)]
pub struct Sv39;

// SAFETY: addresses and frame numbers have bits of their own; tested for every combination of
// flags.
unsafe impl Arch for Sv39 {
    const NAME: &'static str = "RISC-V Sv39";

    const LEVELS: u32 = 3;

    const TASK_SIZE: VirtAddr = VirtAddr(1 << 38);

    /// `_PAGE_TABLE`: V alone.
    fn table(addr: u64) -> u64 {
        debug_assert_eq!(addr & !(PPN >> PPN_SHIFT << 12), 0);
        addr >> 12 << PPN_SHIFT & PPN | V
    }

    fn table_addr(entry: u64) -> u64 {
        (entry & PPN) >> PPN_SHIFT << 12
    }

    fn page(pte: Pte) -> u64 {
        debug_assert_eq!(pte.pfn.0 & !(PPN >> PPN_SHIFT), 0);
        let has = |flag, bits| if pte.flags.contains(flag) { bits } else { 0 };
        let access = if pte.flags.intersects(PAGE_ACCESS) {
            V | U | has(PageFlags::READ, R) | has(PageFlags::WRITE, R | W) | has(PageFlags::EXEC, X)
        } else {
            // With R, as Linux does: without, it would refer to a table.
            PROT_NONE | R
        };
        let history = has(PageFlags::ACCESSED, A) | has(PageFlags::DIRTY, D) | has(PageFlags::ZERO, SPECIAL);
        pte.pfn.0 << PPN_SHIFT & PPN | access | history
    }

    fn pte(entry: u64) -> Option<Pte> {
        if entry & (V | PROT_NONE) == 0 {
            return None;
        }
        let has = |bit, flag| if entry & bit != 0 { flag } else { PageFlags::empty() };
        let mut flags = has(A, PageFlags::ACCESSED) | has(D, PageFlags::DIRTY) | has(SPECIAL, PageFlags::ZERO);
        if entry & V != 0 {
            flags |= has(R, PageFlags::READ) | has(W, PageFlags::WRITE) | has(X, PageFlags::EXEC);
        }
        let pfn = Pfn((entry & PPN) >> PPN_SHIFT);
        Some(Pte { pfn, flags })
    }

    /// `protection_map`, with what `pte_mkwrite` adds to the own pages of a private mapping.
    fn protection(flags: VmFlags) -> PageFlags {
        let has = |flag, page| if flags.contains(flag) { page } else { PageFlags::empty() };
        has(VmFlags::READ, PageFlags::READ)
            | has(VmFlags::WRITE, PageFlags::READ | PageFlags::WRITE)
            | has(VmFlags::EXEC, PageFlags::EXEC)
    }

    /// `access_error`.
    fn permits(flags: VmFlags, access: Access) -> bool {
        flags.intersects(match access {
            Access::Read => VmFlags::READ | VmFlags::WRITE,
            Access::Write => VmFlags::WRITE,
            Access::Exec => VmFlags::EXEC,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::vma::ACCESS;

    fn entry(pfn: u64, flags: PageFlags) -> u64 {
        Sv39::page(Pte { pfn: Pfn(pfn), flags })
    }

    #[test]
    fn every_page_comes_back_and_what_may_be_written_may_be_read() {
        for pfn in [0, 1, 0x12345, (1 << 44) - 1] {
            let pfn = Pfn(pfn);
            for bits in 0..=PageFlags::all().bits() {
                let flags = PageFlags::from_bits_truncate(bits);
                let mut readable = flags;
                if flags.contains(PageFlags::WRITE) {
                    readable |= PageFlags::READ;
                }
                let entry = Sv39::page(Pte { pfn, flags });
                assert_ne!(entry, 0);
                assert_eq!(Sv39::pte(entry), Some(Pte { pfn, flags: readable }), "{flags:?}");
            }
        }
    }

    /// `PAGE_NONE`, `PAGE_READ`, `PAGE_WRITE` and the like in Linux's `asm/pgtable.h`, with the
    /// bits of the manual.
    #[test]
    fn entries_of_pages_have_the_bits_of_the_manual() {
        let (read, write, exec) = (PageFlags::READ, PageFlags::WRITE, PageFlags::EXEC);
        let (young, dirty, zero) = (PageFlags::ACCESSED, PageFlags::DIRTY, PageFlags::ZERO);
        assert_eq!(entry(0, PageFlags::empty()), 0x22, "PAGE_NONE");
        assert_eq!(entry(0, read | young), 0x53, "PAGE_READ");
        assert_eq!(entry(0, write | young), 0x57, "PAGE_WRITE");
        assert_eq!(entry(0, exec | young), 0x59, "PAGE_EXEC");
        assert_eq!(entry(0, read | exec | young), 0x5b, "PAGE_READ_EXEC");
        assert_eq!(entry(0, read | write | exec | young), 0x5f, "PAGE_WRITE_EXEC");
        assert_eq!(entry(0, read | write | young | dirty), 0xd7);
        assert_eq!(entry(0, read | young | zero), 0x153);
        assert_eq!(entry((1 << 44) - 1, read), 0x003f_ffff_ffff_fc13);
    }

    #[test]
    fn entries_of_upper_tables_have_the_bits_of_the_manual() {
        assert_eq!(Sv39::table(0x1000), 0x401);
        for bit in 12..56 {
            let entry = Sv39::table(1 << bit);
            assert_eq!(
                entry & (R | W | X | U | A | D),
                0,
                "else it refers to a page, or is reserved"
            );
            assert_eq!(Sv39::table_addr(entry), 1 << bit);
        }
        assert_eq!((Sv39::table_addr(0), Sv39::pte(0)), (0, None));
    }

    #[test]
    fn what_a_mapping_permits_is_what_its_pages_allow() {
        for bits in 0..=ACCESS.bits() {
            let flags = VmFlags::from_bits_truncate(bits);
            let pte = Pte {
                pfn: Pfn(1),
                flags: Sv39::protection(flags),
            };
            assert_eq!(Sv39::pte(Sv39::page(pte)), Some(pte));
            for access in [Access::Read, Access::Write, Access::Exec] {
                assert_eq!(pte.allows(access), Sv39::permits(flags, access), "{flags:?} {access:?}");
            }
        }
        let none = VmFlags::all() - ACCESS;
        assert!(Sv39::protection(none).is_empty() && !Sv39::permits(none, Access::Read));
        assert!(!Sv39::permits(VmFlags::EXEC, Access::Read) && Sv39::permits(VmFlags::WRITE, Access::Read));
        assert!(!Sv39::permits(VmFlags::READ, Access::Write) && !Sv39::permits(VmFlags::WRITE, Access::Exec));
    }
}
