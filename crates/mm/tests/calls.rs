//! The calls by examples: limits, names, the heap, users and references. The differential test
//! compares them in general against the running kernel says
//! (`crates/conformance/tests/differential.rs`).

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use vmaple_mm::{
    ANON_NAME_MAX, Errno, Error, File, Kref, Layout, Limits, MapFlags, MapleStore, Mm, Prot, RbStore, Role,
    SNAPSHOTS_MAX, VirtAddr, VmFlags, VmaLockStore, VmaRead, VmaState, VmaStore,
};

const PAGE: u64 = 0x1000;
const BASE: u64 = 0x7000_0000_0000;
const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// A VMA as a test sees it: first page and end in pages from `BASE`, protection, page offset, name.
type Line = (u64, u64, Prot, u64, Option<String>);

fn new<S: VmaStore>() -> Mm<S> {
    Mm::new(Layout::default(), Limits::default()).unwrap()
}

fn at(page: u64) -> VirtAddr {
    VirtAddr(BASE + page * PAGE)
}

fn fixed<S: VmaStore>(mm: &Mm<S>, first: u64, pages: u64, prot: Prot) -> Result<VirtAddr, Error> {
    mm.mmap(at(first), pages * PAGE, prot, ANONYMOUS | MapFlags::FIXED, None, 0)
}

fn lines<S: VmaStore>(mm: &Mm<S>) -> Vec<Line> {
    let reader = mm.reader().unwrap();
    let section = reader.read_lock().unwrap();
    let lines = section.iter_from(VirtAddr(0)).map(|vma| {
        let page = |addr: u64| addr.wrapping_sub(BASE) / PAGE;
        let prot = Prot::from_bits_retain((vma.flags().bits() & 7) as u32);
        let name = vma.anon_name().map(|name| String::from_utf8(name.to_vec()).unwrap());
        (page(vma.start().0), page(vma.end().0), prot, vma.pgoff(), name)
    });
    lines.collect()
}

fn ranges<S: VmaStore>(mm: &Mm<S>) -> Vec<(u64, u64)> {
    lines(mm).into_iter().map(|line| (line.0, line.1)).collect()
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
    a_mapping_is_split_and_becomes_one_again
    the_highest_room_is_taken_with_alignment
    a_gap_stays_below_what_grows_down
    limits_are_checked_before_anything_changes
    the_heap_grows_and_shrinks_page_by_page
    names_part_mappings_and_join_them
    a_file_keeps_its_offsets
    a_failure_keeps_what_linux_keeps
    more_vmas_than_were_at_hand_are_fetched
    the_last_user_takes_everything_out
    errors_say_why
}

fn a_mapping_is_split_and_becomes_one_again<S: VmaStore>() {
    let mm = new::<S>();
    fixed(&mm, 0, 9, RW).unwrap();
    mm.mprotect(at(3), 3 * PAGE, Prot::READ).unwrap();
    assert_eq!(ranges(&mm), [(0, 3), (3, 6), (6, 9)]);
    assert_eq!(lines(&mm)[1].3, (BASE >> 12) + 3);
    mm.mprotect(at(3), 3 * PAGE, RW).unwrap();
    assert_eq!(ranges(&mm), [(0, 9)]);
    mm.munmap(at(4), PAGE).unwrap();
    assert_eq!(
        (ranges(&mm), mm.map_count(), mm.total_vm()),
        (vec![(0, 4), (5, 9)], 2, 8)
    );
    fixed(&mm, 4, 1, RW).unwrap();
    assert_eq!(ranges(&mm), [(0, 9)]);
    // Over several at once, and parts of them outside.
    fixed(&mm, 2, 1, Prot::empty()).unwrap();
    fixed(&mm, 5, 1, Prot::empty()).unwrap();
    fixed(&mm, 1, 6, Prot::READ).unwrap();
    assert_eq!(ranges(&mm), [(0, 1), (1, 7), (7, 9)]);
}

fn the_highest_room_is_taken_with_alignment<S: VmaStore>() {
    let mut layout = Layout::default();
    layout.min_addr = VirtAddr(BASE);
    layout.mmap_base = VirtAddr(BASE + 64 * PAGE);
    layout.task_size = VirtAddr(BASE + 96 * PAGE);
    layout.align = 4 * PAGE;
    let mm: Mm<S> = Mm::new(layout, Limits::default()).unwrap();
    let map = |addr: u64, pages: u64| mm.mmap(VirtAddr(addr), pages * PAGE, RW, ANONYMOUS, None, 0);
    assert_eq!(map(0, 3), Ok(at(60)));
    assert_eq!(map(0, 5), Ok(at(52)));
    // A hint is rounded down, raised to the lowest address, and taken if there is room.
    assert_eq!(map(BASE + 9 * PAGE + 5, 1), Ok(at(9)));
    assert_eq!(map(PAGE, 1), Ok(at(0)));
    assert_eq!(map(BASE + 9 * PAGE, 1), Ok(at(48)));
    // There is no room below the base any more: search above it, from below.
    assert_eq!(
        map(0, 37),
        Err(Error::new(
            Errno::ENOMEM,
            "there is no room, or it is beyond the address space"
        ))
    );
    assert_eq!(map(0, 32), Ok(at(16)));
    assert_eq!(map(0, 30), Ok(at(64)));
}

fn a_gap_stays_below_what_grows_down<S: VmaStore>() {
    let mm = new::<S>();
    let stack = mm.mmap(
        at(1000),
        10 * PAGE,
        RW,
        ANONYMOUS | MapFlags::FIXED | MapFlags::GROWSDOWN,
        None,
        0,
    );
    assert_eq!(stack, Ok(at(1000)));
    let hint = |page| mm.mmap(at(page), PAGE, RW, ANONYMOUS, None, 0).unwrap();
    assert_ne!(hint(999), at(999));
    assert_ne!(hint(744), at(744));
    assert_eq!(hint(743), at(743));
    // A fixed address may be there.
    assert_eq!(fixed(&mm, 999, 1, RW), Ok(at(999)));
}

fn limits_are_checked_before_anything_changes<S: VmaStore>() {
    let mut limits = Limits::default();
    limits.max_map_count = 3;
    limits.address_space = 20 * PAGE;
    limits.data = 10 * PAGE;
    let mm: Mm<S> = Mm::new(Layout::default(), limits).unwrap();
    fixed(&mm, 0, 5, RW).unwrap();
    fixed(&mm, 10, 5, RW).unwrap();
    fixed(&mm, 20, 5, Prot::READ).unwrap();
    let before = (lines(&mm), mm.change());
    assert_eq!(errno(mm.munmap(at(1), PAGE)), Errno::ENOMEM);
    assert_eq!(errno(mm.mprotect(at(20), 5 * PAGE, RW)), Errno::ENOMEM);
    assert_eq!(errno(mm.mprotect(at(1), PAGE, Prot::READ)), Errno::ENOMEM);
    assert_eq!(errno(mm.set_anon_vma_name(at(1), PAGE, Some(b"n"))), Errno::EAGAIN);
    assert_eq!(errno(fixed(&mm, 30, 6, Prot::READ)), Errno::ENOMEM);
    assert_eq!(errno(fixed(&mm, 30, 1, RW)), Errno::ENOMEM);
    assert_eq!(errno(fixed(&mm, 2, 10, RW)), Errno::ENOMEM);
    assert_eq!((lines(&mm), mm.change()), before);
    // There may be one more than the limit, as in Linux.
    fixed(&mm, 30, 1, Prot::READ).unwrap();
    assert_eq!(errno(fixed(&mm, 40, 1, Prot::READ)), Errno::ENOMEM);
    mm.set_limits(Limits::default()).unwrap();
    fixed(&mm, 40, 100, RW).unwrap();
}

fn the_heap_grows_and_shrinks_page_by_page<S: VmaStore>() {
    let start = BASE + 100 * PAGE;
    let mut layout = Layout::default();
    layout.start_brk = VirtAddr(start);
    let mm: Mm<S> = Mm::new(layout, Limits::default()).unwrap();
    fixed(&mm, 98, 2, RW).unwrap();
    assert_eq!(mm.brk(VirtAddr(start - 1)).0, start);
    assert_eq!(mm.brk(VirtAddr(start + 1)).0, start + 1);
    assert_eq!(ranges(&mm), [(98, 100), (100, 101)]);
    assert_eq!(mm.brk(VirtAddr(start + 2 * PAGE)).0, start + 2 * PAGE);
    assert_eq!(ranges(&mm), [(98, 100), (100, 102)]);
    let roles = |mm: &Mm<S>| -> Vec<Role> {
        let reader = mm.reader().unwrap();
        let section = reader.read_lock().unwrap();
        section.iter_from(VirtAddr(0)).map(vmaple_mm::Vma::role).collect()
    };
    assert_eq!(roles(&mm), [Role::None, Role::Heap]);
    // A page stays free below the next mapping.
    fixed(&mm, 104, 1, RW).unwrap();
    assert_eq!(mm.brk(VirtAddr(start + 4 * PAGE)).0, start + 2 * PAGE);
    assert_eq!(mm.brk(VirtAddr(start + 3 * PAGE)).0, start + 3 * PAGE);
    assert_eq!(mm.brk(VirtAddr(start)).0, start);
    assert_eq!(roles(&mm), [Role::None, Role::None]);
}

fn names_part_mappings_and_join_them<S: VmaStore>() {
    let mm = new::<S>();
    let name =
        |first, pages, name: Option<&str>| mm.set_anon_vma_name(at(first), pages * PAGE, name.map(str::as_bytes));
    fixed(&mm, 0, 4, RW).unwrap();
    name(1, 2, Some("arena")).unwrap();
    name(3, 1, Some("arena")).unwrap();
    let named: Vec<_> = lines(&mm).into_iter().map(|line| (line.0, line.1, line.4)).collect();
    assert_eq!(named, [(0, 1, None), (1, 4, Some("arena".to_owned()))]);
    name(1, 3, None).unwrap();
    assert_eq!(ranges(&mm), [(0, 4)]);
    // A hole is reported, and the mappings around it are named.
    mm.munmap(at(1), PAGE).unwrap();
    assert_eq!(errno(name(0, 4, Some("x"))), Errno::ENOMEM);
    assert!(lines(&mm).iter().all(|line| line.4.as_deref() == Some("x")));
    name(0, 0, Some("y")).unwrap();
    assert_eq!(errno(name(0, 1, Some(&"n".repeat(ANON_NAME_MAX + 1)))), Errno::EINVAL);
    assert_eq!(errno(name(0, 1, Some("a[b"))), Errno::EINVAL);
    assert_eq!(errno(name(0, 1, Some("a\n"))), Errno::EINVAL);
    name(0, 1, Some(&"n".repeat(ANON_NAME_MAX))).unwrap();
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    mm.mmap(at(9), PAGE, RW, MapFlags::PRIVATE | MapFlags::FIXED, Some(&file), 0)
        .unwrap();
    assert_eq!(errno(name(9, 1, Some("x"))), Errno::EBADF);
}

fn a_file_keeps_its_offsets<S: VmaStore>() {
    let mm = new::<S>();
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    let other = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    let map = |first, offset, file| {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        mm.mmap(at(first), PAGE, RW, flags, Some(file), offset * PAGE).unwrap();
    };
    map(0, 5, &file);
    map(1, 6, &file);
    map(2, 8, &file);
    map(3, 9, &other);
    let offsets: Vec<_> = lines(&mm).into_iter().map(|line| (line.0, line.1, line.3)).collect();
    assert_eq!(offsets, [(0, 2, 5), (2, 3, 8), (3, 4, 9)]);
    mm.munmap(at(0), PAGE).unwrap();
    assert_eq!(lines(&mm)[0].3, 6);
    let flags = MapFlags::SHARED;
    assert_eq!(errno(mm.mmap(at(9), PAGE, RW, flags, Some(&file), 1)), Errno::EINVAL);
    assert_eq!(
        errno(mm.mmap(at(9), PAGE, RW, flags, Some(&file), 1 << 63)),
        Errno::EOVERFLOW
    );
    assert_eq!(errno(mm.mmap(at(9), PAGE, RW, flags, None, 0)), Errno::EBADF);
}

fn a_failure_keeps_what_linux_keeps<S: VmaStore>() {
    let mm = new::<S>();
    fixed(&mm, 0, 2, RW).unwrap();
    fixed(&mm, 3, 1, RW).unwrap();
    assert_eq!(errno(mm.mprotect(at(0), 4 * PAGE, Prot::READ)), Errno::ENOMEM);
    let prots: Vec<_> = lines(&mm).into_iter().map(|line| line.2).collect();
    assert_eq!(prots, [Prot::READ, RW]);
}

fn more_vmas_than_were_at_hand_are_fetched<S: VmaStore>() {
    let mm = new::<S>();
    // One call turns each into another.
    for page in 0..1000 {
        fixed(&mm, page, 1, if page % 2 == 0 { RW } else { Prot::READ }).unwrap();
    }
    assert_eq!(mm.map_count(), 1000);
    mm.mprotect(at(0), 1000 * PAGE, Prot::EXEC).unwrap();
    assert_eq!(ranges(&mm), [(0, 1000)]);
    for page in (0..1000).step_by(2) {
        mm.munmap(at(page), PAGE).unwrap();
    }
    assert_eq!(
        errno(mm.set_anon_vma_name(at(0), 1000 * PAGE, Some(b"n"))),
        Errno::ENOMEM
    );
    assert_eq!((mm.map_count(), mm.total_vm()), (500, 500));
    mm.munmap(at(0), 1000 * PAGE).unwrap();
    assert_eq!((mm.map_count(), mm.total_vm(), lines(&mm)), (0, 0, vec![]));
}

fn the_last_user_takes_everything_out<S: VmaStore>() {
    let mm = new::<S>();
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    mm.mmap(at(0), PAGE, RW, MapFlags::SHARED, Some(&file), 0).unwrap();
    let other = mm.clone();
    let monitor = mm.grab();
    let reader = monitor.reader().unwrap();
    drop(mm);
    assert!(
        reader
            .read_lock()
            .is_some_and(|section| section.find(VirtAddr(0)).is_some())
    );
    assert!(monitor.upgrade().is_some());
    drop(other);
    assert!(monitor.is_gone() && reader.read_lock().is_none() && monitor.upgrade().is_none());
    assert_eq!((monitor.map_count(), monitor.total_vm()), (0, 0));
    assert_eq!(errno(monitor.reader().map(|_| ())), Errno::ESRCH);
}

fn errors_say_why<S: VmaStore>() {
    let mm = new::<S>();
    let error = mm.munmap(VirtAddr(1), PAGE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "EINVAL: the address is not a multiple of the page size"
    );
    assert_eq!(error.errno.code(), 22);
}

#[test]
fn a_snapshot_stays_what_it_was_and_says_what_is_gone() {
    let mm = new::<MapleStore>();
    fixed(&mm, 0, 3, RW).unwrap();
    fixed(&mm, 5, 1, RW).unwrap();
    let snapshot = mm.snapshot().unwrap();
    let before = mm.change();
    assert!(before.is_multiple_of(2));
    mm.munmap(at(1), PAGE).unwrap();
    assert_eq!(mm.change(), before + 2);
    let seen: Vec<_> = snapshot
        .iter_from(VirtAddr(0))
        .map(|vma| (vma.pages(), vma.state()))
        .collect();
    assert_eq!(seen, [(3, VmaState::Superseded), (1, VmaState::Live)]);
    drop(mm);
    assert_eq!(snapshot.iter_from(VirtAddr(0)).count(), 2);
}

#[test]
fn open_snapshots_are_few() {
    let mm = new::<MapleStore>();
    let open: Vec<_> = (0..SNAPSHOTS_MAX).map(|_| mm.snapshot().unwrap()).collect();
    assert_eq!(errno(mm.snapshot().map(|_| ())), Errno::EAGAIN);
    drop(open);
    assert!(mm.snapshot().is_ok());
}

#[test]
fn the_last_user_frees_all_though_a_monitor_stays() {
    let mm = new::<MapleStore>();
    let file = File::new((8, 1), 7, &b"/a"[..]).unwrap();
    for page in 0..20_000 {
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        mm.mmap(at(2 * page), PAGE, RW, flags, Some(&file), 0).unwrap();
    }
    let monitor = mm.reader().unwrap();
    drop(mm);
    let stats = monitor.mm().store().rcu().stats();
    assert_eq!((stats.deferred_objects, stats.deferred_bytes), (0, 0));
    assert_eq!(Kref::count(&file), 1);
}

#[test]
fn a_layout_that_does_not_fit_together_is_refused() {
    let layouts = [
        {
            let mut layout = Layout::default();
            layout.task_size = VirtAddr(u64::MAX);
            layout
        },
        {
            let mut layout = Layout::default();
            layout.align = 0;
            layout
        },
        {
            let mut layout = Layout::default();
            layout.align = 3 * PAGE;
            layout
        },
        {
            let mut layout = Layout::default();
            layout.min_addr = VirtAddr(1);
            layout
        },
        {
            let mut layout = Layout::default();
            layout.mmap_base = VirtAddr(PAGE);
            layout
        },
        {
            let mut layout = Layout::default();
            layout.start_brk = VirtAddr(1 << 62);
            layout
        },
    ];
    for layout in layouts {
        assert_eq!(
            errno(Mm::<MapleStore>::new(layout, Limits::default())),
            Errno::EINVAL,
            "{layout:?}"
        );
    }
}

#[test]
fn files_are_dropped_with_the_last_mapping_that_nobody_reads() {
    let mm = new::<MapleStore>();
    let path: &'static [u8] = b"/a";
    let file = File::new((8, 1), 7, path).unwrap();
    mm.mmap(at(0), PAGE, RW, MapFlags::SHARED | MapFlags::FIXED, Some(&file), 0)
        .unwrap();
    let snapshot = mm.snapshot().unwrap();
    mm.munmap(at(0), PAGE).unwrap();
    drop(mm);
    let kept = snapshot.find(VirtAddr(BASE)).and_then(|vma| vma.file()).unwrap();
    assert_eq!((kept.path(), kept.inode(), kept.dev()), (path, 7, (8, 1)));
    assert_eq!(
        snapshot.find(VirtAddr(BASE)).unwrap().flags() & VmFlags::SHARED,
        VmFlags::SHARED
    );
}
