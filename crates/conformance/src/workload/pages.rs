//! Pages in the address space of a workload: touched, dropped, populated. Mappings of some
//! megabytes come and go with the page tables below them.

use std::ops::Range;

use vmaple_mm::{Access, Advice, Machine, MapFlags, MmThread, PAGE_SIZE, Prot, VirtAddr, VmaStore};

use super::{BASE, SLOTS, page};

/// Where the large mappings are: two leaf tables each.
const FAR: u64 = BASE + (8 << 20);
const FAR_BYTES: u64 = 4 << 20;

/// What a thread does with memory. Each changes pages at once, or page by page.
#[derive(Clone, Debug)]
pub enum Touch {
    Write(u64, u64),
    Read(u64, u64),
    Drop(u64, Range<u64>),
    Populate(u64, Range<u64>),
    /// Maps one of two large ranges again, without pages.
    MapFar(u64),
    /// Writes some of its pages, which lie in both leaf tables.
    WriteFar(u64, u64),
    UnmapFar(u64),
}

impl Touch {
    pub fn random(random: &mut fastrand::Rng, cursor: u64) -> Self {
        let near = cursor.saturating_sub(BASE) / PAGE_SIZE / 8;
        let slot = if random.bool() {
            (near + random.u64(..2)).min(SLOTS - 1)
        } else {
            random.u64(..SLOTS)
        };
        let (one, other) = (random.u64(..8), random.u64(..8));
        let pages = one.min(other)..one.max(other) + 1;
        // Slots that no thread changes keep their pages.
        match random.u32(..16) {
            0..5 => Self::Write(slot, one),
            5..7 => Self::Read(slot, one),
            7..10 if !slot.is_multiple_of(4) => Self::Drop(slot, pages),
            7..12 => Self::Populate(slot, pages),
            12 => Self::MapFar(random.u64(..2)),
            13..15 => Self::WriteFar(random.u64(..2), random.u64(..64)),
            _ => Self::UnmapFar(random.u64(..2)),
        }
    }

    /// Returns whether it concerns one of the large ranges.
    pub fn is_far(&self) -> bool {
        matches!(self, Self::MapFar(_) | Self::WriteFar(..) | Self::UnmapFar(_))
    }

    /// Does it. Over a hole, a file or a missing right, it happens in part or not at all.
    pub fn make<S: VmaStore, M: Machine>(&self, thread: &MmThread<S, M>) {
        let far = |which: u64| VirtAddr(FAR + which * FAR_BYTES);
        let bytes = |pages: &Range<u64>| (pages.end - pages.start) * PAGE_SIZE;
        match *self {
            Self::Write(slot, at) => is_done(thread.write(page(slot, at), &[1])),
            Self::Read(slot, at) => is_done(thread.fault(page(slot, at), Access::Read)),
            Self::Drop(slot, ref pages) => {
                is_done(thread.madvise(page(slot, pages.start), bytes(pages), Advice::DontNeed));
            }
            Self::Populate(slot, ref pages) => {
                is_done(thread.madvise(page(slot, pages.start), bytes(pages), Advice::PopulateWrite));
            }
            Self::MapFar(which) => {
                let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
                let prot = Prot::READ | Prot::WRITE;
                thread.mm().mmap(far(which), FAR_BYTES, prot, flags, None, 0).unwrap();
            }
            Self::WriteFar(which, stride) => {
                for at in 0..16 {
                    let offset = (stride + at * 64) * PAGE_SIZE;
                    is_done(thread.write(VirtAddr(far(which).0 + offset), &[1]));
                }
            }
            Self::UnmapFar(which) => thread.mm().munmap(far(which), FAR_BYTES).unwrap(),
        }
    }
}

/// Ignores whether it was possible.
fn is_done<E>(_: Result<(), E>) {}

/// Writes every other page of the slots that no thread changes.
pub fn settle<S: VmaStore, M: Machine>(thread: &MmThread<S, M>) {
    for slot in (0..SLOTS).step_by(4) {
        for at in [1, 3] {
            is_done(thread.write(page(slot, at), &[1]));
        }
    }
}
