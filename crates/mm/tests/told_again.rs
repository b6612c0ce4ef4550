//! Mappings change while a notifier blocks: the call tells it the new range too, and ends.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::{Arc, Mutex};

use vmaple_mm::pgtable::{Ram, X86_64};
use vmaple_mm::{Kref, Layout, Limits, MapFlags, MapleStore, Mm, MmuNotifier, Prot, Soft, VirtAddr, VirtRange};

const PAGE: u64 = 4096;
const READ: Prot = Prot::READ;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const FIRST: VirtAddr = VirtAddr(0x4000_0000);
const SECOND: VirtAddr = VirtAddr(FIRST.0 + PAGE);

type Space = Mm<MapleStore, Soft<X86_64, Kref<Ram>, Meddler>>;
type Meddling = Box<dyn FnMut() + Send>;

/// A notifier that makes other calls while it is told.
#[derive(Clone, Default)]
struct Meddler(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    told: Vec<VirtRange>,
    meddling: Option<Meddling>,
}

impl MmuNotifier for Meddler {
    fn invalidate_range_start(&self, range: VirtRange) {
        // The calls below tell too: they make no further calls.
        let meddling = {
            let mut state = self.0.lock().unwrap();
            state.told.push(range);
            state.meddling.take()
        };
        if let Some(mut meddling) = meddling {
            meddling();
            let mut state = self.0.lock().unwrap();
            if state.told.len() < 1000 {
                state.meddling = Some(meddling);
            }
        }
    }

    fn invalidate_range_end(&self, _: VirtRange) {}
}

/// Maps two pages, of which the first is writable.
fn two_pages() -> (Space, Meddler) {
    let meddler = Meddler::default();
    let machine = Soft::with_notifier(Ram::new(8 << 20).unwrap(), meddler.clone());
    let mm: Space = Mm::with_machine(Layout::default(), Limits::default(), machine).unwrap();
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    mm.mmap(FIRST, PAGE, RW, flags, None, 0).unwrap();
    mm.mmap(SECOND, PAGE, READ, flags, None, 0).unwrap();
    meddler.0.lock().unwrap().told.clear();
    (mm, meddler)
}

/// Makes both pages read-only, and returns the ranges told during this.
fn told_of_mprotect(mm: &Space, meddler: &Meddler, meddling: Meddling) -> Vec<VirtRange> {
    meddler.0.lock().unwrap().meddling = Some(meddling);
    mm.mprotect(FIRST, 2 * PAGE, READ).unwrap();
    let mut state = meddler.0.lock().unwrap();
    state.meddling = None;
    std::mem::take(&mut state.told)
}

#[test]
fn what_has_come_since_the_start_was_told_is_told_too() {
    let (mm, meddler) = two_pages();
    let other = mm.clone();
    let mut is_first = true;
    let meddling = move || {
        if std::mem::take(&mut is_first) {
            other.mprotect(SECOND, PAGE, RW).unwrap();
        }
    };
    let pages = |first: u64, end: u64| VirtRange::new(FIRST + first * PAGE, FIRST + end * PAGE);
    let told = told_of_mprotect(&mm, &meddler, Box::new(meddling));
    assert_eq!(told, [pages(0, 1), pages(1, 2), pages(0, 2)]);
}

#[test]
fn a_call_ends_although_what_it_would_change_goes_to_and_fro() {
    let (mm, meddler) = two_pages();
    let other = mm.clone();
    let mut is_second = false;
    let meddling = move || {
        is_second = !is_second;
        let prots = if is_second { [READ, RW] } else { [RW, READ] };
        other.mprotect(FIRST, PAGE, prots[0]).unwrap();
        other.mprotect(SECOND, PAGE, prots[1]).unwrap();
    };
    let told = told_of_mprotect(&mm, &meddler, Box::new(meddling));
    assert!(told.len() < 20, "one call has told {} starts", told.len());
}
