//! x86-64: four or five levels.
//!
//! Sources of the bits: Intel SDM volume 3A, 5.5.4 (tables 5-15 to 5-20); AMD64 APM volume 2, 5.3
//! and 5.4. Bits that software may choose are as in Linux's `asm/pgtable_types.h`. Left out are
//! Linux's workarounds for some processors: frame numbers of pages that may not be accessed are not
//! inverted (`__pte_needs_invert`), and `D` stays in place when a page becomes read-only
//! (`_PAGE_SAVED_DIRTY`).

use super::{Arch, PAGE_ACCESS, PageFlags, Pte};
use crate::addr::{VirtAddr, VirtRange};
use crate::pgtable::Pfn;
use crate::vma::{ACCESS, Access, VmFlags};

/// `_PAGE_PRESENT`.
const P: u64 = 1 << 0;
/// `_PAGE_RW`.
const RW: u64 = 1 << 1;
/// `_PAGE_USER`.
const US: u64 = 1 << 2;
/// `_PAGE_ACCESSED`.
const A: u64 = 1 << 5;
/// `_PAGE_DIRTY`; ignored in upper tables, where Linux sets it.
const D: u64 = 1 << 6;
/// `_PAGE_PROTNONE`: without `P`, a page that may not be accessed. With `P` the bit is
/// `_PAGE_GLOBAL`.
const PROTNONE: u64 = 1 << 8;
/// `_PAGE_SPECIAL`, the first of the bits that hardware ignores.
const SPECIAL: u64 = 1 << 9;
/// `_PAGE_NX`.
const NX: u64 = 1 << 63;
/// `PTE_PFN_MASK`: bits 12 to 51.
const ADDR: u64 = (1 << 52) - (1 << 12);
/// `_PAGE_TABLE`.
const TABLE: u64 = P | RW | US | A | D;

/// The page tables of x86-64: four levels (48 bits of address) or five (57 bits, LA57).
///
/// A process has the lower half of the addresses. A page that may be accessed may be read.
///
/// ```
/// use vmaple_mm::pgtable::{Arch, PageFlags, Pfn, Pte, X86_64};
/// let flags = PageFlags::READ | PageFlags::WRITE | PageFlags::DIRTY;
/// let page = Pte { pfn: Pfn(0x1234), flags };
/// let entry = X86_64::<4>::page(page);
/// assert_eq!(entry, 0x8000_0000_0123_4047); // NX, the frame's address, D, US, RW, P
/// assert_eq!(X86_64::<4>::pte(entry), Some(page));
/// ```
#[derive(Debug)]
pub struct X86_64<const LEVELS: u32 = 4>;

// SAFETY: addresses and frame numbers have bits of their own; tested for every combination of
// flags.
unsafe impl<const LEVELS: u32> Arch for X86_64<LEVELS> {
    const NAME: &'static str = if LEVELS == 5 {
        "x86-64 with five levels"
    } else {
        "x86-64"
    };

    const LEVELS: u32 = {
        assert!(LEVELS == 4 || LEVELS == 5, "x86-64 has four levels or five");
        LEVELS
    };

    /// `TASK_SIZE_MAX`: without the last page, after which `SYSRET` would fault in the kernel.
    const TASK_SIZE: VirtAddr = VirtAddr((1 << (12 + 9 * LEVELS - 1)) - 4096);

    /// `find_start_end`, without randomisation.
    const LOW: Option<VirtRange> = Some(VirtRange::new(VirtAddr(0x4000_0000), VirtAddr(0x8000_0000)));

    /// `access_error` ignores `VM_EXEC`: Linux handles a fetch as a read, and refuses it when the
    /// mapped page faults again.
    const FETCHES_AS_READ: bool = true;

    fn table(addr: u64) -> u64 {
        debug_assert_eq!(addr & !ADDR, 0);
        addr & ADDR | TABLE
    }

    fn table_addr(entry: u64) -> u64 {
        entry & ADDR
    }

    fn page(pte: Pte) -> u64 {
        debug_assert_eq!(pte.pfn.0 & !(ADDR >> 12), 0);
        let has = |flag, bits| if pte.flags.contains(flag) { bits } else { 0 };
        let access = if pte.flags.intersects(PAGE_ACCESS) {
            P | US | has(PageFlags::WRITE, RW) | (NX - has(PageFlags::EXEC, NX))
        } else {
            PROTNONE
        };
        let history = has(PageFlags::ACCESSED, A) | has(PageFlags::DIRTY, D) | has(PageFlags::ZERO, SPECIAL);
        pte.pfn.0 << 12 & ADDR | access | history
    }

    fn pte(entry: u64) -> Option<Pte> {
        if entry & (P | PROTNONE) == 0 {
            return None;
        }
        let has = |bit, flag| if entry & bit != 0 { flag } else { PageFlags::empty() };
        let mut flags = has(A, PageFlags::ACCESSED) | has(D, PageFlags::DIRTY) | has(SPECIAL, PageFlags::ZERO);
        if entry & P != 0 {
            flags |= PageFlags::READ | has(RW, PageFlags::WRITE) | (PageFlags::EXEC - has(NX, PageFlags::EXEC));
        }
        let pfn = Pfn((entry & ADDR) >> 12);
        Some(Pte { pfn, flags })
    }

    /// `protection_map`, with what `pte_mkwrite` adds to the own pages of a private mapping.
    fn protection(flags: VmFlags) -> PageFlags {
        let has = |flag, page| {
            if flags.intersects(flag) {
                page
            } else {
                PageFlags::empty()
            }
        };
        has(ACCESS, PageFlags::READ) | has(VmFlags::WRITE, PageFlags::WRITE) | has(VmFlags::EXEC, PageFlags::EXEC)
    }

    /// `access_error`, and for a fetch what the processor checks.
    fn permits(flags: VmFlags, access: Access) -> bool {
        flags.intersects(match access {
            Access::Read => ACCESS,
            Access::Write => VmFlags::WRITE,
            Access::Exec => VmFlags::EXEC,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Four = X86_64<4>;

    fn entry(pfn: u64, flags: PageFlags) -> u64 {
        Four::page(Pte { pfn: Pfn(pfn), flags })
    }

    #[test]
    fn every_page_comes_back_and_what_may_be_accessed_may_be_read() {
        for pfn in [0, 1, 0x12345, (1 << 40) - 1] {
            let pfn = Pfn(pfn);
            for bits in 0..=PageFlags::all().bits() {
                let flags = PageFlags::from_bits_truncate(bits);
                let mut readable = flags;
                readable.set(PageFlags::READ, flags.intersects(PAGE_ACCESS));
                let entry = Four::page(Pte { pfn, flags });
                assert_ne!(entry, 0);
                assert_eq!(Four::pte(entry), Some(Pte { pfn, flags: readable }), "{flags:?}");
                assert_eq!(X86_64::<5>::page(Pte { pfn, flags }), entry);
                assert_eq!(X86_64::<5>::pte(entry), Four::pte(entry));
            }
        }
    }

    /// `PAGE_NONE`, `PAGE_READONLY`, `PAGE_SHARED` and the like in Linux's `asm/pgtable_types.h`,
    /// with the bits of the manual.
    #[test]
    fn entries_of_pages_have_the_bits_of_the_manual() {
        let (read, write, exec) = (PageFlags::READ, PageFlags::WRITE, PageFlags::EXEC);
        let (young, dirty, zero) = (PageFlags::ACCESSED, PageFlags::DIRTY, PageFlags::ZERO);
        assert_eq!(entry(0, young), 0x120, "PAGE_NONE");
        assert_eq!(entry(0, read | young), 0x8000_0000_0000_0025, "PAGE_READONLY");
        assert_eq!(entry(0, read | exec | young), 0x25, "PAGE_READONLY_EXEC");
        assert_eq!(entry(0, read | write | young), 0x8000_0000_0000_0027, "PAGE_SHARED");
        assert_eq!(entry(0, read | write | exec | young), 0x27, "PAGE_SHARED_EXEC");
        assert_eq!(entry(0, read | write | young | dirty), 0x8000_0000_0000_0067);
        assert_eq!(entry(0, read | young | zero), 0x8000_0000_0000_0225);
        assert_eq!(entry((1 << 40) - 1, PageFlags::empty()), 0x000f_ffff_ffff_f100);
        assert_eq!(entry(1, PageFlags::all()), 0x1267);
    }

    #[test]
    fn entries_of_upper_tables_have_the_bits_of_the_manual() {
        assert_eq!(Four::table(0x1000), 0x1067);
        assert_eq!(Four::table(ADDR), 0x000f_ffff_ffff_f067);
        for bit in 12..52 {
            assert_eq!(Four::table_addr(Four::table(1 << bit)), 1 << bit);
            assert_eq!(X86_64::<5>::table(1 << bit), Four::table(1 << bit));
        }
        assert_eq!((Four::table_addr(0), Four::pte(0)), (0, None));
    }

    #[test]
    fn a_process_has_half_of_the_addresses_but_a_page() {
        assert_eq!(Four::TASK_SIZE, VirtAddr(0x7fff_ffff_f000));
        assert_eq!(X86_64::<5>::TASK_SIZE, VirtAddr(0x00ff_ffff_ffff_f000));
    }

    #[test]
    fn what_a_mapping_permits_is_what_its_pages_allow() {
        for bits in 0..=ACCESS.bits() {
            let flags = VmFlags::from_bits_truncate(bits);
            let pte = Pte {
                pfn: Pfn(1),
                flags: Four::protection(flags),
            };
            assert_eq!(Four::pte(Four::page(pte)), Some(pte));
            for access in [Access::Read, Access::Write, Access::Exec] {
                assert_eq!(pte.allows(access), Four::permits(flags, access), "{flags:?} {access:?}");
            }
        }
        let none = VmFlags::all() - ACCESS;
        assert!(Four::protection(none).is_empty() && !Four::permits(none, Access::Read));
        assert!(Four::permits(VmFlags::EXEC, Access::Read) && Four::permits(VmFlags::WRITE, Access::Read));
        assert!(!Four::permits(VmFlags::READ, Access::Write) && !Four::permits(VmFlags::WRITE, Access::Exec));
    }
}
