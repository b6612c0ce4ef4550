//! Processors that cache translations, and a notifier that blocks.
//!
//! No processor uses a new translation while another still uses an old one. Only the call that
//! tells the notifier waits for it.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod asleep;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use asleep::Watchdog;
use vmaple_mm::pgtable::{CountBy, Frames, PageCounts, PageFlags, PageTables, Pfn, Pte, Ram, X86_64};
use vmaple_mm::{
    Access, Advice, Errno, Kref, Layout, Limits, Machine, MapFlags, MapleStore, Mm, MmThread, MmuNotifier, Prot, Soft,
    VirtAddr, VirtRange,
};

const PAGE: u64 = 4096;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const ANON: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);
const AT: VirtAddr = VirtAddr(0x4000_0000);

/// A cached translation: a page, the address of its memory, and whether it may be written.
type Kept = Option<(VirtAddr, usize, bool)>;

#[derive(Default)]
struct State {
    /// Ranges whose start was told, and not yet their end.
    open: Vec<VirtRange>,
    kept: [Kept; 2],
    told: Vec<VirtRange>,
    /// The next start reports that it is reached, and waits.
    gate: Option<(Sender<&'static str>, Receiver<()>)>,
    /// The next start panics.
    panics: bool,
}

#[derive(Clone, Default)]
struct Tlbs(Arc<Mutex<State>>);

impl Tlbs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> Vec<VirtRange> {
        std::mem::take(&mut self.state().told)
    }
}

impl MmuNotifier for Tlbs {
    fn invalidate_range_start(&self, range: VirtRange) {
        let panics = std::mem::take(&mut self.state().panics);
        assert!(!panics, "a notifier that panics");
        let gate = self.state().gate.take();
        if let Some((reached, go)) = gate {
            // Wait until all processors have taken the interrupt.
            reached.send("told").unwrap();
            go.recv().unwrap();
        }
        let mut state = self.state();
        let ends = |kept: &Kept| kept.is_some_and(|(page, ..)| page < range.end && page + PAGE > range.start);
        state
            .kept
            .iter_mut()
            .filter(|kept| ends(kept))
            .for_each(|kept| *kept = None);
        state.told.push(range);
        state.open.push(range);
    }

    fn invalidate_range_end(&self, range: VirtRange) {
        let mut state = self.state();
        let open = state.open.iter().position(|open| *open == range);
        state.open.swap_remove(open.expect("an end whose start was told"));
    }
}

type Emulated = Soft<X86_64, Kref<Ram>, Tlbs>;
type Thread = MmThread<MapleStore, Emulated>;

fn new(tlbs: &Tlbs) -> (Mm<MapleStore, Emulated>, Kref<Ram>) {
    let ram = Ram::new(8 << 20).unwrap();
    let machine = Emulated::with_notifier(ram.clone(), tlbs.clone());
    let mm = Mm::with_machine(Layout::default(), Limits::default(), machine).unwrap();
    (mm, ram)
}

/// A processor that caches translations.
struct Cpu {
    number: usize,
    thread: Thread,
    tlbs: Tlbs,
}

impl Cpu {
    fn access(&self, addr: VirtAddr, is_write: bool, access: impl Fn(*mut u8)) {
        let page = addr.page_floor();
        loop {
            let state = self.tlbs.state();
            if let Some((kept, memory, writable)) = state.kept[self.number]
                && kept == page
                && (writable || !is_write)
            {
                let byte = memory + (addr - page) as usize;
                // Under the lock of the cache, since a start waits for its users.
                access(std::ptr::with_exposed_provenance_mut(byte));
                return;
            }
            drop(state);
            let how = if is_write { Access::Write } else { Access::Read };
            let mut once = false;
            let keep = |memory: std::ptr::NonNull<u8>| {
                let mut state = self.tlbs.state();
                if state.open.iter().any(|range| range.contains(page)) {
                    // SAFETY: in the page.
                    access(unsafe { memory.add((addr - page) as usize) }.as_ptr());
                    once = true;
                } else {
                    state.kept[self.number] = Some((page, memory.as_ptr().expose_provenance(), is_write));
                }
            };
            self.thread.with_page(page, how, keep).unwrap();
            if once {
                return;
            }
        }
    }

    fn load(&self, addr: VirtAddr) -> u8 {
        let seen = std::cell::Cell::new(0);
        self.access(addr, false, |byte| {
            // SAFETY: a byte of a page that is lent or cached; all accesses are atomic.
            let byte = unsafe { AtomicU8::from_ptr(byte) };
            seen.set(byte.load(Ordering::Acquire));
        });
        seen.get()
    }

    fn store(&self, addr: VirtAddr, value: u8) {
        self.access(addr, true, |byte| {
            // SAFETY: as in `load`.
            let byte = unsafe { AtomicU8::from_ptr(byte) };
            byte.store(value, Ordering::Release);
        });
    }
}

/// One thread is in `call`, which has told the start and waits for it. Another thread stores, and a
/// processor with an old translation loads what was stored.
fn stays_coherent(name: &str, before: impl Fn(&Thread), x: VirtAddr, call: impl FnOnce(&Thread) + Send) {
    let tlbs = Tlbs::default();
    let (mm, _ram) = new(&tlbs);
    mm.mmap(AT, 4 * PAGE, RW, ANON | MapFlags::FIXED, None, 0).unwrap();
    let cpu = |number| Cpu {
        number,
        thread: mm.thread().unwrap(),
        tlbs: tlbs.clone(),
    };
    let (caller, one, two) = (mm.thread().unwrap(), cpu(0), cpu(1));
    before(&caller);
    one.load(x);
    assert!(tlbs.state().kept[0].is_some());
    tlbs.told();
    let (reached, told) = channel();
    let (go, wait) = channel();
    tlbs.state().gate = Some((reached.clone(), wait));
    thread::scope(|scope| {
        let caller = scope.spawn(move || {
            call(&caller);
            let _ = reached.send("done");
        });
        assert_eq!(told.recv(), Ok("told"), "{name}: it did not tell");
        // If the place were free already, another thread would map there.
        let _ = mm.mmap(x.page_floor(), PAGE, RW, ANON | MapFlags::FIXED_NOREPLACE, None, 0);
        two.store(x, 0x5a);
        assert_eq!(one.load(x), 0x5a, "{name}: a store was seen, and then not");
        // No other thread waits for the notifier.
        let elsewhere = mm.mmap(VirtAddr(0), PAGE, RW, ANON, None, 0).unwrap();
        two.thread.write(elsewhere, &[1]).unwrap();
        two.thread.write(x + 1, &[2]).unwrap();
        mm.munmap(AT + 2 * PAGE, PAGE).ok();
        let reader = mm.reader().unwrap();
        assert!(reader.read_lock().is_some());
        reader
            .walker()
            .count(0..1 << 47, CountBy::Walk, &mut PageCounts::default());
        go.send(()).unwrap();
        caller.join().unwrap();
    });
    assert!(tlbs.state().open.is_empty(), "{name}: starts without an end");
    let mut now = [0];
    match two.thread.read(x, &mut now) {
        Ok(()) => assert_eq!(one.load(x), now[0], "{name}: an old translation"),
        Err(_) => assert_eq!(tlbs.state().kept[0], None, "{name}: a translation of what is gone"),
    }
}

#[test]
fn nobody_uses_a_new_page_while_an_old_one_is_used() {
    let _watchdog = Watchdog::new();
    let untouched = |_: &Thread| ();
    let written = |thread: &Thread| thread.write(AT, &[7]).unwrap();
    stays_coherent("a first write to a page that was read", untouched, AT, |thread| {
        thread.write(AT + 8, &[7]).unwrap();
    });
    stays_coherent("MADV_POPULATE_WRITE of a page that was read", untouched, AT, |thread| {
        thread.madvise(AT, 2 * PAGE, Advice::PopulateWrite).unwrap();
    });
    let fixed = |thread: &Thread| {
        thread.mmap(AT, PAGE, RW, ANON | MapFlags::FIXED, None, 0).unwrap();
    };
    stays_coherent("mmap over a page", written, AT, fixed);
    stays_coherent("mmap over a page of zeros", untouched, AT, fixed);
    stays_coherent("munmap", written, AT, |thread| thread.mm().munmap(AT, PAGE).unwrap());
    stays_coherent("DONTNEED", written, AT, |thread| {
        thread.madvise(AT, PAGE, Advice::DontNeed).unwrap();
    });
    stays_coherent("mprotect", written, AT, |thread| {
        thread.mm().mprotect(AT, PAGE, Prot::READ).unwrap();
    });
    let heap = Layout::default().start_brk;
    let grown = move |thread: &Thread| {
        thread.mm().brk(heap + 2 * PAGE);
        thread.write(heap + PAGE, &[7]).unwrap();
    };
    stays_coherent("brk", grown, heap + PAGE, move |thread| {
        thread.mm().brk(heap + PAGE);
    });
}

/// Each range is told once. A call that ends no translation tells none.
#[test]
fn calls_tell_what_they_end_and_no_more() {
    let _watchdog = Watchdog::new();
    let tlbs = Tlbs::default();
    let (mm, _ram) = new(&tlbs);
    let thread = mm.thread().unwrap();
    let page = |index: u64| AT + index * PAGE;
    let range = |first: u64, end: u64| VirtRange::new(page(first), page(end));
    let fixed = ANON | MapFlags::FIXED;
    mm.mmap(AT, 4 * PAGE, RW, fixed, None, 0).unwrap();
    thread.write(AT, &[1]).unwrap();
    mm.munmap(page(8), PAGE).unwrap();
    assert_eq!(tlbs.told(), []);
    mm.mprotect(AT, PAGE, Prot::READ).unwrap();
    thread.madvise(page(1), PAGE, Advice::DontNeed).unwrap();
    mm.munmap(page(2), 2 * PAGE).unwrap();
    mm.mmap(AT, 2 * PAGE, RW, fixed, None, 0).unwrap();
    assert_eq!(tlbs.told(), [range(0, 1), range(1, 2), range(2, 4), range(0, 2)]);
    thread.read(page(1), &mut [0]).unwrap();
    assert_eq!(tlbs.told(), []);
    thread.write(page(1), &[1]).unwrap(); // the page of zeros gives way
    thread.write(page(1), &[2]).unwrap();
    assert_eq!(tlbs.told(), [range(1, 2)]);
    // The part that mprotect changed before it failed.
    mm.mprotect(AT, 8 * PAGE, Prot::READ).unwrap_err();
    assert_eq!(tlbs.told(), [range(0, 2)]);
    drop((thread, mm));
    assert_eq!(tlbs.told(), [VirtRange::new(VirtAddr(0), Layout::default().task_size)]);
    assert!(tlbs.state().open.is_empty());
}

/// Page tables alone: [`PageTables::unmap`], [`PageTables::protect`], and drop.
#[test]
fn page_tables_that_are_dropped_tell_of_the_pages_in_them() {
    let (tlbs, ram) = (Tlbs::default(), Ram::new(4 << 20).unwrap());
    let new = || PageTables::new(Emulated::with_notifier(ram.clone(), tlbs.clone())).unwrap();
    drop(new());
    assert_eq!(tlbs.told(), []);
    let tables = new();
    let pfn = map(&tables, 0x7000);
    tables.protect(0x7000..0x8000, PageFlags::READ);
    tables.unmap(0x7000..0x8000);
    assert_eq!(tlbs.told(), [VirtRange::from(0x7000..0x8000); 2]);
    assert_eq!(map(&tables, 0x7000), pfn);
    drop(tables);
    assert_eq!(tlbs.told(), [VirtRange::from(0..0x7fff_ffff_f000)]);
    assert!(tlbs.state().open.is_empty() && is_free(&ram, pfn));
}

fn map(tables: &PageTables<Emulated>, addr: u64) -> Pfn {
    let pfn = tables.machine().frames().take(1).pop().unwrap().into_pfn();
    let flags = PageFlags::READ | PageFlags::WRITE;
    // SAFETY: the frame was just taken.
    unsafe { tables.walker().unwrap().map(VirtAddr(addr), Pte { pfn, flags }) }.unwrap();
    pfn
}

/// Whether a frame is free.
fn is_free(ram: &Kref<Ram>, pfn: Pfn) -> bool {
    let mut taken = ram.take(512);
    std::iter::from_fn(|| taken.pop()).any(|frame| frame.pfn() == pfn)
}

/// After a panic of the notifier no page has gone, and all calls work.
#[test]
fn a_call_whose_notifier_panics_has_changed_nothing() {
    let _watchdog = Watchdog::new();
    let tlbs = Tlbs::default();
    let (mm, ram) = new(&tlbs);
    let fixed = ANON | MapFlags::FIXED;
    mm.mmap(AT, 4 * PAGE, RW, fixed, None, 0).unwrap();
    let thread = mm.thread().unwrap();
    thread.write(AT, &[7; 3 * PAGE as usize]).unwrap();
    thread.read(AT + 3 * PAGE, &mut [0]).unwrap(); // of zeros
    let frames = || [0, 1, 2, 3].map(|page| mm.reader().unwrap().walker().translate(AT + page * PAGE));
    let before = frames();
    let calls: [(&str, &dyn Fn()); 5] = [
        ("mmap", &|| _ = mm.mmap(AT, PAGE, RW, fixed, None, 0)),
        ("munmap", &|| _ = mm.munmap(AT, PAGE)),
        ("mprotect", &|| _ = mm.mprotect(AT, PAGE, Prot::READ)),
        ("DONTNEED", &|| _ = thread.madvise(AT, PAGE, Advice::DontNeed)),
        ("a first write", &|| _ = thread.write(AT + 3 * PAGE, &[1])),
    ];
    for (name, call) in calls {
        let change = mm.change();
        tlbs.state().panics = true;
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "{name} told no notifier");
        assert_eq!((frames(), mm.change(), mm.map_count()), (before, change, 1), "{name}");
        assert!(tlbs.state().open.is_empty(), "{name}");
    }
    for (_, call) in calls {
        call();
    }
    assert_ne!(frames()[0], before[0]);
    // The last user: the mappings stay, and go with the last reference to the address space.
    thread.write(AT + PAGE, &[1]).unwrap();
    let pfn = frames()[1].unwrap().pfn;
    let grabbed = mm.grab();
    drop(thread);
    tlbs.told();
    tlbs.state().panics = true;
    assert!(catch_unwind(AssertUnwindSafe(move || drop(mm))).is_err());
    assert!(grabbed.is_gone() && !is_free(&ram, pfn));
    assert_eq!(grabbed.upgrade().map(|_| ()), None);
    drop(grabbed);
    assert_eq!(tlbs.told().len(), 1);
    assert!(is_free(&ram, pfn));
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn page_tables_that_are_dropped_untold_end_the_program() {
    const NAME: &str = "page_tables_that_are_dropped_untold_end_the_program";
    if std::env::var_os(NAME).is_some() {
        let tlbs = Tlbs::default();
        let tables = PageTables::new(Emulated::with_notifier(Ram::new(4 << 20).unwrap(), tlbs.clone())).unwrap();
        map(&tables, 0x7000);
        tlbs.state().panics = true;
        let _ = catch_unwind(AssertUnwindSafe(move || drop(tables)));
        return; // which is a success
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", NAME, "--nocapture"])
        .env(NAME, "1")
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("others may still use their frames"), "{said}");
}

/// The message about a mapping that is gone.
#[test]
fn a_call_that_fails_tells_nothing() {
    let tlbs = Tlbs::default();
    let (mm, _ram) = new(&tlbs);
    mm.mmap(AT, 3 * PAGE, RW, ANON | MapFlags::FIXED, None, 0).unwrap();
    let mut limits = Limits::default();
    limits.max_map_count = 1;
    mm.set_limits(limits).unwrap();
    let split = mm.munmap(AT + PAGE, PAGE).unwrap_err();
    assert_eq!(split.errno, Errno::ENOMEM);
    assert_eq!(tlbs.told(), []);
}
