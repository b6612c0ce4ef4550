//! Short of memory, every call says so and changes nothing. Once warm, no call asks for memory.
//!
//! The allocator of this test refuses memory to the threads that want to be refused.

#![cfg(all(not(loom), feature = "std"))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;
use std::io::Read;

use vmaple_mm::pgtable::CountBy;
use vmaple_mm::{
    Advice, Errno, Error, File, Kref, Layout, Limits, MapFlags, MapleStore, Mm, PAGE_SIZE, Prot, RbStore, VirtAddr,
    VmaStore,
};
use vmaple_proc::{Maps, Name, Pagemap, QueryFlags, Smaps, SmapsRollup, Statm, Status};

thread_local! {
    /// Allocations of this thread that succeed before all others fail; negative: all succeed.
    static LEFT: Cell<isize> = const { Cell::new(-1) };
    /// Those that were refused.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
    /// Calls of the allocator by this thread.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

struct Refusing;

// SAFETY: the system's allocator, or null, which the trait allows.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Memory) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        match LEFT.get() {
            0 => {
                REFUSED.set(REFUSED.get() + 1);
                return std::ptr::null_mut();
            }
            left => LEFT.set((left - 1).max(-1)),
        }
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Memory) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Runs `work` with that many allocations.
fn with_allocations<T>(left: isize, work: impl FnOnce() -> T) -> T {
    LEFT.set(left);
    let result = work();
    LEFT.set(-1);
    result
}

const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::FIXED).union(MapFlags::ANONYMOUS);
const RW: Prot = Prot::READ.union(Prot::WRITE);
const BASE: u64 = 0x10_0000;

fn at(page: u64) -> VirtAddr {
    VirtAddr(BASE + page * PAGE_SIZE)
}

fn map<S: VmaStore>(mm: &Mm<S>, page: u64, pages: u64, file: Option<&Kref<File>>) {
    let flags = if file.is_some() {
        MapFlags::PRIVATE | MapFlags::FIXED
    } else {
        ANONYMOUS
    };
    mm.mmap(at(page), pages * PAGE_SIZE, RW, flags, file, 0).unwrap();
}

/// Makes a mapping of a file whose path no buffer holds, and others of three pages, with holes.
fn space<S: VmaStore>(mappings: u64) -> Mm<S> {
    let mm = Mm::new(Layout::default(), Limits::default()).unwrap();
    let file = File::new((8, 1), 7, vec![b'x'; 9000]).unwrap();
    map(&mm, 0, 3, Some(&file));
    (1..mappings).for_each(|i| map(&mm, i * 4, 3, None));
    mm
}

/// Makes the same, and maps more until the store has no memory left for another mapping, neither
/// between others nor at the end.
fn exhausted<S: VmaStore>(mappings: u64) -> Mm<S> {
    let mm = space(mappings);
    with_allocations(0, || {
        let more = |addr: VirtAddr| mm.mmap(addr, 3 * PAGE_SIZE, RW, ANONYMOUS, None, 0).is_ok();
        assert!((mappings..10_000).any(|i| !more(at(i * 4))), "memory never ends");
        let above = mm.layout().start_brk + 100 * PAGE_SIZE;
        assert!(
            (0..10_000).any(|i| !more(above + i * 4 * PAGE_SIZE)),
            "memory never ends"
        );
    });
    mm
}

fn text<S: VmaStore>(mm: &Mm<S>) -> Vec<u8> {
    let mut text = Vec::new();
    Maps::open(mm).unwrap().read_to_end(&mut text).unwrap();
    text
}

/// Fails each allocation of `call` in turn, until it succeeds, in address spaces whose stores have
/// no memory left; some must have been refused.
fn fail_each<S: VmaStore, T>(what: &str, mut call: impl FnMut(&Mm<S>) -> Result<T, Error>) {
    let (mut failed, refused) = (0, REFUSED.get());
    for mappings in 5..8 {
        for left in 0.. {
            let mm = exhausted::<S>(mappings);
            let (before, so_far) = (text(&mm), REFUSED.get());
            let result = with_allocations(left, || call(&mm).map(drop));
            if let Err(error) = result {
                assert_eq!(error.errno, Errno::ENOMEM, "{what}: {error}");
                assert!(
                    text(&mm) == before,
                    "{what}, without memory: the address space was changed"
                );
                call(&mm).unwrap_or_else(|error| panic!("{what}, with memory again: {error}"));
                failed += 1;
            } else if REFUSED.get() == so_far {
                break;
            }
        }
    }
    println!(
        "{what}: failed {failed} times, {} allocations refused",
        REFUSED.get() - refused
    );
    assert!(failed > 0, "{what}: nothing was short");
}

fn calls_fail_well<S: VmaStore>() {
    let file = File::new((8, 1), 8, b"/bin/true".as_slice()).unwrap();
    fail_each::<S, _>("mmap", |mm| mm.mmap(at(2), 0x5000, Prot::READ, ANONYMOUS, None, 0));
    fail_each::<S, _>("mmap inside of one", |mm| {
        mm.mmap(at(5), 0x1000, Prot::READ, ANONYMOUS, None, 0)
    });
    fail_each::<S, _>("mmap anywhere", |mm| {
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        mm.mmap(VirtAddr(0), 0x1000, Prot::READ, flags, None, 0)
    });
    fail_each::<S, _>("mmap of a file", |mm| {
        mm.mmap(
            at(5),
            0x1000,
            Prot::READ,
            MapFlags::SHARED | MapFlags::FIXED,
            Some(&file),
            0,
        )
    });
    fail_each::<S, _>("mmap of shared memory", |mm| {
        let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::FIXED;
        mm.mmap(at(5), 0x1000, Prot::READ, flags, None, 0)
    });
    fail_each::<S, _>("munmap", |mm| mm.munmap(at(5), 0x1000));
    fail_each::<S, _>("munmap of all", |mm| mm.munmap(at(0), 4000 * PAGE_SIZE));
    fail_each::<S, _>("mprotect", |mm| mm.mprotect(at(5), 0x1000, Prot::READ));
    fail_each::<S, _>("set_anon_vma_name", |mm| {
        mm.set_anon_vma_name(at(5), 0x1000, Some(b"arena"))
    });
    fail_each::<S, _>("brk", |mm| {
        let (wanted, pages) = (mm.layout().start_brk + 0x3000, mm.total_vm());
        let why = "the break stays";
        match (mm.brk(wanted) == wanted, mm.total_vm() == pages + 3) {
            (true, true) => Ok(()),
            (false, false) => Err(Error {
                errno: Errno::ENOMEM,
                why,
            }),
            _ => Err(Error {
                errno: Errno::EINVAL,
                why: "brk reports a break that is not there",
            }),
        }
    });
    fail_each::<S, _>("new", |_| Mm::<S>::new(Layout::default(), Limits::default()));
    fail_each::<S, _>("open", |mm| Maps::open(mm));
    fail_each::<S, _>("open smaps", |mm| Smaps::open(mm));
    fail_each::<S, _>("open smaps_rollup", |mm| SmapsRollup::open(mm, CountBy::Walk));
    fail_each::<S, _>("open pagemap", |mm| Pagemap::open(mm));
    fail_each::<S, _>("open statm", |mm| Statm::open(mm));
    fail_each::<S, _>("open status", |mm| Status::open(mm));
    // Sixteen readers have a place together.
    fail_each::<S, _>("many open", |mm| {
        (0..20).map(|_| Maps::open(mm)).try_for_each(|maps| maps.map(drop))
    });
}

#[test]
fn a_call_that_fails_for_want_of_memory_changes_nothing() {
    calls_fail_well::<MapleStore>();
    calls_fail_well::<RbStore>();
    fail_each::<MapleStore, _>("snapshot", |mm| Maps::snapshot(mm));
    fail_each::<MapleStore, _>("snapshot of smaps", |mm| Smaps::snapshot(mm));
}

#[test]
fn a_reader_without_memory_for_a_long_line_tries_again() {
    let mm: Mm = space(140);
    let whole = text(&mm);
    for left in 0..2 {
        let mut maps = Maps::open(&mm).unwrap();
        let mut buffer = [0; 4096];
        let error = with_allocations(0, || maps.query(VirtAddr(BASE), QueryFlags::empty()).map(drop)).unwrap_err();
        assert_eq!(error.errno, Errno::ENOMEM);
        let error = with_allocations(0, || maps.next_record().map(drop)).unwrap_err();
        assert_eq!(error.errno, Errno::ENOMEM);
        for _ in 0..3 {
            let result = with_allocations(left, || maps.read(&mut buffer));
            match left {
                0 => assert_eq!(result.unwrap_err().errno, Errno::ENOMEM),
                _ => break,
            }
        }
        maps.rewind();
        let mut read = Vec::new();
        maps.read_to_end(&mut read).unwrap();
        assert!(read == whole);
    }
    let mut smaps = Smaps::open(&mm).unwrap();
    let mut buffer = [0; 4096];
    for _ in 0..3 {
        let refused = with_allocations(0, || [smaps.next_record().map(drop), smaps.read(&mut buffer).map(drop)]);
        assert!(refused.iter().all(|result| result.unwrap_err().errno == Errno::ENOMEM));
    }
    assert_eq!(
        smaps.next_record().unwrap().unwrap().vma.name,
        Name::Path(&[b'x'; 9000])
    );
}

#[test]
fn an_address_space_ends_even_without_memory() {
    fn check<S: VmaStore>() {
        for mappings in 5..8 {
            let mm = exhausted::<S>(mappings);
            let monitor = Maps::open(&mm).unwrap();
            with_allocations(0, || drop(mm));
            drop(monitor);
        }
    }
    check::<MapleStore>();
    check::<RbStore>();
}

/// Checks what is on timed paths: the calls of the application, and its monitors' reads.
#[test]
fn what_is_warm_neither_allocates_nor_frees() {
    fn check<S: VmaStore>() {
        let mm = space::<S>(2_000);
        let mut maps = Maps::open(&mm).unwrap();
        let (mut smaps, mut statm) = (Smaps::open(&mm).unwrap(), Statm::open(&mm).unwrap());
        let mut rollups = [CountBy::Walk, CountBy::Counters].map(|by| SmapsRollup::open(&mm, by).unwrap());
        let (mut status, mut pagemap) = (Status::open(&mm).unwrap(), Pagemap::open(&mm).unwrap());
        let thread = mm.thread().unwrap();
        let mut buffer = vec![0; 128 << 10];
        let mut random = fastrand::Rng::with_seed(1);
        let mut turn = |rounds: usize| {
            for _ in 0..rounds {
                let page = random.u64(1..2_000) * 4;
                mm.munmap(at(page + 1), PAGE_SIZE).unwrap();
                mm.mprotect(at(page), PAGE_SIZE, Prot::READ).unwrap();
                map(&mm, page, 3, None);
                let start = mm.layout().start_brk;
                mm.brk(start + random.u64(1..9) * PAGE_SIZE);
                maps.read(&mut buffer).unwrap();
                maps.query(at(page), QueryFlags::empty()).unwrap();
                if maps.next_record().unwrap().is_none() {
                    maps.rewind();
                }
                if random.u32(..4) > 0 {
                    continue;
                }
                // Tables come and go with the pages of the heap, and of what is mapped far away.
                thread.write(start, &[1]).unwrap();
                let far = start + (1 << 30) + random.u64(..3) * (1 << 21);
                mm.mmap(far, PAGE_SIZE, RW, ANONYMOUS, None, 0).unwrap();
                thread.write(far, &[1]).unwrap();
                thread.madvise(start, PAGE_SIZE, Advice::DontNeed).unwrap();
                smaps.read(&mut buffer).unwrap();
                if smaps.next_record().unwrap().is_none() {
                    smaps.rewind();
                }
                pagemap.read_at(far.0 / PAGE_SIZE * 8, &mut buffer[..800]).unwrap();
                mm.munmap(far, PAGE_SIZE).unwrap();
                if random.u32(..100) == 0 {
                    let [walk, add] = &mut rollups;
                    let files: [&mut dyn Read; 4] = [walk, add, &mut statm, &mut status];
                    for file in files {
                        assert!(file.read(&mut buffer).unwrap() > 0);
                    }
                    rollups.iter_mut().for_each(SmapsRollup::rewind);
                    statm.rewind();
                    status.rewind();
                }
            }
        };
        // The pools, the list of readers and the buffers get what they need once.
        turn(5_000);
        let before = CALLS.get();
        turn(20_000);
        assert_eq!(CALLS.get() - before, 0, "calls of the allocator");
    }
    check::<MapleStore>();
    check::<RbStore>();
}
