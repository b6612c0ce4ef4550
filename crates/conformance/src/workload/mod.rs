//! An address space of some hundred mappings, and changes of every kind to it. Each change splits,
//! merges, grows, shrinks, fills or moves a mapping, while every fourth mapping stays untouched.

pub mod pages;

use std::ops::Range;

use vmaple_mm::pgtable::Ram;
use vmaple_mm::{File, Kref, Layout, Limits, Machine, MapFlags, Mm, PAGE_SIZE, Prot, Soft, VirtAddr, VmaStore};

pub const BASE: u64 = 0x1000_0000;
/// Slots of eight pages, of which pages 1 to 4 are mapped at first.
pub const SLOTS: u64 = 130;
const PLAIN: Prot = Prot::READ.union(Prot::WRITE);
const OTHER: Prot = Prot::READ.union(Prot::EXEC);

pub struct Workload<S: VmaStore, M: Machine = Soft> {
    pub mm: Mm<S, M>,
    file: Kref<File>,
}

/// Returns the address of a page of a slot.
pub fn page(slot: u64, page: u64) -> VirtAddr {
    VirtAddr(BASE + (slot * 8 + page) * PAGE_SIZE)
}

impl<S: VmaStore> Workload<S> {
    pub fn new() -> Self {
        Self::on(Soft::new(Ram::new(64 << 20).unwrap()))
    }
}

impl<S: VmaStore, M: Machine> Workload<S, M> {
    pub fn on(machine: M) -> Self {
        let mut layout = Layout::default();
        layout.start_brk = page(SLOTS, 0);
        let workload = Self {
            mm: Mm::with_machine(layout, Limits::default(), machine).unwrap(),
            file: File::new((8, 1), 4711, b"/usr/lib/libworkload.so".as_slice()).unwrap(),
        };
        for slot in 0..SLOTS {
            workload.map(slot, 1..5, PLAIN);
        }
        workload
    }

    /// Maps pages of a slot: private anonymous memory, a file, or shared anonymous memory.
    fn map(&self, slot: u64, pages: Range<u64>, prot: Prot) {
        let len = (pages.end - pages.start) * PAGE_SIZE;
        let offset = (slot * 16 + pages.start) * PAGE_SIZE;
        let (flags, file, offset) = match slot % 3 {
            0 => (MapFlags::PRIVATE | MapFlags::ANONYMOUS, None, 0),
            1 => (MapFlags::PRIVATE, Some(&self.file), offset),
            _ => (MapFlags::SHARED | MapFlags::ANONYMOUS, None, 0),
        };
        let at = page(slot, pages.start);
        self.mm
            .mmap(at, len, prot, flags | MapFlags::FIXED, file, offset)
            .unwrap();
    }

    /// Makes a change. Over a hole, where the change is impossible, nothing happens.
    pub fn make(&self, change: Change) {
        let len = |pages: Range<u64>| (pages.end - pages.start) * PAGE_SIZE;
        match change {
            Change::Map(slot, ref pages, prot) => self.map(slot, pages.clone(), prot),
            Change::Unmap(slot, pages) => self.mm.munmap(page(slot, pages.start), len(pages)).unwrap(),
            Change::Protect(slot, prot) => drop(self.mm.mprotect(page(slot, 2), PAGE_SIZE, prot).ok()),
            Change::Brk(pages) => assert_eq!(self.mm.brk(page(SLOTS, pages)), page(SLOTS, pages)),
            Change::Name(slot, name) => drop(self.mm.set_anon_vma_name(page(slot, 1), PAGE_SIZE, name).ok()),
        }
    }
}

/// A call; each is one publication.
#[derive(Clone, Debug)]
pub enum Change {
    Map(u64, Range<u64>, Prot),
    Unmap(u64, Range<u64>),
    Protect(u64, Prot),
    Brk(u64),
    Name(u64, Option<&'static [u8]>),
}

impl Change {
    /// Draws a change, or two that belong together. Half of them are next to `cursor`, where a
    /// reader is.
    pub fn random(random: &mut fastrand::Rng, cursor: u64) -> Vec<Self> {
        let cursor = cursor.saturating_sub(BASE) / PAGE_SIZE / 8;
        let mut slot = || loop {
            let near = random.bool();
            let slot = if near {
                cursor + random.u64(..2)
            } else {
                random.u64(..SLOTS)
            };
            if slot < SLOTS && !slot.is_multiple_of(4) {
                return slot;
            }
        };
        let (slot, other) = (slot(), slot());
        match random.u32(..10) {
            // Split, and merged again.
            0 => vec![Self::Protect(slot, OTHER)],
            1 => vec![Self::Protect(slot, PLAIN)],
            // Grown at its end, and at its beginning.
            2 => vec![Self::Map(slot, 5..7, PLAIN)],
            3 => vec![Self::Map(slot, 0..1, PLAIN)],
            // Shrunk, and the hole filled.
            4 => vec![Self::Unmap(slot, 3..5), Self::Map(slot, 3..5, OTHER)],
            // Moved.
            5 => vec![Self::Unmap(slot, 0..8), Self::Map(other, 1..5, PLAIN)],
            6 => vec![Self::Brk(random.u64(..16))],
            // All of it replaced at one instant.
            7 => vec![Self::Map(slot, 0..8, PLAIN)],
            8 => vec![Self::Map(slot, 1..5, PLAIN)],
            _ => vec![Self::Name(slot, [None, Some(b"arena".as_slice())][random.usize(..2)])],
        }
    }
}
