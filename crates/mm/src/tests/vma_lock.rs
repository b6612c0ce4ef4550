//! Readers against writers in the model of v6.17: each race, made certain by a fail point.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread;

use crate::fail_point::{at, reach};
use crate::store::{Call, VmaLockStore, VmaRead, VmaStore, VmaWrite};
use crate::vma::Vma;
use crate::{Layout, Limits, MapFlags, Mm, PAGE_SIZE, Prot, Role, VirtAddr, VirtRange, VmaState};

const AT: u64 = 0x10_0000;

/// Makes an address space with a mapping of one page at each address.
fn mm(addrs: &[u64]) -> Mm<VmaLockStore> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    addrs.iter().for_each(|&addr| map(&mm, addr));
    mm
}

fn map(mm: &Mm<VmaLockStore>, addr: u64) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(VirtAddr(addr), PAGE_SIZE, Prot::READ, flags, None, 0).unwrap();
}

fn unmap(mm: &Mm<VmaLockStore>, addr: u64) {
    mm.munmap(VirtAddr(addr), PAGE_SIZE).unwrap();
}

/// A search of a reader.
type Look = fn(&<VmaLockStore as VmaStore>::Section<'_>) -> Option<u64>;

/// The first VMA above 0, and the last one.
const FIRST: Look = |section| section.find(VirtAddr(0)).map(start_if_live);
const LAST: Look = |section| section.find_prev(VirtAddr(100 * AT)).map(start_if_live);

fn start_if_live(vma: &Vma) -> u64 {
    assert_eq!(vma.state(), VmaState::Live);
    vma.range().start.0
}

/// Runs a search while a writer acts between its look into the tree and the lock. Returns what it
/// found, and whether it fell back.
fn find_while(mm: &Mm<VmaLockStore>, look: Look, acts: fn(&Mm<VmaLockStore>)) -> (Option<u64>, bool) {
    let fell_back = Rc::new(Cell::new(false));
    let (writer, falls_back) = (mm.clone(), Rc::clone(&fell_back));
    at("vma lock: found", move || acts(&writer));
    at("vma lock: lost the race", move || falls_back.set(true));
    let reader = mm.store().reader().unwrap();
    let found = look(&VmaLockStore::read_lock(&reader));
    let lost = fell_back.get();
    // An action that did not run must not run later.
    reach("vma lock: lost the race");
    (found, lost)
}

#[test]
fn a_reader_of_what_is_taken_out_looks_again_without_mmap_lock() {
    let mm = mm(&[AT, 2 * AT, 3 * AT]);
    assert_eq!(find_while(&mm, FIRST, |mm| unmap(mm, AT)), (Some(2 * AT), false));
    assert_eq!(find_while(&mm, LAST, |mm| unmap(mm, 3 * AT)), (Some(2 * AT), false));
    assert_eq!(find_while(&mm, FIRST, |mm| unmap(mm, 2 * AT)), (None, false));
}

#[test]
fn a_gap_that_has_been_filled_is_not_told_of() {
    let mm = mm(&[2 * AT]);
    assert_eq!(find_while(&mm, FIRST, |mm| map(mm, AT)), (Some(AT), true));
    assert_eq!(find_while(&mm, LAST, |mm| map(mm, 3 * AT)), (Some(3 * AT), true));
    // Calls elsewhere, or none, make no difference.
    assert_eq!(find_while(&mm, FIRST, |mm| unmap(mm, 2 * AT)), (Some(AT), false));
    assert_eq!(find_while(&mm, FIRST, |_| ()), (Some(AT), false));
}

#[test]
fn what_a_writer_puts_in_is_locked_until_it_gives_mmap_lock_up() {
    let mm = mm(&[AT]);
    let (published, is_published) = channel();
    let (lost, has_lost) = channel();
    thread::scope(|scope| {
        let writer = mm.clone();
        scope.spawn(move || {
            let range = VirtRange::from(AT..AT + 2 * PAGE_SIZE);
            let mut write = writer.store().write(4, &Call(())).unwrap();
            let vma = Vma::new(range, 0, write.find(VirtAddr(0)).unwrap().mapping(), Role::None);
            assert!(write.replace(range, &mut [Some(vma), None, None]).is_ok());
            write.commit(|| (), || ());
            published.send(()).unwrap();
            assert_eq!(has_lost.recv().unwrap(), "in time");
        });
        is_published.recv().unwrap();
        let late = lost.clone();
        at("vma lock: lost the race", move || lost.send("in time").unwrap());
        let reader = mm.store().reader().unwrap();
        let section = VmaLockStore::read_lock(&reader);
        let found = section.find(VirtAddr(0));
        let _ = late.send("never");
        reach("vma lock: lost the race");
        assert_eq!(found.map(Vma::pages), Some(2));
    });
}
