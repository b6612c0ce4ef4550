//! Faults against all other calls: each race, made certain by a fail point where the other side
//! acts.
//!
//! The rules that close the races:
//! - **live under the lock**: a fault checks under the leaf table's lock that the mapping is still
//!   live;
//! - **pending range**: a fault waits while old pages of a replaced mapping are still to be zapped;
//! - **expected entry**: a page replaces only the entry that the fault expects.
//!
//! `ci/deep/mutate.sh` breaks each rule and expects its test to fail.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fail_point::at;
use crate::pgtable::{CountBy, Frames, PageCounts, PageFlags, Ram, X86_64};
use crate::{
    Access, Advice, Errno, FaultCause, Layout, Limits, MapFlags, MapleStore, Mm, MmThread, MmuNotifier, Prot, Soft,
    VirtAddr, VirtRange,
};

const PAGE: u64 = 4096;
const LEAF: u64 = 512 * PAGE;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const ANON: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);
const FIXED: MapFlags = ANON.union(MapFlags::FIXED);
/// The first address of a leaf table.
const BASE: VirtAddr = VirtAddr(64 * LEAF);

fn page(index: u64) -> VirtAddr {
    BASE + index * PAGE
}

fn mm() -> Mm {
    // Little memory: Miri looks at the place of each chunk that there may be.
    let machine = Soft::new(Ram::new(64 << 20).unwrap());
    Mm::with_machine(Layout::default(), Limits::default(), machine).unwrap()
}

fn map(mm: &Mm, index: u64, pages: u64, prot: Prot) {
    mm.mmap(page(index), pages * PAGE, prot, FIXED, None, 0).unwrap();
}

fn byte(thread: &MmThread, addr: VirtAddr) -> u8 {
    let mut byte = [0xff];
    thread.read(addr, &mut byte).unwrap();
    byte[0]
}

fn resident(mm: &Mm) -> u64 {
    // Miri walks a leaf table in a second, and all tables over it in several.
    let first_leaf = BASE..page(512);
    let all = VirtAddr(0)..mm.layout().task_size;
    let range = if cfg!(miri) { first_leaf } else { all };
    let mut counts = PageCounts::default();
    let walker = mm.page_tables().walker().unwrap();
    walker.count(range.clone(), CountBy::Walk, &mut counts);
    let mut by_counters = PageCounts::default();
    walker.count(range, CountBy::Counters, &mut by_counters);
    assert_eq!(counts.rss, by_counters.rss);
    counts.rss / PAGE
}

/// Fault against mprotect: the fault finds the mapping, then mprotect walks past the empty entry.
#[test]
fn a_fault_that_began_before_mprotect_leaves_no_writable_page() {
    for place in ["fault: found", "fault: before the lock"] {
        let mm = mm();
        map(&mm, 0, 4, RW);
        let thread = mm.thread().unwrap();
        let other = mm.clone();
        at(place, move || other.mprotect(BASE, 4 * PAGE, Prot::READ).unwrap());
        let fault = thread.write(page(1), &[1]).unwrap_err();
        assert_eq!(fault.cause, FaultCause::AccErr, "{place}");
        let pte = mm.page_tables().walker().unwrap().translate(page(1));
        assert!(pte.is_none_or(|pte| !pte.flags.contains(PageFlags::WRITE)), "{place}");
    }
}

/// Fault against munmap: a page left in a hole would show up in the next mapping there.
#[test]
fn a_fault_that_began_before_munmap_leaves_no_page_in_the_hole() {
    for place in ["fault: found", "fault: before the lock"] {
        let mm = mm();
        map(&mm, 0, 4, RW);
        map(&mm, 8, 4, RW);
        let thread = mm.thread().unwrap();
        // A neighbour's page: the leaf table stays.
        thread.write(page(8), &[1]).unwrap();
        let other = mm.clone();
        at(place, move || other.munmap(BASE, 4 * PAGE).unwrap());
        let fault = thread.write(page(1), &[1]).unwrap_err();
        assert_eq!((fault.addr, fault.cause), (page(1), FaultCause::MapErr), "{place}");
        assert_eq!(resident(&mm), 1, "{place}");
        map(&mm, 0, 4, RW);
        assert_eq!(byte(&thread, page(1)), 0, "{place}");
    }
}

/// Fault against unlink: the leaf table, linked for a neighbour, is unlinked with it during the
/// fault.
#[test]
fn a_fault_puts_nothing_into_a_table_that_is_unlinked() {
    let mm = mm();
    map(&mm, 0, 512, RW);
    let thread = mm.thread().unwrap();
    thread.write(page(0), &[1]).unwrap();
    let other = mm.clone();
    at("fault: before the lock", move || {
        other.munmap(BASE, LEAF).unwrap();
        map(&other, 0, 512, RW);
    });
    thread.fault(page(1), Access::Write).unwrap();
    assert_eq!(resident(&mm), 1, "the page went into an unlinked table");
    assert_eq!(byte(&thread, page(0)), 0);
}

/// Fault against munmap: no table is linked where a mapping is gone.
#[test]
fn a_fault_that_began_before_munmap_leaves_no_tables_over_the_hole() {
    let mm = mm();
    map(&mm, 0, 4, RW);
    let thread = mm.thread().unwrap();
    let other = mm.clone();
    let before = mm.page_tables().bytes();
    at("fault: found", move || other.munmap(BASE, 4 * PAGE).unwrap());
    thread.write(page(1), &[1]).unwrap_err();
    assert_eq!(mm.page_tables().bytes(), before);
}

/// Fault against a replaced mapping: the new one is published, and the old pages are not zapped
/// yet.
#[test]
fn a_fault_in_a_new_mapping_waits_until_the_old_pages_are_gone() {
    let mm = mm();
    map(&mm, 0, 4, RW);
    let thread = mm.thread().unwrap();
    for index in 0..4 {
        thread.write(page(index), &[1]).unwrap();
    }
    map(&mm, 4, 4, RW);
    // On another thread, since a writer would wait for itself. A fault next to the range ends
    // before the writer goes on, one inside does not.
    let (tell, told) = channel();
    let other = mm.clone();
    at("zap: published", move || {
        let (says, heard) = channel();
        let faults = std::thread::spawn(move || {
            let thread = other.thread().unwrap();
            thread.fault(page(5), Access::Write).unwrap();
            says.send("beside").unwrap();
            // It faults the page of the new mapping, and the store after it stays.
            thread.fault(page(2), Access::Write).unwrap();
            says.send("inside").unwrap();
            thread.write(page(2), &[9]).unwrap();
        });
        assert_eq!(heard.recv(), Ok("beside"));
        assert!(
            heard.recv_timeout(Duration::from_millis(50)).is_err(),
            "it did not wait"
        );
        tell.send((faults, heard)).unwrap();
    });
    map(&mm, 0, 4, RW);
    let (faults, _heard) = told.recv().unwrap();
    faults.join().unwrap();
    assert_eq!(byte(&thread, page(2)), 9, "the store was lost");
    assert_eq!(byte(&thread, page(1)), 0);
}

/// DONTNEED against munmap and mmap: the mapping that it found is gone, and another one is next to
/// it.
#[test]
fn a_stale_dontneed_drops_nothing_of_what_came_after() {
    let mm = mm();
    map(&mm, 0, 4, RW);
    let thread = mm.thread().unwrap();
    thread.write(page(0), &[1]).unwrap();
    let other = mm.clone();
    at("dontneed: found", move || {
        other.munmap(BASE, 4 * PAGE).unwrap();
        // Next to it, in the same leaf table.
        map(&other, 4, 4, RW);
        other.thread().unwrap().write(page(4), &[5]).unwrap();
    });
    let gone = thread.madvise(BASE, 4 * PAGE, Advice::DontNeed).unwrap_err();
    assert_eq!(gone.errno, Errno::ENOMEM);
    assert_eq!(byte(&thread, page(4)), 5);
}

/// Unlinking: no tables stay over holes.
#[test]
fn what_is_unmapped_leaves_no_tables_behind() {
    let mm = mm();
    let empty = mm.page_tables().bytes();
    let thread = mm.thread().unwrap();
    // Whole leaf tables, parts of them, ranges over two, and tables that DONTNEED has emptied.
    for (first, pages) in [(0, 512), (3, 10), (500, 40), (0, 2048), (700, 1)] {
        map(&mm, first, pages, RW);
        for index in (first..first + pages).step_by(7) {
            thread.write(page(index), &[1]).unwrap();
        }
        assert!(mm.page_tables().bytes() > empty);
        if pages == 40 {
            thread.madvise(page(first), pages * PAGE, Advice::DontNeed).unwrap();
        }
        mm.munmap(page(first), pages * PAGE).unwrap();
        assert_eq!((mm.page_tables().bytes(), resident(&mm)), (empty, 0), "{pages} pages");
    }
}

/// Fault against a merge: a mapping that has only grown does not send the fault back.
#[test]
fn a_fault_goes_on_in_a_mapping_that_has_only_grown() {
    let mm = mm();
    map(&mm, 0, 4, RW);
    let thread = mm.thread().unwrap();
    let grown = Arc::new(std::sync::atomic::AtomicU64::new(0));
    // More often than a fault tries before it queues up with the writers: if it were sent back, it
    // would reach the place again.
    for times in 1..=8 {
        let (other, grown) = (mm.clone(), Arc::clone(&grown));
        at("fault: before the lock", move || {
            map(&other, 4 * times, 4, RW);
            grown.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
    }
    thread.fault(page(1), Access::Write).unwrap();
    assert_eq!(grown.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(mm.map_count(), 1);
}

/// Counters: those of a table whose pages may be shared are not used.
#[test]
fn shares_of_pages_are_counted_exactly_where_pages_may_be_shared() {
    use crate::machine::Machine;
    use crate::pgtable::{Frames, PageTables, Pte};
    let machine: Soft = Soft::new(Ram::new(4 << 20).unwrap());
    let tables = PageTables::new(machine).unwrap();
    let walker = tables.walker().unwrap();
    let frames = tables.machine().frames();
    let flags = PageFlags::READ | PageFlags::DIRTY;
    let pfn = frames.take(1).pop().unwrap().into_pfn();
    for addr in [0, LEAF] {
        // SAFETY: the frame was taken above, and is mapped by these calls alone.
        unsafe { walker.map(VirtAddr(addr), Pte { pfn, flags }) }.unwrap();
    }
    let mut counts = PageCounts::default();
    walker.count(0..LEAF, CountBy::Counters, &mut counts);
    assert_eq!((counts.rss, counts.shared_dirty, counts.private_dirty), (PAGE, PAGE, 0));
    assert_eq!(counts.pss >> crate::pgtable::PSS_SHIFT, PAGE / 2);
    assert_eq!((counts.leaves_walked, counts.leaves_by_counters), (1, 0));
    tables.unmap(LEAF..2 * LEAF);
    let mut counts = PageCounts::default();
    walker.count(0..LEAF, CountBy::Counters, &mut counts);
    assert_eq!((counts.shared_dirty, counts.private_dirty), (0, PAGE));
}

/// Fault against fault: the second finds the page of the first.
#[test]
fn the_second_of_two_faults_keeps_the_page_of_the_first() {
    for access in [Access::Read, Access::Write] {
        let mm = mm();
        map(&mm, 0, 4, RW);
        let thread = mm.thread().unwrap();
        let other = mm.clone();
        at("fault: before the lock", move || {
            other.thread().unwrap().write(page(1), &[3]).unwrap();
        });
        thread.fault(page(1), access).unwrap();
        assert_eq!(byte(&thread, page(1)), 3, "{access:?}");
        assert_eq!(resident(&mm), 1);
    }
}

/// Fault against fault: the zero page is replaced by a written page during the fault.
#[test]
fn a_write_to_a_page_of_zeros_keeps_what_was_written_meanwhile() {
    let mm = mm();
    map(&mm, 0, 4, RW);
    let thread = mm.thread().unwrap();
    assert_eq!(byte(&thread, page(1)), 0);
    assert_eq!(resident(&mm), 0);
    let other = mm.clone();
    at("fault: before the lock", move || {
        let thread = other.thread().unwrap();
        thread.write(page(1), &[1, 2]).unwrap();
    });
    thread.write(page(1) + 1, &[9]).unwrap();
    assert_eq!(byte(&thread, page(1)), 1);
}

/// A stopped writer: it delays other writers and the faults that need it, and no other thread.
#[test]
fn a_stopped_writer_delays_no_ordinary_fault_and_no_monitor() {
    let mm = mm();
    map(&mm, 0, 8, RW);
    let thread = mm.thread().unwrap();
    thread.write(page(0), &[1]).unwrap();
    let other = mm.clone();
    at("zap: published", move || {
        // On another thread; all of it is done before the writer goes on.
        let work = move || {
            let thread = other.thread().unwrap();
            thread.write(page(6), &[6]).unwrap();
            thread.madvise(page(6), PAGE, Advice::DontNeed).unwrap();
            let reader = other.reader().unwrap();
            assert!(reader.read_lock().is_some());
            let mut counts = PageCounts::default();
            reader.walker().count(0..1 << 47, CountBy::Walk, &mut counts);
            assert_eq!(counts.rss, PAGE, "the page to be zapped is still there");
        };
        std::thread::spawn(work).join().unwrap();
    });
    mm.munmap(page(0), 4 * PAGE).unwrap();
    assert_eq!(resident(&mm), 0);
}

/// The zero page that a fault replaces appeared after the fault looked, and the notifier is told
/// all the same.
#[test]
fn a_page_of_zeros_that_came_meanwhile_gives_way_when_that_is_told() {
    #[derive(Default)]
    struct Told(Mutex<Vec<VirtRange>>);
    impl MmuNotifier for Arc<Told> {
        fn invalidate_range_start(&self, range: VirtRange) {
            self.0.lock().unwrap().push(range);
        }
        fn invalidate_range_end(&self, _: VirtRange) {}
    }
    // The fault looks again, or queues up as a writer.
    for changes in [0, 3] {
        let told = Arc::new(Told::default());
        let machine: Soft<X86_64, _, Arc<Told>> = Soft::with_notifier(Ram::new(4 << 20).unwrap(), Arc::clone(&told));
        let mm: Mm<MapleStore, _> = Mm::with_machine(Layout::default(), Limits::default(), machine).unwrap();
        mm.mmap(BASE, 4 * PAGE, RW, FIXED, None, 0).unwrap();
        let thread = mm.thread().unwrap();
        for change in 1..=changes.max(1) {
            let other = mm.clone();
            at("fault: before the lock", move || {
                if changes > 0 {
                    let prot = if change % 2 == 1 { RW | Prot::EXEC } else { RW };
                    other.mprotect(BASE, 4 * PAGE, prot).unwrap();
                }
                if change >= changes {
                    other.thread().unwrap().read(page(1), &mut [0]).unwrap();
                }
            });
        }
        thread.fault(page(1), Access::Write).unwrap();
        let told = std::mem::take(&mut *told.0.lock().unwrap());
        assert_eq!(told.len(), changes + 1, "{told:x?}");
        assert_eq!(told.last(), Some(&VirtRange::new(page(1), page(2))));
    }
}

/// An address space that is gone keeps no memory of pages, even if a monitor still has it.
#[test]
fn memory_of_pages_goes_with_the_last_user() {
    use crate::machine::Machine;
    use crate::pgtable::Frames;
    let ram = Ram::new(64 << 20).unwrap();
    let mm: Mm = Mm::with_machine(Layout::default(), Limits::default(), Soft::new(ram.clone())).unwrap();
    let reader = mm.reader().unwrap();
    let populate = FIXED | MapFlags::POPULATE;
    mm.mmap(BASE, 16 << 20, RW, populate, None, 0).unwrap();
    assert!(format!("{ram:?}").contains("frames: 4608"), "{ram:?}");
    drop(mm);
    assert!(format!("{ram:?}").contains("frames: 512"), "{ram:?}");
    // The memory is used again, and is zeroed.
    let mm: Mm = Mm::with_machine(Layout::default(), Limits::default(), Soft::new(ram.clone())).unwrap();
    mm.mmap(BASE, 16 << 20, RW, populate, None, 0).unwrap();
    assert_eq!(byte(&mm.thread().unwrap(), page(4000)), 0);
    assert!(reader.read_lock().is_none());
    let machine: &Soft = mm.page_tables().machine();
    assert_eq!(machine.frames().zero(), ram.zero());
}

/// The fault has a fresh page in hand while it tells a notifier, which panics.
#[test]
fn no_frame_is_lost_by_a_notifier_that_panics() {
    struct Panics;
    impl MmuNotifier for Panics {
        fn invalidate_range_start(&self, range: VirtRange) {
            assert!(range.len() > PAGE, "a notifier that panics");
        }

        fn invalidate_range_end(&self, _: VirtRange) {}
    }
    let ram = Ram::new(4 << 20).unwrap();
    let count = || ram.take(2000).len();
    let before = count();
    let machine: Soft<X86_64, _, Panics> = Soft::with_notifier(ram.clone(), Panics);
    let mm: Mm<MapleStore, _> = Mm::with_machine(Layout::default(), Limits::default(), machine).unwrap();
    mm.mmap(BASE, 4 * PAGE, RW, FIXED, None, 0).unwrap();
    let thread = mm.thread().unwrap();
    let other = mm.clone();
    at("fault: before the lock", move || {
        other.thread().unwrap().read(page(1), &mut [0]).unwrap();
    });
    let fault = std::panic::AssertUnwindSafe(|| thread.fault(page(1), Access::Write));
    assert!(std::panic::catch_unwind(fault).is_err());
    drop((thread, mm));
    assert_eq!(count(), before);
}
