//! Without memory every operation that needs some returns an error and changes nothing. Where
//! memory was taken before, none is asked for. The allocator of this test refuses the threads that
//! ask for that.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use maple_tree::{DefaultLock, InsertErrorKind, MapleTree, View, Write};
use vmaple_rcu::{Fences, RcuDomain};

thread_local! {
    /// The number of allocations of this thread that still succeed; negative: all succeed.
    static LEFT: Cell<isize> = const { Cell::new(-1) };
    /// The number of bytes from which on this thread gets none in one piece.
    static LARGE: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Calls of the allocator by this thread.
    static CALLS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that it has allocated and not freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Refusing;

// SAFETY: the system's allocator, or null, which the trait allows.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        if layout.size() >= LARGE.get() {
            return std::ptr::null_mut();
        }
        match LEFT.get() {
            0 => return std::ptr::null_mut(),
            left => LEFT.set((left - 1).max(-1)),
        }
        // SAFETY: the caller's contract.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            LIVE.set(LIVE.get() + layout.size() as isize);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

type Tree<E> = MapleTree<E, RcuDomain, DefaultLock, 3>;

/// Runs `work` with `left` allocations that succeed.
fn with_allocations<T>(left: isize, work: impl FnOnce() -> T) -> T {
    LEFT.set(left);
    let result = work();
    LEFT.set(-1);
    result
}

fn tree() -> Tree<Arc<u32>> {
    let (domain, updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
    let tree = Tree::with_rcu(domain, updater).unwrap();
    for i in 0..60 {
        tree.insert_range(i * 10..i * 10 + 6, Arc::new(i as u32)).unwrap();
    }
    tree
}

type Transaction<'t> = Write<'t, Arc<u32>, RcuDomain, DefaultLock, 3>;

fn content(view: &View<Arc<u32>>) -> Vec<(std::ops::RangeInclusive<u64>, u32)> {
    view.validate(3).unwrap();
    view.iter().map(|(range, value)| (range, *value)).collect()
}

/// Fails each allocation of `edit` in turn, until it succeeds, after any number of other edits of
/// the same transaction, which leave more or fewer nodes in the pool.
fn fail_each(edit: impl Fn(&mut Transaction<'_>, Arc<u32>) -> Result<(), InsertErrorKind>) {
    let mut refused = 0;
    for (before, left) in (0..60).flat_map(|before| (0..12).map(move |left| (before, left))) {
        let tree = tree();
        let mut write = tree.write();
        for i in 0..before {
            write.replace(i * 10, Arc::new(i as u32)).unwrap();
        }
        let (before, value) = (content(&write), Arc::new(7));
        if let Err(cause) = with_allocations(left, || edit(&mut write, Arc::clone(&value))) {
            assert_eq!(cause, InsertErrorKind::AllocError);
            assert_eq!(content(&write), before, "changed by an edit that failed");
            assert_eq!(Arc::strong_count(&value), 1, "kept by an edit that failed");
            refused += 1;
            // And now with memory.
            edit(&mut write, value).unwrap();
        }
        write.commit();
        content(&write);
    }
    println!("{refused} allocations refused");
    assert!(refused > 0, "nothing was short");
}

#[test]
fn an_edit_that_fails_for_want_of_memory_changes_nothing() {
    let before = LIVE.get();
    fail_each(|write, value| write.store_range(3..=4, value).map(|_| ()).map_err(|e| e.cause));
    fail_each(|write, value| write.store_range(13..=404, value).map(|_| ()).map_err(|e| e.cause));
    fail_each(|write, value| write.erase_range(2..=3).map(|_| drop(value)).map_err(Into::into));
    fail_each(|write, value| write.erase_range(2..=511).map(|_| drop(value)).map_err(Into::into));
    fail_each(|write, value| write.erase_range(..).map(|_| drop(value)).map_err(Into::into));
    fail_each(|write, value| write.clear().map(|()| drop(value)).map_err(Into::into));
    fail_each(|write, value| {
        write
            .exchange(10..=19, [Some((13..=14, value))])
            .map(|_| ())
            .map_err(|e| e.cause)
    });
    fail_each(|write, value| {
        let both = [Some((30..=31, Arc::clone(&value))), None, Some((402..=409, value))];
        write.exchange(30..=409, both).map(|_| ()).map_err(|e| e.cause)
    });
    fail_each(|write, value| write.erase(30).map(|_| drop(value)).map_err(Into::into));
    fail_each(|write, value| write.insert(107, value).map_err(|e| e.cause));
    fail_each(|write, value| write.replace(100, value).map(|_| ()).map_err(|e| e.cause));
    fail_each(|write, value| write.alloc_range(3, .., 1, value).map(|_| ()).map_err(|e| e.cause));
    fail_each(|write, value| {
        let same = (0..100).map(|i| (i * 3..i * 3 + 2, Arc::clone(&value)));
        write.build(same).map_err(|_| InsertErrorKind::AllocError)
    });
    // The memory that the process keeps for the thread: its place among those that wait for locks,
    // the test's own output.
    let lost = LIVE.get() - before;
    assert!(lost < 8 << 10, "{lost} bytes lost");
}

#[test]
fn trees_readers_and_copies_that_do_not_fit_are_refused() {
    for left in 0..3 {
        assert!(with_allocations(left, || Tree::<u32>::new().is_err()), "{left}");
    }
    let tree = tree();
    let snapshot = tree.snapshot().unwrap();
    let mut copied = false;
    for left in 0..200 {
        copied |= with_allocations(left, || Tree::dup(&snapshot).is_ok());
    }
    assert!(copied);
    drop(snapshot);
    let mut readers: Vec<_> = (0..16).map(|_| tree.reader().unwrap()).collect();
    assert!(with_allocations(0, || tree.reader().is_err() && tree.snapshot().is_err()));
    readers.pop();
    assert!(with_allocations(0, || tree.reader().is_ok()));
}

/// The operations of a timed path: edits of one range, reads, scans, gap searches, sections.
#[test]
fn once_warm_a_tree_neither_allocates_nor_frees() {
    let tree = MapleTree::<u32>::new().unwrap();
    for i in 0..10_000_u32 {
        tree.insert_range(u64::from(i) * 10..u64::from(i) * 10 + 6, i).unwrap();
    }
    tree.reserve(2_000).unwrap();
    let reader = tree.reader().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut turn = |rounds: usize| {
        for _ in 0..rounds {
            let first = random.u64(..10_000) * 10;
            tree.erase(first).unwrap();
            tree.insert_range(first..first + 6, 1).unwrap();
            tree.store_range(first + 2..first + 4, 2).unwrap();
            tree.store_range(first..first + 6, 3).unwrap();
            let view = reader.read_lock();
            assert_eq!(view.load(first), Some(3));
            assert!(view.find(first).is_some() && view.find_rev(first).is_some());
            assert!(view.empty_area(3, first.., 1).is_some());
            assert!(view.range(first..).take(20).count() > 0);
        }
    };
    // The list of sections, the blocks of retired objects and the pool get their memory once.
    turn(5_000);
    let before = CALLS.get();
    turn(20_000);
    assert_eq!(CALLS.get() - before, 0, "calls of the allocator");
}

#[test]
fn a_writer_that_changes_nothing_takes_no_memory() {
    let (full, empty) = (tree(), Tree::<Arc<u32>>::new().unwrap());
    // The pool first gets what it wants, a chunk at a time.
    (0..3).for_each(|_| drop((full.write(), empty.write())));
    let bytes = [&full, &empty].map(Tree::node_bytes);
    for _ in 0..1_000 {
        drop((full.write(), empty.write()));
        assert!(full.insert(0, Arc::new(1)).is_err());
    }
    assert_eq!([&full, &empty].map(Tree::node_bytes), bytes);
}

#[test]
fn memory_that_is_not_used_any_more_is_given_back_when_asked() {
    let tree = MapleTree::<u32>::new().unwrap();
    for i in 0..100_000 {
        tree.insert(u64::from(i) * 2, i).unwrap();
    }
    let full = tree.node_bytes();
    assert_eq!(tree.trim() / full, 0, "what is in use went");
    tree.erase_range(100..).unwrap();
    assert!(tree.trim() > full / 10 * 9 && tree.node_bytes() < full / 10);
    tree.write().validate(15).unwrap();
    for i in 0..100_000 {
        tree.store_range(i * 2..=i * 2, 1).unwrap();
    }
    assert_eq!(tree.write().validate(15).unwrap().entries, 100_000);
}

#[test]
fn a_reservation_that_cannot_be_met_is_refused_before_memory_is_taken() {
    let tree = tree();
    // The pool first gets what it wants, a chunk at a time.
    (0..3).for_each(|_| drop(tree.write()));
    let live = LIVE.get();
    for wanted in [usize::MAX, usize::MAX / 2, 1 << 50, 1 << 40] {
        let calls = CALLS.get();
        let reserve: [&dyn Fn() -> bool; 2] = [&|| tree.reserve(wanted).is_err(), &|| {
            tree.write().reserve(wanted).is_err()
        }];
        for reserve in reserve {
            // Otherwise it would be all memory of the machine.
            assert!(with_allocations(10_000, reserve), "{wanted}");
        }
        assert!(
            CALLS.get() - calls < 100,
            "{} calls of the allocator for {wanted}",
            CALLS.get() - calls
        );
        assert_eq!(LIVE.get(), live, "bytes are kept of {wanted}");
    }
    // Half a gigabyte of nodes, 32 megabytes of a list of them, with a system that has no 256
    // megabytes.
    LARGE.set(256 << 20);
    let calls = CALLS.get();
    let refused = tree.reserve(1 << 20).is_err();
    LARGE.set(usize::MAX);
    assert!(refused && CALLS.get() - calls < 100, "taken in pieces");
    assert_eq!(LIVE.get(), live);
}

/// At every point where memory may end.
#[test]
fn of_a_reservation_that_fails_nothing_is_kept_and_earlier_ones_hold() {
    let tree = tree();
    let mut write = tree.write();
    write.reserve(30).unwrap();
    let live = LIVE.get();
    let mut refused = 0;
    for left in 0..1_000 {
        if with_allocations(left, || write.reserve(200)).is_ok() {
            break;
        }
        assert_eq!(LIVE.get(), live, "after {left} allocations");
        refused += 1;
    }
    assert!((50..1_000).contains(&refused), "{refused} refused");
    // What the first one took is still there.
    let tree = self::tree();
    let mut write = tree.write();
    write.reserve(30).unwrap();
    assert!(with_allocations(50, || write.reserve(200)).is_err());
    let values: Vec<_> = (0..30).map(Arc::new).collect();
    with_allocations(0, || {
        for (i, value) in values.into_iter().enumerate() {
            write.replace(i as u64 * 10, value).unwrap();
        }
    });
}

/// Edits of each kind, of a tree that grows during them.
fn edits_fit_in_what_is_reserved_for_them<const FANOUT: usize>() {
    type Edit<const FANOUT: usize> =
        fn(&mut Write<'_, Arc<u32>, RcuDomain, DefaultLock, FANOUT>, u64, Arc<u32>) -> Result<(), InsertErrorKind>;
    let edits: [Edit<FANOUT>; 4] = [
        |write, i, value| write.insert(10 * i + 8, value).map_err(|e| e.cause),
        |write, i, value| write.insert_range(10 * i + 8..=10 * i + 9, value).map_err(|e| e.cause),
        |write, i, value| write.replace(10 * (i % 60), value).map(drop).map_err(|e| e.cause),
        // In the middle of one, whose upper part is then another one.
        |write, i, value| {
            write
                .store_range(100 * i + 3..=100 * i + 4, value)
                .map(drop)
                .map_err(|e| e.cause)
        },
    ];
    for (kind, edit) in edits.into_iter().enumerate() {
        for count in [1, 2, 3, 5, 8, 13, 30, 600] {
            let tree = MapleTree::<Arc<u32>, RcuDomain, DefaultLock, FANOUT>::new().unwrap();
            // Into an empty tree, which gets high on the way; in the place of some; into many.
            let (entries, distance) = [(0, 10), (60, 10), (60, 10), (600, 100)][kind];
            for i in 0..entries {
                tree.insert_range(i * distance..i * distance + 6, Arc::new(0)).unwrap();
            }
            tree.trim();
            let values: Vec<_> = (0..count).map(|i| (u64::from(i), Arc::new(i))).collect();
            let mut write = tree.write();
            write.reserve(count as usize).unwrap();
            let done = with_allocations(0, || {
                values.into_iter().try_for_each(|(i, value)| edit(&mut write, i, value))
            });
            assert_eq!(done, Ok(()), "edits of kind {kind}, {count} of them");
            write.validate(FANOUT).unwrap();
        }
    }
}

#[test]
fn what_is_reserved_for_edits_suffices_for_them() {
    edits_fit_in_what_is_reserved_for_them::<3>();
    edits_fit_in_what_is_reserved_for_them::<15>();
}

/// Unwinds before the publishing store, again and again: nothing of it is published, and all its
/// memory is reused.
#[test]
fn a_transaction_that_unwinds_before_it_is_published_gives_its_memory_back() {
    let live = LIVE.get();
    let tree = tree();
    let before = content(&tree.write());
    let value = Arc::new(7);
    let unwind = |write: &mut Transaction<'_>| {
        for i in 0..20 {
            write.store_range(i * 30 + 2..=i * 30 + 33, Arc::clone(&value)).unwrap();
        }
        let before = |_: maple_tree::Displaced<'_, _>| std::panic::resume_unwind(Box::new(()));
        let unwound = std::panic::AssertUnwindSafe(|| write.commit_with(before, |_| ()));
        assert!(std::panic::catch_unwind(unwound).is_err());
    };
    let mut bytes = 0;
    for round in 0..50 {
        let mut write = tree.write();
        unwind(&mut write);
        // It may be tried again, with more edits, and be undone in the end.
        unwind(&mut write);
        write.validate(3).unwrap();
        drop(write);
        assert_eq!(content(&tree.write()), before);
        assert_eq!(Arc::strong_count(&value), 1);
        if round == 5 {
            bytes = tree.node_bytes();
        }
    }
    assert_eq!(tree.node_bytes(), bytes, "nodes are lost");
    // Or be published.
    let mut write = tree.write();
    unwind(&mut write);
    write.commit();
    write.validate(3).unwrap();
    assert_eq!(write.iter().filter(|(_, held)| **held == 7).count(), 20);
    drop(write);
    drop(tree);
    let lost = LIVE.get() - live;
    // The memory that the process keeps for the thread, as above.
    assert!(lost < 8 << 10, "{lost} bytes lost");
}
