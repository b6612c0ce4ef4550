//! Rules of Linux that are easily missed, one by one, in each store. The differential test checks
//! them against the running kernel (`crates/conformance/tests/differential.rs`). These tests
//! need no such kernel, and cover other architectures.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use vmaple_mm::pgtable::{Arch, PageFlags, Ram, Sv39, X86_64};
use vmaple_mm::{
    Access, Advice, Errno, Error, FaultCause, File, Layout, Limits, MapFlags, MapleStore, Mm, PartialEffects, Prot,
    RbStore, Soft, VirtAddr, VmFlags, VmaLockStore, VmaRead, VmaStore,
};

const PAGE: u64 = 0x1000;
const BASE: u64 = 0x10_0000_0000;
const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);
const RW: Prot = Prot::READ.union(Prot::WRITE);
const GIB: u64 = 1 << 30;

type On<S, A> = Mm<S, Soft<A>>;

fn new<S: VmaStore, A: Arch>(limits: Limits) -> On<S, A> {
    let mut layout = Layout::default();
    layout.task_size = A::TASK_SIZE;
    layout.mmap_base = A::TASK_SIZE;
    layout.start_brk = VirtAddr(PAGE * 16);
    Mm::with_machine(layout, limits, Soft::new(Ram::new(1 << 20).unwrap())).unwrap()
}

fn at(page: u64) -> VirtAddr {
    VirtAddr(BASE + page * PAGE)
}

fn map<S: VmaStore, A: Arch>(mm: &On<S, A>, addr: u64, len: u64, prot: Prot, flags: MapFlags) -> Result<u64, Error> {
    mm.mmap(VirtAddr(addr), len, prot, flags, None, 0).map(|addr| addr.0)
}

fn fixed<S: VmaStore, A: Arch>(mm: &On<S, A>, first: u64, pages: u64, prot: Prot) -> Result<u64, Error> {
    map(mm, at(first).0, pages * PAGE, prot, ANONYMOUS | MapFlags::FIXED)
}

/// Returns the mappings by first page and end, in pages from `BASE`.
fn ranges<S: VmaStore, A: Arch>(mm: &On<S, A>) -> Vec<(u64, u64)> {
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    let page = |addr: VirtAddr| (addr.0 - BASE) / PAGE;
    section
        .iter_from(VirtAddr(0))
        .map(|vma| (page(vma.start()), page(vma.end())))
        .collect()
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    result.unwrap_err().errno
}

/// A test of each store.
macro_rules! of_each {
    ($($name:ident)*) => {
        mod maple { $( #[test] fn $name() { super::$name::<super::MapleStore>(); } )* }
        mod rb { $( #[test] fn $name() { super::$name::<super::RbStore>(); } )* }
        mod vma_lock { $( #[test] fn $name() { super::$name::<super::VmaLockStore>(); } )* }
    };
}

of_each! {
    a_refused_fetch_brings_in_the_page_that_a_read_would_where_linux_takes_it_for_one
    droppable_memory_is_private_anonymous_memory_of_its_own_kind
    low_mappings_go_from_1_gib_up_to_2_gib_or_to_a_lower_hint
    high_mappings_do_not_go_below_4_gib
    an_architecture_without_low_mappings_ignores_their_flags
    what_is_not_built_is_refused
    a_call_that_fails_at_a_limit_leaves_splits_if_that_is_asked_for
    advice_beyond_the_address_space_is_for_what_is_not_mapped
}

fn a_refused_fetch_brings_in_the_page_that_a_read_would_where_linux_takes_it_for_one<S: VmaStore>() {
    fn pages_after<S: VmaStore, A: Arch>() -> Vec<bool> {
        let mm = new::<S, A>(Limits::default());
        let thread = mm.thread().unwrap();
        let reader = mm.reader().unwrap();
        let prots = [Prot::READ, Prot::WRITE, RW, Prot::empty()];
        let pages = (0..).zip(prots).map(|(page, prot)| {
            fixed(&mm, page, 1, prot).unwrap();
            // Of these only the fetch brings the page in. The refused write to read-only memory
            // does not.
            if !prot.contains(Prot::WRITE) {
                assert!(thread.fault(at(page), Access::Write).is_err());
                assert!(reader.walker().translate(at(page)).is_none());
            }
            let refused = thread.fault(VirtAddr(at(page).0 + 8), Access::Exec).unwrap_err();
            assert_eq!((refused.addr.0, refused.cause), (at(page).0 + 8, FaultCause::AccErr));
            let pte = reader.walker().translate(at(page));
            assert!(pte.is_none_or(|pte| pte.flags.contains(PageFlags::ZERO)));
            pte.is_some()
        });
        pages.collect()
    }
    assert_eq!(pages_after::<S, X86_64>(), [true, true, true, false]);
    assert_eq!(pages_after::<S, Sv39>(), [false; 4]);
    // A present page stays as it is.
    let mm = new::<S, X86_64>(Limits::default());
    let (thread, reader) = (mm.thread().unwrap(), mm.reader().unwrap());
    fixed(&mm, 0, 1, RW).unwrap();
    thread.write(at(0), b"!").unwrap();
    mm.mprotect(at(0), PAGE, Prot::READ).unwrap();
    let before = reader.walker().translate(at(0));
    assert!(thread.fault(at(0), Access::Exec).is_err());
    assert_eq!(reader.walker().translate(at(0)), before);
    // Nothing is mapped.
    let refused = thread.fault(at(1), Access::Exec).unwrap_err();
    assert_eq!(refused.cause, FaultCause::MapErr);
    assert!(reader.walker().translate(at(1)).is_none());
}

fn droppable_memory_is_private_anonymous_memory_of_its_own_kind<S: VmaStore>() {
    const DROPPABLE: MapFlags = MapFlags::DROPPABLE.union(MapFlags::ANONYMOUS).union(MapFlags::FIXED);
    let mm = new::<S, X86_64>(Limits::default());
    let put = |page| map(&mm, at(page).0, PAGE, RW, DROPPABLE).unwrap();
    put(0);
    put(1);
    fixed(&mm, 2, 1, RW).unwrap();
    assert_eq!(ranges(&mm), [(0, 2), (2, 3)]);
    let kind = VmFlags::DROPPABLE | VmFlags::NORESERVE | VmFlags::WIPEONFORK | VmFlags::DONTDUMP;
    {
        let reader = mm.reader().unwrap();
        let section = reader.read_lock().unwrap();
        let flags = |page| section.find(at(page)).unwrap().flags();
        assert_eq!(flags(0) - flags(2), kind);
        // It commits no memory, and counts as data.
        assert_eq!(flags(2) - flags(0), VmFlags::ACCOUNT);
    }
    assert_eq!(mm.vm_stat().data, 3);
    // Its kind stays after mprotect.
    mm.mprotect(at(0), 2 * PAGE, Prot::READ).unwrap();
    mm.mprotect(at(0), 2 * PAGE, RW).unwrap();
    assert_eq!(ranges(&mm), [(0, 2), (2, 3)]);
    let thread = mm.thread().unwrap();
    thread.write(at(0), &[7]).unwrap();
    let mut byte = [0];
    thread.read(at(0), &mut byte).unwrap();
    assert_eq!(byte, [7]);
    let refused = |flags| errno(map(&mm, at(0).0, PAGE, RW, flags));
    assert_eq!(refused(DROPPABLE | MapFlags::GROWSDOWN), Errno::EINVAL);
    assert_eq!(refused(DROPPABLE | MapFlags::PRIVATE), Errno::EINVAL);
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    let of_file = mm.mmap(at(0), PAGE, RW, MapFlags::DROPPABLE, Some(&file), 0);
    assert_eq!(errno(of_file), Errno::EINVAL);
}

fn low_mappings_go_from_1_gib_up_to_2_gib_or_to_a_lower_hint<S: VmaStore>() {
    let mm = new::<S, X86_64>(Limits::default());
    let low = |addr, len| map(&mm, addr, len, RW, ANONYMOUS | MapFlags::MAP_32BIT);
    assert_eq!(low(0, PAGE), Ok(GIB));
    assert_eq!(low(0, PAGE), Ok(GIB + PAGE));
    // A hint works anywhere below 2 GiB, and not above.
    assert_eq!(low(GIB / 2, PAGE), Ok(GIB / 2));
    assert_eq!(low(2 * GIB - PAGE, PAGE), Ok(2 * GIB - PAGE));
    assert_eq!(low(2 * GIB, PAGE), Ok(GIB + 2 * PAGE));
    assert_eq!(low(2 * GIB - 2 * PAGE, 2 * PAGE), Ok(GIB + 3 * PAGE));
    // If there is no room, the search goes nowhere else.
    assert_eq!(errno(low(0, GIB)), Errno::ENOMEM);
    assert_eq!(errno(low(0, 3 * GIB)), Errno::ENOMEM);
    assert_eq!(low(0, GIB - 6 * PAGE), Ok(GIB + 5 * PAGE));
    assert_eq!(errno(low(0, PAGE)), Errno::ENOMEM);
    // A fixed address may be above.
    let at_once = MapFlags::MAP_32BIT | MapFlags::FIXED;
    assert_eq!(map(&mm, BASE, PAGE, RW, ANONYMOUS | at_once), Ok(BASE));
}

fn high_mappings_do_not_go_below_4_gib<S: VmaStore>() {
    let mut layout = Layout::default();
    layout.mmap_base = VirtAddr(4 * GIB + 2 * PAGE);
    layout.task_size = VirtAddr(1 << 33);
    layout.start_brk = VirtAddr(PAGE * 16);
    let machine = Soft::<X86_64>::new(Ram::new(1 << 20).unwrap());
    let mm: On<S, X86_64> = Mm::with_machine(layout, Limits::default(), machine).unwrap();
    let high = |len| map(&mm, 0, len, RW, ANONYMOUS | MapFlags::ABOVE4G);
    assert_eq!(high(PAGE), Ok(4 * GIB + PAGE));
    // From the bottom up if there is no room below the base. `task_size / 3` is the bottom.
    assert_eq!(high(2 * PAGE), Ok(((1 << 33) / 3_u64).next_multiple_of(PAGE)));
    assert_eq!(map(&mm, 0, 2 * PAGE, RW, ANONYMOUS), Ok(4 * GIB - PAGE));
}

fn an_architecture_without_low_mappings_ignores_their_flags<S: VmaStore>() {
    let mm = new::<S, Sv39>(Limits::default());
    let top = (Sv39::TASK_SIZE - PAGE).0;
    assert_eq!(map(&mm, 0, PAGE, RW, ANONYMOUS | MapFlags::MAP_32BIT), Ok(top));
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    for flag in [MapFlags::MAP_32BIT, MapFlags::ABOVE4G] {
        let flags = MapFlags::SHARED_VALIDATE | flag;
        let refused = mm.mmap(at(0), PAGE, RW, flags, Some(&file), 0);
        assert_eq!(errno(refused), Errno::EOPNOTSUPP);
        let allowed = new::<S, X86_64>(Limits::default()).mmap(VirtAddr(0), PAGE, RW, flags, Some(&file), 0);
        assert!(allowed.is_ok());
    }
}

fn what_is_not_built_is_refused<S: VmaStore>() {
    let mm = new::<S, X86_64>(Limits::default());
    let refused = |flag| errno(map(&mm, at(0).0, PAGE, RW, ANONYMOUS | MapFlags::FIXED | flag));
    assert_eq!(refused(MapFlags::LOCKED), Errno::EPERM);
    assert_eq!(refused(MapFlags::HUGETLB), Errno::EINVAL);
    for number in [-1, 0, 3, 5, 8, 21, 24, 25] {
        assert_eq!(errno(Advice::try_from(number)), Errno::EINVAL, "{number}");
    }
    assert_eq!(mm.map_count(), 0);
}

fn a_call_that_fails_at_a_limit_leaves_splits_if_that_is_asked_for<S: VmaStore>() {
    const NAMED: bool = true;
    for partial_effects in [PartialEffects::None, PartialEffects::AsLinux] {
        let is_split = partial_effects == PartialEffects::AsLinux;
        let mut limits = Limits::default();
        limits.max_map_count = 3;
        limits.address_space = 20 * PAGE;
        limits.data = 10 * PAGE;
        limits.partial_effects = partial_effects;
        let full = || {
            let mm = new::<S, X86_64>(limits);
            fixed(&mm, 0, 10, RW).unwrap();
            fixed(&mm, 12, 4, Prot::READ).unwrap();
            mm
        };
        // Above RLIMIT_DATA: split at the start and at the end of the range to replace.
        let mm = full();
        assert_eq!(errno(fixed(&mm, 4, 10, RW)), Errno::ENOMEM);
        let [whole, split] = [vec![(0, 10), (12, 16)], vec![(0, 4), (4, 10), (12, 14), (14, 16)]];
        assert_eq!(&ranges(&mm), if is_split { &split } else { &whole });
        assert_eq!((mm.total_vm(), mm.vm_stat().data), (14, 10));
        // Only at an end that lies inside a mapping.
        let mm = full();
        assert_eq!(errno(fixed(&mm, 4, 20, Prot::READ)), Errno::ENOMEM);
        let split = vec![(0, 4), (4, 10), (12, 16)];
        assert_eq!(&ranges(&mm), if is_split { &split } else { &whole });
        // With room for one more: split at the start. With no room: no split.
        for is_named in [!NAMED, NAMED] {
            let change = |mm: &On<S, X86_64>, first: u64, pages: u64| {
                let (addr, len) = (at(first), pages * PAGE);
                if is_named {
                    (mm.set_anon_vma_name(addr, len, Some(b"n")), Errno::EAGAIN)
                } else {
                    (mm.mprotect(addr, len, Prot::EXEC), Errno::ENOMEM)
                }
            };
            let mm = full();
            let (done, expected) = change(&mm, 13, 1);
            assert_eq!(errno(done), expected);
            let split = vec![(0, 10), (12, 13), (13, 16)];
            assert_eq!(&ranges(&mm), if is_split { &split } else { &whole });
            let mm = full();
            fixed(&mm, 17, 1, Prot::READ).unwrap();
            let before = ranges(&mm);
            for (first, pages) in [(13, 1), (12, 1), (13, 3)] {
                let (done, expected) = change(&mm, first, pages);
                assert_eq!(errno(done), expected);
                assert_eq!(ranges(&mm), before);
            }
        }
    }
}

fn advice_beyond_the_address_space_is_for_what_is_not_mapped<S: VmaStore>() {
    let mm = new::<S, X86_64>(Limits::default());
    let thread = mm.thread().unwrap();
    let last = X86_64::<4>::TASK_SIZE - PAGE;
    mm.mmap(last, PAGE, RW, ANONYMOUS | MapFlags::FIXED, None, 0).unwrap();
    for advice in [Advice::DontNeed, Advice::PopulateRead, Advice::PopulateWrite] {
        let advise = |addr, len| thread.madvise(addr, len, advice);
        thread.write(last, &[7]).unwrap();
        assert_eq!(advise(last, PAGE), Ok(()));
        thread.write(last, &[7]).unwrap();
        for len in [2 * PAGE, 1 << 47, 1 << 63, last.0.wrapping_neg() - PAGE] {
            assert_eq!(errno(advise(last, len)), Errno::ENOMEM, "{len:#x}");
        }
        let mut byte = [0];
        thread.read(last, &mut byte).unwrap();
        assert_eq!(byte, [if advice == Advice::DontNeed { 0 } else { 7 }]);
        for len in [u64::MAX, u64::MAX - PAGE, last.0.wrapping_neg() + PAGE] {
            assert_eq!(errno(advise(last, len)), Errno::EINVAL, "{len:#x}");
        }
        assert_eq!(errno(advise(last + 1, 0)), Errno::EINVAL);
        assert_eq!(advise(last + PAGE, 0), Ok(()));
        assert_eq!(errno(advise(last + PAGE, 1)), Errno::ENOMEM);
    }
}
