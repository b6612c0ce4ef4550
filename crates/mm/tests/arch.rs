//! All architectures: page tables alone, and an address space on them.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeSet;

use vmaple_mm::pgtable::{
    Arch, CountBy, Frames, PageCounts, PageFlags, PageTables, Pfn, Pte, Ram, Step, Sv39, Walker, X86_64,
};
use vmaple_mm::{
    Access, Advice, Errno, FaultCause, Layout, Limits, Machine, MapFlags, MapleStore, Mm, Prot, Soft, VirtAddr,
    VirtRange,
};

const PAGE: u64 = 0x1000;
const LEAF: u64 = 512 * PAGE;
const ANONYMOUS: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);
const RW: PageFlags = PageFlags::READ.union(PageFlags::WRITE);

/// Makes a test for each architecture.
macro_rules! of_each {
    ($($name:ident)*) => {
        mod x86_64 { $( #[test] fn $name() { super::$name::<super::X86_64>(); } )* }
        mod x86_64_with_five_levels { $( #[test] fn $name() { super::$name::<super::X86_64<5>>(); } )* }
        mod riscv_sv39 { $( #[test] fn $name() { super::$name::<super::Sv39>(); } )* }
    };
}

of_each! {
    every_page_is_found_where_it_was_mapped
    tables_are_there_for_what_is_mapped_and_no_longer
    protection_changes_and_pages_stay
    what_is_counted_is_what_is_mapped
    counters_say_what_a_walk_says
    holes_end_where_the_next_page_can_be
    what_is_wrong_is_told
    an_address_space_reaches_to_both_ends
    pages_are_accessed_as_the_architecture_permits
    a_layout_larger_than_the_page_tables_is_refused
}

fn tables<A: Arch>() -> PageTables<Soft<A>> {
    PageTables::new(Soft::new(Ram::new(4 << 20).unwrap())).unwrap()
}

/// Addresses that share tables of each level, and some that share none, up to the last.
fn addresses<A: Arch>() -> Vec<VirtAddr> {
    let end = A::TASK_SIZE.0;
    let mut addresses = BTreeSet::from([0, end - PAGE, (end / 2) & !(PAGE - 1)]);
    for level in 0..A::LEVELS {
        let span = PAGE << (9 * level);
        addresses.extend([span, span - PAGE, 3 * span + PAGE].map(|addr| addr % end));
    }
    addresses.into_iter().map(VirtAddr).collect()
}

fn map<M: Machine>(walker: &Walker<'_, M>, frames: &M::Frames, addr: VirtAddr, flags: PageFlags) -> Pte {
    let pfn = frames.take(1).pop().unwrap().into_pfn();
    let pte = Pte { pfn, flags };
    // SAFETY: the frame was just taken.
    unsafe { walker.map(addr, pte) }.unwrap();
    pte
}

/// Returns the number of tables for pages at these addresses, with the root.
fn tables_for<A: Arch>(addresses: &[VirtAddr]) -> u64 {
    let of_level = |level| {
        let spans = addresses.iter().map(|addr| addr.0 >> (12 + 9 * (level + 1)));
        spans.collect::<BTreeSet<_>>().len()
    };
    (0..A::LEVELS - 1).map(of_level).sum::<usize>() as u64 + 1
}

fn counts<M: Machine>(walker: &Walker<'_, M>, range: impl Into<VirtRange>, by: CountBy) -> PageCounts {
    let mut counts = PageCounts::default();
    walker.count(range, by, &mut counts);
    counts
}

fn free_frames<F: Frames>(frames: &F) -> usize {
    frames.take(usize::MAX).len()
}

fn every_page_is_found_where_it_was_mapped<A: Arch>() {
    let tables = tables::<A>();
    let (walker, frames) = (tables.walker().unwrap(), tables.machine().frames());
    let addresses = addresses::<A>();
    let mapped = addresses.iter().map(|&addr| (addr, map(&walker, frames, addr, RW)));
    let mapped = mapped.collect::<Vec<_>>();
    for &(addr, pte) in &mapped {
        assert_eq!(walker.translate(addr), Some(pte), "{addr:#x}");
        assert_eq!(walker.translate(addr + PAGE - 1), Some(pte));
    }
    let found = addresses.iter().flat_map(|&addr| {
        let found = walker.leaf(addr, |leaf| {
            assert!(leaf.range().contains(addr) && leaf.range().start.0.is_multiple_of(LEAF));
            leaf.ptes(addr..addr + PAGE).collect::<Vec<_>>()
        });
        let Step::Leaf(found) = found else {
            panic!("a hole at {addr:#x}")
        };
        found
    });
    assert_eq!(found.collect::<Vec<_>>(), mapped);
}

fn tables_are_there_for_what_is_mapped_and_no_longer<A: Arch>() {
    let tables = tables::<A>();
    let (walker, frames) = (tables.walker().unwrap(), tables.machine().frames());
    let free = free_frames(frames);
    let mut left = addresses::<A>();
    for (mapped, &addr) in left.iter().enumerate() {
        map(&walker, frames, addr, RW);
        assert_eq!(tables.bytes(), tables_for::<A>(&left[..=mapped]) * PAGE);
    }
    // From the middle out, so that tables lose their first entries and their last.
    while !left.is_empty() {
        let addr = left.remove(left.len() / 2);
        tables.unmap(addr..addr + PAGE);
        assert_eq!(walker.translate(addr), None);
        assert!(left.iter().all(|&addr| walker.translate(addr).is_some()));
        assert_eq!(tables.bytes(), tables_for::<A>(&left) * PAGE, "after {addr:#x}");
    }
    assert_eq!(free_frames(frames), free);
    for &addr in &addresses::<A>() {
        map(&walker, frames, addr, RW);
    }
    tables.unmap(0..u64::MAX);
    assert_eq!((tables.bytes(), free_frames(frames)), (PAGE, free));
}

fn protection_changes_and_pages_stay<A: Arch>() {
    let tables = tables::<A>();
    let (walker, frames) = (tables.walker().unwrap(), tables.machine().frames());
    let addresses = addresses::<A>();
    for &addr in &addresses {
        map(&walker, frames, addr, RW | PageFlags::DIRTY);
    }
    let flags = |addr| walker.translate(addr).unwrap().flags;
    let (first, others) = addresses.split_first().unwrap();
    tables.protect(VirtAddr(PAGE)..A::TASK_SIZE, PageFlags::READ);
    assert_eq!(flags(*first), RW | PageFlags::DIRTY);
    assert!(
        others
            .iter()
            .all(|&addr| flags(addr) == PageFlags::READ | PageFlags::DIRTY)
    );
    tables.protect(VirtAddr(0)..A::TASK_SIZE, PageFlags::empty());
    assert!(
        addresses.iter().all(|&addr| flags(addr) == PageFlags::DIRTY),
        "PROT_NONE"
    );
    let rss = counts(&walker, VirtAddr(0)..A::TASK_SIZE, CountBy::Walk).rss;
    assert_eq!(rss, addresses.len() as u64 * PAGE);
    // Only a fault makes a page writable that was not.
    tables.protect(VirtAddr(0)..A::TASK_SIZE, RW);
    assert!(
        addresses
            .iter()
            .all(|&addr| flags(addr) == PageFlags::READ | PageFlags::DIRTY)
    );
}

fn what_is_counted_is_what_is_mapped<A: Arch>() {
    let tables = tables::<A>();
    let (walker, frames) = (tables.walker().unwrap(), tables.machine().frames());
    let addresses = addresses::<A>();
    for (i, &addr) in addresses.iter().enumerate() {
        let dirty = if i % 2 == 0 {
            PageFlags::DIRTY
        } else {
            PageFlags::ACCESSED
        };
        map(&walker, frames, addr, RW | dirty);
    }
    let zero = Pte {
        pfn: frames.zero(),
        flags: PageFlags::READ | PageFlags::ZERO,
    };
    // SAFETY: the zero page has no owner.
    unsafe { walker.map(VirtAddr(5 * PAGE), zero) }.unwrap();
    for by in [CountBy::Walk, CountBy::Counters] {
        let all = counts(&walker, VirtAddr(0)..A::TASK_SIZE, by);
        let pages = addresses.len() as u64;
        assert_eq!(
            (all.rss, all.anonymous, all.pss),
            (pages * PAGE, pages * PAGE, (pages * PAGE) << 12)
        );
        assert_eq!(all.private_dirty, pages.div_ceil(2) * PAGE);
        assert_eq!(all.private_clean + all.private_dirty, all.rss);
        assert_eq!(all.referenced, all.private_clean);
        assert_eq!((all.shared_clean, all.shared_dirty), (0, 0));
        // The sum of the parts is the whole.
        let mut pieces = PageCounts::default();
        let ends = addresses.iter().copied().chain([A::TASK_SIZE]);
        ends.fold(VirtAddr(0), |start, end| {
            walker.count(start..end, by, &mut pieces);
            end
        });
        assert_eq!(without_leaves(pieces), without_leaves(all));
    }
}

/// Populates and drops pages of an address space at random.
fn counters_say_what_a_walk_says<A: Arch>() {
    const PAGES: u64 = 3 * 512;
    let mm = address_space::<A>();
    let thread = mm.thread().unwrap();
    let reader = mm.reader().unwrap();
    let at = VirtAddr(4 * LEAF);
    let fixed = ANONYMOUS | MapFlags::FIXED;
    let mut random = fastrand::Rng::with_seed(7);
    let mut by_counters = 0;
    for step in 0..400 {
        // Now and then a whole leaf table, else some pages.
        let (first, pages) = match random.u64(0..8) {
            0 => (random.u64(0..3) * 512, 512),
            _ => (random.u64(0..PAGES), random.u64(1..40)),
        };
        let (addr, len) = (at + first * PAGE, pages.min(PAGES - first) * PAGE);
        // A refused access stays refused.
        match random.u64(0..7) {
            0 => drop(mm.munmap(addr, len)),
            1 => drop(mm.mmap(addr, len, Prot::READ | Prot::WRITE, fixed, None, 0)),
            2 => drop(mm.mmap(addr, len, Prot::READ | Prot::WRITE, fixed | MapFlags::POPULATE, None, 0)),
            3 => drop(mm.mprotect(addr, len, Prot::from_bits_retain(random.u32(0..8)))),
            4 => drop(thread.madvise(addr, len, Advice::DontNeed)),
            5 => drop(thread.madvise(addr, len, Advice::PopulateRead)),
            _ => drop(thread.madvise(addr, len, Advice::PopulateWrite)),
        }
        for range in [
            VirtAddr(0)..A::TASK_SIZE,
            at..at + LEAF,
            at + LEAF..at + 3 * LEAF,
            addr..addr + len,
        ] {
            let walked = counts(reader.walker(), range.clone(), CountBy::Walk);
            let counted = counts(reader.walker(), range, CountBy::Counters);
            assert_eq!(without_leaves(counted), without_leaves(walked), "step {step}");
            by_counters += counted.leaves_by_counters;
        }
    }
    assert!(by_counters > 1000, "{by_counters}");
}

fn without_leaves(counts: PageCounts) -> PageCounts {
    {
        let mut counts = counts;
        counts.leaves_by_counters = 0;
        counts.leaves_walked = 0;
        counts
    }
}

fn holes_end_where_the_next_page_can_be<A: Arch>() {
    let tables = tables::<A>();
    let walker = tables.walker().unwrap();
    let hole = |addr: u64| match walker.leaf(VirtAddr(addr), |_| ()) {
        Step::Leaf(()) => None,
        Step::Hole { end } => Some(end.0),
    };
    let top = PAGE << (9 * (A::LEVELS - 1));
    assert_eq!(hole(0), Some(top));
    assert_eq!(hole(top + 1), Some(2 * top));
    map(&walker, tables.machine().frames(), VirtAddr(LEAF), RW);
    assert_eq!(hole(LEAF + 7 * PAGE), None);
    assert_eq!(hole(0), Some(LEAF));
    assert_eq!(hole(2 * LEAF), Some(3 * LEAF));
    // From hole to hole a walk reaches the page, and the end.
    let (mut at, mut leaves) = (0, 0);
    while at < A::TASK_SIZE.0 {
        at = hole(at).unwrap_or_else(|| {
            leaves += 1;
            at + LEAF
        });
    }
    assert_eq!(leaves, 1);
}

fn what_is_wrong_is_told<A: Arch>() {
    let tables = tables::<A>();
    let walker = tables.walker().unwrap();
    let pte = map(&walker, tables.machine().frames(), VirtAddr(0), RW);
    let again = Pte { pfn: Pfn(0), ..pte };
    // SAFETY: the zero page has no owner.
    let map = |addr| unsafe { walker.map(addr, again) }.unwrap_err().errno;
    assert_eq!(map(VirtAddr(0)), Errno::EEXIST);
    assert_eq!(map(A::TASK_SIZE), Errno::EINVAL);
    assert_eq!(map(VirtAddr(u64::MAX)), Errno::EINVAL);
    assert_eq!(walker.translate(VirtAddr(0)), Some(pte));
    assert_eq!(walker.translate(A::TASK_SIZE), None);
}

fn layout<A: Arch>() -> Layout {
    {
        let mut layout = Layout::default();
        layout.mmap_base = VirtAddr(A::TASK_SIZE.0 / 2).page_floor();
        layout.task_size = A::TASK_SIZE;
        layout.start_brk = VirtAddr(1 << 30);
        layout
    }
}

fn address_space<A: Arch>() -> Mm<MapleStore, Soft<A>> {
    Mm::with_machine(layout::<A>(), Limits::default(), Soft::new(Ram::new(16 << 20).unwrap())).unwrap()
}

fn an_address_space_reaches_to_both_ends<A: Arch>() {
    let mm = address_space::<A>();
    let thread = mm.thread().unwrap();
    for at in [layout::<A>().min_addr, A::TASK_SIZE - 2 * PAGE] {
        let fixed = ANONYMOUS | MapFlags::FIXED;
        assert_eq!(mm.mmap(at, 2 * PAGE, Prot::READ | Prot::WRITE, fixed, None, 0), Ok(at));
        let text = b"over the edge of a page";
        let middle = at + PAGE - 5;
        thread.write(middle, text).unwrap();
        let mut back = [0; 23];
        thread.read(middle, &mut back).unwrap();
        assert_eq!(&back, text);
        let reader = mm.reader().unwrap();
        let counts = counts(reader.walker(), at..at + 2 * PAGE, CountBy::Walk);
        assert_eq!((counts.rss, counts.private_dirty), (2 * PAGE, 2 * PAGE));
        mm.munmap(at, 2 * PAGE).unwrap();
        assert_eq!(thread.read(middle, &mut back).unwrap_err().cause, FaultCause::MapErr);
        assert_eq!(mm.pgtables_bytes(), PAGE);
    }
}

/// The accesses that the hardware allows for each protection.
///
/// On x86-64 a page that may be accessed may be read. On RISC-V a page that may only be executed
/// may not.
fn pages_are_accessed_as_the_architecture_permits<A: Arch>() {
    let mm = address_space::<A>();
    let thread = mm.thread().unwrap();
    for bits in 0..8 {
        let prot = Prot::from_bits_retain(bits);
        let at = mm.mmap(VirtAddr(0), PAGE, prot, ANONYMOUS, None, 0).unwrap();
        let readable = match bits {
            0 => false,
            4 => A::NAME.starts_with("x86"),
            _ => true,
        };
        let expected = [
            (Access::Read, readable),
            (Access::Write, prot.contains(Prot::WRITE)),
            (Access::Exec, prot.contains(Prot::EXEC)),
        ];
        for (access, allowed) in expected {
            let result = thread.with_page(at, access, |_| ()).map_err(|fault| fault.cause);
            let expected = if allowed { Ok(()) } else { Err(FaultCause::AccErr) };
            assert_eq!(result, expected, "{access:?} of {prot:?}");
        }
        // The same after mprotect, of a present page.
        mm.mprotect(at, PAGE, Prot::READ | Prot::WRITE).unwrap();
        thread.write(at, &[7]).unwrap();
        mm.mprotect(at, PAGE, prot).unwrap();
        let read = thread.with_page(at, Access::Read, |page| {
            // SAFETY: the page is lent during the call.
            unsafe { page.read() }
        });
        let expected = if readable { Ok(7) } else { Err(FaultCause::AccErr) };
        assert_eq!(read.map_err(|fault| fault.cause), expected, "{prot:?}");
        mm.munmap(at, PAGE).unwrap();
    }
}

fn a_layout_larger_than_the_page_tables_is_refused<A: Arch>() {
    let mut layout = layout::<A>();
    layout.task_size = A::TASK_SIZE + PAGE;
    let machine: Soft<A> = Soft::new(Ram::new(2 << 20).unwrap());
    let refused = Mm::<MapleStore, _>::with_machine(layout, Limits::default(), machine);
    assert_eq!(refused.unwrap_err().errno, Errno::EINVAL);
}
