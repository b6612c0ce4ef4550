//! Counts pages while mappings come and go: readers stop between two pages, and see what has
//! happened when they go on.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use vmaple_conformance::line::Line;
use vmaple_conformance::smaps_text::Record;
use vmaple_conformance::stop::{self, Gate, Point, StoppingMachine, stop_at};
use vmaple_mm::pgtable::CountBy;
use vmaple_mm::{Layout, Limits, MapFlags, MapleStore, Mm, PAGE_SIZE, Prot, VirtAddr};
use vmaple_proc::{Maps, Smaps, SmapsRecord, SmapsRollup};

const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED).union(MapFlags::ANONYMOUS);
const RW: Prot = Prot::READ.union(Prot::WRITE);
const MIB: u64 = 1 << 20;

type Space = Mm<MapleStore, StoppingMachine>;

fn space() -> Space {
    Mm::with_machine(Layout::default(), Limits::default(), stop::machine()).unwrap()
}

/// Maps private anonymous memory.
fn map(mm: &Space, addr: u64, len: u64) {
    mm.mmap(VirtAddr(addr), len, RW, ANONYMOUS, None, 0).unwrap();
}

/// Writes the first byte of each page.
fn touch(mm: &Space, addr: u64, len: u64) {
    let thread = mm.thread().unwrap();
    for at in (addr..addr + len).step_by(PAGE_SIZE as usize) {
        thread.write(VirtAddr(at), &[1]).unwrap();
    }
}

fn text(mut file: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    text
}

/// Maps four pages, all present. A reader of the record stops after two of them, `meanwhile` runs,
/// and the reader reports what it saw.
fn stopped(snapshot: bool, meanwhile: impl FnOnce(&Space)) -> (bool, u64) {
    let mm = space();
    map(&mm, MIB, 4 * PAGE_SIZE);
    touch(&mm, MIB, 4 * PAGE_SIZE);
    let gate = Gate::new();
    let was_there = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            stop_at(Point::Page, 1, &gate);
            let seen = |record: Option<SmapsRecord<'_>>| {
                let record = record.unwrap();
                was_there.store(record.vma.new_from == MIB, Ordering::Relaxed);
                (record.was_live, record.counts.rss / PAGE_SIZE)
            };
            if snapshot {
                seen(Smaps::snapshot(&mm).unwrap().next_record().unwrap())
            } else {
                seen(Smaps::open(&mm).unwrap().next_record().unwrap())
            }
        });
        gate.wait();
        meanwhile(&mm);
        gate.go();
        let seen = reader.join().unwrap();
        assert!(was_there.load(Ordering::Relaxed));
        seen
    })
}

/// Stops a reader after two pages of the first of three mappings of four pages, all present.
fn stopped_in_the_first<R: Send>(read: impl FnOnce(&Space) -> R + Send, meanwhile: impl FnOnce(&Space)) -> R {
    let mm = space();
    for i in 0..3 {
        map(&mm, MIB + i * 16 * PAGE_SIZE, 4 * PAGE_SIZE);
        touch(&mm, MIB + i * 16 * PAGE_SIZE, 4 * PAGE_SIZE);
    }
    let gate = Gate::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            stop_at(Point::Page, 1, &gate);
            read(&mm)
        });
        gate.wait();
        meanwhile(&mm);
        gate.go();
        reader.join().unwrap()
    })
}

#[test]
fn each_record_of_a_buffer_is_of_an_instant_of_its_own() {
    let read = |mm: &Space| text(Smaps::open(mm).unwrap());
    let text = stopped_in_the_first(read, |mm| {
        mm.munmap(VirtAddr(MIB + 16 * PAGE_SIZE), 4 * PAGE_SIZE).unwrap();
        map(mm, MIB + 8 * PAGE_SIZE, PAGE_SIZE);
    });
    let starts: Vec<u64> = Record::parse_all(&text)
        .iter()
        .map(|record| record.line.start)
        .collect();
    assert_eq!(starts, [MIB, MIB + 8 * PAGE_SIZE, MIB + 32 * PAGE_SIZE]);
}

#[test]
fn a_roll_up_counts_no_address_twice() {
    // The first mapping grows, and the second grows over its end: to where the first ended.
    let grow = |mm: &Space| {
        map(mm, MIB + 4 * PAGE_SIZE, 12 * PAGE_SIZE);
        touch(mm, MIB + 4 * PAGE_SIZE, 2 * PAGE_SIZE);
    };
    let read = |mm: &Space| SmapsRollup::open(mm, CountBy::Walk).unwrap().record().unwrap();
    assert_eq!(stopped_in_the_first(read, grow).counts.rss, 14 * PAGE_SIZE);
}

#[test]
fn a_record_says_whether_its_mapping_was_there_until_all_pages_were_counted() {
    for snapshot in [false, true] {
        assert_eq!(stopped(snapshot, |_| ()), (true, 4));
        assert_eq!(stopped(snapshot, |mm| map(mm, 2 * MIB, PAGE_SIZE)), (true, 4));
    }
    let (was_live, pages) = stopped(false, |mm| mm.munmap(VirtAddr(MIB), 4 * PAGE_SIZE).unwrap());
    assert!(!was_live && pages < 4, "{pages}");
    // The same pages exist, but in another mapping.
    let protect = |mm: &Space| mm.mprotect(VirtAddr(MIB), 4 * PAGE_SIZE, Prot::READ).unwrap();
    assert_eq!(stopped(false, protect), (false, 4));
    assert_eq!(
        stopped(true, protect),
        (false, 0),
        "of a snapshot nothing that is another's is counted"
    );
}

#[test]
fn a_record_says_whether_pages_of_the_mapping_before_it_may_be_among_them() {
    let mm = space();
    map(&mm, MIB, 4 * PAGE_SIZE);
    touch(&mm, MIB, 4 * PAGE_SIZE);
    map(&mm, 2 * MIB, PAGE_SIZE);
    let gate = Gate::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It has published the new mapping, and is about to take the old pages out.
            stop_at(Point::TableLocked, 0, &gate);
            mm.mmap(VirtAddr(MIB), 4 * PAGE_SIZE, Prot::READ, ANONYMOUS, None, 0)
                .unwrap();
        });
        gate.wait();
        let seen = |record: SmapsRecord<'_>| (record.vma.perms.write, record.was_live, record.counts.rss / PAGE_SIZE);
        let mut smaps = Smaps::open(&mm).unwrap();
        let first = seen(smaps.next_record().unwrap().unwrap());
        let second = seen(smaps.next_record().unwrap().unwrap());
        let mut snapshot = Smaps::snapshot(&mm).unwrap();
        let of_snapshot = seen(snapshot.next_record().unwrap().unwrap());
        // Before a possible panic: the scope waits for the stopped thread.
        gate.go();
        assert_eq!([first, second], [(false, false, 4), (true, true, 0)]);
        assert_eq!(of_snapshot, (false, false, 0));
    });
    let mut smaps = Smaps::open(&mm).unwrap();
    let record = smaps.next_record().unwrap().unwrap();
    assert_eq!((record.was_live, record.counts.rss), (true, 0));
}

#[test]
fn of_a_snapshot_only_what_is_still_live_is_counted() {
    let mm = space();
    for i in 0..4 {
        let at = 0x1_0000_0000 + i * 4 * PAGE_SIZE;
        map(&mm, at, 2 * PAGE_SIZE);
        touch(&mm, at, PAGE_SIZE);
    }
    let mut smaps = Smaps::snapshot(&mm).unwrap();
    mm.munmap(VirtAddr(0x1_0000_0000), 2 * PAGE_SIZE).unwrap();
    map(&mm, 0x1_0000_0000, 2 * PAGE_SIZE);
    touch(&mm, 0x1_0000_0000, 2 * PAGE_SIZE);
    touch(&mm, 0x1_0000_4000, 2 * PAGE_SIZE);
    let mut seen = Vec::new();
    while let Some(record) = smaps.next_record().unwrap() {
        seen.push((record.was_live, record.counts.rss / PAGE_SIZE));
    }
    assert_eq!(seen, [(false, 0), (true, 2), (true, 1), (true, 1)]);
    let lines = Line::parse_all(&text(Maps::snapshot(&mm).unwrap()));
    drop(mm);
    smaps.rewind();
    let records = Record::parse_all(&text(&mut smaps));
    assert_eq!(
        records.iter().map(|record| record.line.clone()).collect::<Vec<_>>(),
        lines
    );
    assert!(records.iter().all(|record| record.number("Rss") == 0));
}
