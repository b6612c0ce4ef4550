//! pagemap: where it may be read, and what it says of each page.

#![cfg(all(not(loom), feature = "std"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Read;

use vmaple_conformance::stop::{self, LOOKS, SECTIONS, Stopping};
use vmaple_mm::{
    Access, Errno, Layout, Limits, MapFlags, MapleStore, Mm, PAGE_SIZE, Prot, RbStore, VirtAddr, VmaStore,
};
use vmaple_proc::Pagemap;

const RW: Prot = Prot::READ.union(Prot::WRITE);
const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED).union(MapFlags::ANONYMOUS);
/// The last page of a leaf table's addresses is page 511.
const BASE: u64 = 64 << 21;
const PRESENT: u64 = 1 << 63;
const EXCLUSIVE: u64 = 1 << 56;
const FRAME: u64 = (1 << 55) - 1;

fn at(page: u64) -> VirtAddr {
    VirtAddr(BASE + page * PAGE_SIZE)
}

fn offset(page: u64) -> u64 {
    at(page).0 / PAGE_SIZE * 8
}

/// Pages 500 to 2000 are mapped: 510 and 513 were written, 512 was read, 1999 may not be accessed
/// any more.
fn space<S: VmaStore>() -> Mm<S> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    mm.mmap(at(500), 1500 * PAGE_SIZE, RW, ANONYMOUS, None, 0).unwrap();
    let thread = mm.thread().unwrap();
    for page in [510, 513, 1999] {
        thread.write(at(page), &[1]).unwrap();
    }
    thread.fault(at(512), Access::Read).unwrap();
    mm.mprotect(at(1999), PAGE_SIZE, Prot::empty()).unwrap();
    mm
}

fn entries(bytes: &[u8]) -> Vec<u64> {
    let entries = bytes.chunks_exact(8);
    entries
        .map(|entry| u64::from_ne_bytes(entry.try_into().unwrap()))
        .collect()
}

fn read_at(pagemap: &mut Pagemap<impl VmaStore>, page: u64, pages: usize) -> Vec<u64> {
    let mut bytes = vec![0xff; pages * 8];
    let length = pagemap.read_at(offset(page), &mut bytes).unwrap();
    entries(&bytes[..length])
}

#[test]
fn each_page_has_its_entry() {
    fn check<S: VmaStore>() {
        let mm = space::<S>();
        let mut pagemap = Pagemap::open(&mm).unwrap();
        let all = read_at(&mut pagemap, 0, 2048);
        for (page, entry) in all.into_iter().enumerate() {
            let expected = match page {
                510 | 513 | 1999 => PRESENT | EXCLUSIVE,
                // The zero page is never exclusive.
                512 => PRESENT,
                _ => 0,
            };
            assert_eq!(entry, expected, "page {page}");
        }
    }
    check::<MapleStore>();
    check::<RbStore>();
}

#[test]
fn frames_are_shown_to_who_opened_it_for_them() {
    let mm = space::<MapleStore>();
    let reader = mm.reader().unwrap();
    let mut pagemap = Pagemap::open_with_frames(&mm).unwrap();
    let shown = read_at(&mut pagemap, 500, 1500);
    let hidden = read_at(&mut Pagemap::open(&mm).unwrap(), 500, 1500);
    for ((page, shown), hidden) in (500..).zip(shown).zip(hidden) {
        let frame = reader.walker().translate(at(page)).map_or(0, |pte| pte.pfn.0);
        assert_eq!((shown & FRAME, shown & !FRAME), (frame, hidden), "page {page}");
    }
}

#[test]
fn entries_are_the_same_wherever_a_read_begins_and_ends() {
    let mm = space::<MapleStore>();
    let mut pagemap = Pagemap::open_with_frames(&mm).unwrap();
    let all = read_at(&mut pagemap, 0, 2048);
    for (first, pages) in [
        (0, 1),
        (511, 1),
        (511, 2),
        (512, 512),
        (510, 1000),
        (1999, 1),
        (300, 1748),
    ] {
        assert_eq!(read_at(&mut pagemap, first, pages), all[first as usize..][..pages]);
    }
    pagemap.rewind();
    let mut file = std::io::BufReader::with_capacity(4096, &mut pagemap);
    std::io::copy(&mut Read::by_ref(&mut file).take(offset(0)), &mut std::io::sink()).unwrap();
    let mut bytes = vec![0; 2048 * 8];
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(entries(&bytes), all);
}

#[test]
fn only_whole_entries_are_read() {
    let mm = space::<MapleStore>();
    let mut pagemap = Pagemap::open(&mm).unwrap();
    for (offset, length) in [(1, 8), (4, 8), (8, 7), (0, 1), (u64::MAX, 8)] {
        let error = pagemap.read_at(offset, &mut vec![0; length]).unwrap_err();
        assert_eq!(error.errno, Errno::EINVAL, "{length} bytes at {offset}");
    }
    assert_eq!(pagemap.read(&mut [0; 12]).unwrap_err().errno, Errno::EINVAL);
    assert_eq!(pagemap.read(&mut []).unwrap(), 0);
}

#[test]
fn the_end_of_the_address_space_is_the_end_of_the_file() {
    let mm = space::<MapleStore>();
    let mut pagemap = Pagemap::open(&mm).unwrap();
    let end = mm.layout().task_size.page_number() * 8;
    let mut bytes = [0xff; 80];
    for (offset, length) in [
        (end - 80, 80),
        (end - 16, 16),
        (end - 8, 8),
        (end, 0),
        (end + 8, 0),
        (u64::MAX - 7, 0),
        (1 << 52, 0),
    ] {
        assert_eq!(pagemap.read_at(offset, &mut bytes).unwrap(), length, "at {offset}");
    }
    let monitor = mm.grab();
    drop(mm);
    assert_eq!(pagemap.read_at(0, &mut bytes).unwrap_err().errno, Errno::ESRCH);
    assert_eq!(Pagemap::open(&monitor).unwrap_err().errno, Errno::ESRCH);
}

#[test]
fn a_section_is_of_one_leaf_table_s_addresses() {
    let machine = stop::machine();
    let mm: Mm<Stopping<MapleStore>, _> = Mm::with_machine(Layout::default(), Limits::default(), machine).unwrap();
    mm.mmap(at(0), 2048 * PAGE_SIZE, RW, ANONYMOUS, None, 0).unwrap();
    mm.thread().unwrap().write(at(600), &[1]).unwrap();
    let mut pagemap = Pagemap::open(&mm).unwrap();
    for (first, pages, sections) in [(0, 512, 1), (0, 513, 2), (511, 2, 2), (511, 514, 3), (100, 1948, 4)] {
        SECTIONS.set(0);
        pagemap.read_at(offset(first), &mut vec![0; pages * 8]).unwrap();
        assert_eq!(SECTIONS.get(), sections, "{pages} pages from {first} on");
    }
    // And only the entries that are asked for are looked at.
    LOOKS.set(0);
    pagemap.read_at(offset(598), &mut [0; 80]).unwrap();
    assert_eq!(LOOKS.get(), 10);
}
