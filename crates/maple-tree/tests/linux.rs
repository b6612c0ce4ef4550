//! Bugs that Linux's tree had, and the cases of its portable tests, as tests of our own.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod model;

use maple_tree::{DefaultLock, InsertErrorKind, MapleTree};
use model::Model;
use vmaple_rcu::RcuDomain;

type Tree<const FANOUT: usize> = MapleTree<u32, RcuDomain, DefaultLock, FANOUT>;

/// Returns `n` ranges of six indexes with four between, and the model.
fn spaced<const FANOUT: usize>(n: u32) -> (Tree<FANOUT>, Model) {
    let ranges: Vec<_> = (0..n).map(|i| (u64::from(i) * 10..=u64::from(i) * 10 + 5, i)).collect();
    let mut model = Model::default();
    for (range, value) in &ranges {
        model.insert(*range.start(), *range.end(), *value);
    }
    (Tree::from_sorted(ranges).unwrap(), model)
}

fn same<const FANOUT: usize>(tree: &Tree<FANOUT>, model: &Model, what: &str) {
    let view = tree.write();
    view.validate(FANOUT).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(view.iter().collect::<Vec<_>>(), model.entries(), "{what}");
}

/// There, the number of children of a full inner node was taken for one more child.
#[test]
fn a_high_tree_of_full_nodes_is_freed() {
    let tree = MapleTree::<u32>::new().unwrap();
    for i in 0..20_000 {
        tree.store_range(u64::from(i) * 10..=u64::from(i) * 10 + 5, i).unwrap();
    }
    let census = tree.snapshot().unwrap().validate(15).unwrap();
    // Stored in order, all nodes but the last ones are full.
    assert_eq!((census.entries, census.leaves), (20_000, 20_000_usize.div_ceil(15)));
    let stats = tree.rcu().clone();
    drop(tree);
    assert_eq!(stats.stats().deferred_objects, 0);
}

/// There, a store that ended where a leaf ended failed; and so did one that left too few entries
/// to make a node of.
#[test]
fn stores_and_erasures_over_any_leaves_leave_a_valid_tree() {
    const N: u64 = 70;
    for first in 0..N {
        for last in first..N {
            for (from, to) in [(first * 10, last * 10 + 5), (first * 10 + 2, last * 10 + 3)] {
                let (tree, mut model) = spaced::<3>(N as u32);
                tree.store_range(from..=to, 1000).unwrap();
                model.store(from, to, 1000);
                same(&tree, &model, "store");
                let (tree, mut model) = spaced::<4>(N as u32);
                tree.erase_range(from..=to).unwrap();
                model.erase_range(from, to);
                same(&tree, &model, "erase");
            }
        }
    }
}

/// There, an empty slot at the end of a leaf made a store span two.
#[test]
fn the_last_entry_of_every_leaf_can_go_and_come_back() {
    let (tree, mut model) = spaced::<3>(200);
    for i in (2..200)
        .step_by(3)
        .chain((1..200).step_by(3))
        .chain((0..200).step_by(3))
    {
        assert!(tree.erase(i * 10 + 3).unwrap().is_some());
        model.erase(i * 10);
        same(&tree, &model, "erase");
    }
    assert!(tree.snapshot().unwrap().is_empty());
    for i in (0..200).rev() {
        tree.insert_range(i * 10..=i * 10 + 5, 1).unwrap();
        model.insert(i * 10, i * 10 + 5, 1);
        same(&tree, &model, "insert");
    }
}

/// There, a reader could begin at a root that was dead.
#[test]
fn a_root_that_was_replaced_stays_readable() {
    let tree = Tree::<3>::new().unwrap();
    tree.insert(1, 1).unwrap();
    let reader = tree.reader().unwrap();
    let view = reader.read_lock();
    tree.erase(1).unwrap();
    for i in 0..1_000 {
        tree.insert(i + 10, 2).unwrap();
    }
    tree.erase_range(..).unwrap();
    assert_eq!((view.load(1), view.iter().count()), (Some(1), 1));
    drop(view);
    assert!(reader.read_lock().is_empty());
}

/// As mm/vma does all day: entries at both ends of the index space, and everything at once.
#[test]
fn zero_and_the_last_index_are_ordinary() {
    let tree = Tree::<3>::new().unwrap();
    tree.insert(0, 1).unwrap();
    tree.insert(u64::MAX, 2).unwrap();
    assert_eq!(tree.insert_range(.., 3).unwrap_err().cause, InsertErrorKind::Occupied);
    let view = tree.snapshot().unwrap();
    assert_eq!((view.load(0), view.load(u64::MAX)), (Some(1), Some(2)));
    assert_eq!(view.empty_area(u64::MAX - 1, .., 1), Some(1));
    assert_eq!(view.empty_area(u64::MAX, .., 1), None);
    let mut cursor = view.cursor(5);
    assert_eq!(cursor.range(), 1..=u64::MAX - 1);
    assert!(cursor.next_range() && !cursor.next_range());
    assert_eq!(cursor.range(), u64::MAX..=u64::MAX);
    assert!(cursor.prev_range() && cursor.prev_range() && !cursor.prev_range());
    assert_eq!((cursor.range(), cursor.entry()), (0..=0, Some(1)));
    assert_eq!(cursor.next(), Some((u64::MAX..=u64::MAX, 2)));
    assert_eq!(cursor.next(), None);
    assert_eq!(cursor.prev(), Some((0..=0, 1)));
    tree.store_range(.., 4).unwrap();
    let view = tree.snapshot().unwrap();
    assert_eq!(view.iter().collect::<Vec<_>>(), [(0..=u64::MAX, 4)]);
    assert_eq!(view.empty_area(1, .., 1), None);
    tree.erase(77).unwrap();
    assert!(tree.snapshot().unwrap().is_empty());
    assert_eq!(tree.alloc_range_rev(1, .., 1, 5).unwrap(), u64::MAX);
}

#[test]
fn gaps_that_meet_become_one() {
    let (tree, _) = spaced::<3>(100);
    assert_eq!(tree.snapshot().unwrap().empty_area(5, ..1000, 1), None);
    for i in [33, 35, 34] {
        tree.erase(i * 10).unwrap();
    }
    let view = tree.snapshot().unwrap();
    // 326 to 359 are free.
    assert_eq!(view.empty_area(34, ..1000, 1), Some(326));
    assert_eq!(view.empty_area(35, ..1000, 1), None);
    assert_eq!(view.empty_area_rev(34, ..1000, 1), Some(326));
    assert_eq!(view.empty_area_rev(30, ..1000, 1), Some(330));
    assert_eq!(view.empty_area(16, 330..1000, 16), Some(336));
    assert_eq!(view.empty_area(10, ..1000, 0), None);
    assert_eq!(view.empty_area(0, ..1000, 1), None);
}

#[test]
fn a_window_is_filled_from_below_and_from_above_until_it_is_full() {
    for rev in [false, true] {
        let tree = Tree::<4>::new().unwrap();
        let alloc = |value| {
            if rev {
                tree.alloc_range_rev(7, 100..=799, 1, value)
            } else {
                tree.alloc_range(7, 100..=799, 1, value)
            }
        };
        for i in 0..100 {
            let expected = if rev { 793 - 7 * i } else { 100 + 7 * i };
            assert_eq!(alloc(i as u32).unwrap(), expected);
        }
        let full = alloc(5).unwrap_err();
        assert_eq!((full.cause, full.value), (InsertErrorKind::Full, 5));
        tree.erase(401).unwrap();
        assert_eq!(alloc(1).unwrap(), 401);
        assert_eq!(tree.snapshot().unwrap().validate(4).unwrap().entries, 100);
    }
}

#[test]
fn requests_that_make_no_sense_are_refused_and_the_entry_given_back() {
    let tree = Tree::<15>::new().unwrap();
    #[expect(clippy::reversed_empty_ranges)]
    let refused = [
        tree.insert_range(5..5, 1).unwrap_err(),
        tree.insert_range(9..=5, 1).unwrap_err(),
        tree.store_range(..0, 1).unwrap_err(),
        tree.alloc_range(0, .., 1, 1).unwrap_err(),
        tree.alloc_range(1, .., 3, 1).unwrap_err(),
        tree.alloc_range(1, 5..5, 1, 1).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(
            (error.cause, error.value),
            (InsertErrorKind::InvalidRequest, 1),
            "{error}"
        );
    }
    assert_eq!(tree.replace(5, 1).unwrap_err().cause, InsertErrorKind::Vacant);
    assert!(tree.snapshot().unwrap().is_empty());
    let unsorted = Tree::<15>::from_sorted([(10..20, 1), (15..25, 2)]).err().unwrap();
    assert!(unsorted.to_string().contains("0xf..=0x18"), "{unsorted}");
    assert!(Tree::<15>::from_sorted([(10..10, 1)]).is_err());
}

/// As fork: the copy has the same ranges, and each changes on its own.
#[test]
fn a_copy_is_equal_and_independent() {
    for n in [0, 1, 2, 3, 4, 15, 16, 17, 100, 1000] {
        let (tree, model) = spaced::<3>(n);
        let copy = Tree::<3>::dup(&tree.snapshot().unwrap()).unwrap();
        tree.erase_range(..).unwrap();
        same(&copy, &model, "copy");
        copy.store_range(.., 7).unwrap();
        assert!(tree.snapshot().unwrap().is_empty());
    }
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let (tree, model) = spaced::<3>(50);
    let mut write = tree.write();
    write.erase_range(100..=300).unwrap();
    write.store_range(0..50, 1).unwrap();
    assert!(write.insert(3, 1).is_err());
    assert_eq!(write.load(20), Some(1));
    assert_eq!(tree.snapshot().unwrap().load(20), Some(2));
    drop(write);
    same(&tree, &model, "undone");
    let mut write = tree.write();
    write.clear().unwrap();
    write.insert(1, 1).unwrap();
    write.commit();
    // The lock is still held, and another transaction begins.
    write.insert(2, 2).unwrap();
    drop(write);
    assert_eq!(tree.snapshot().unwrap().iter().collect::<Vec<_>>(), [(1..=1, 1)]);
}

#[test]
fn a_transaction_may_be_as_large_as_it_likes() {
    let (tree, mut model) = spaced::<3>(50);
    for publish in [false, true] {
        let mut write = tree.write();
        for i in 1_000..6_000 {
            write.insert(i * 2, 1).unwrap();
        }
        assert_eq!(write.validate(3).unwrap().entries, 5_050);
        if publish {
            write.commit();
            (1_000..6_000).for_each(|i| assert!(model.insert(i * 2, i * 2, 1)));
        }
        drop(write);
        same(&tree, &model, if publish { "published" } else { "undone" });
    }
}

#[test]
fn a_tree_is_drawn() {
    let (tree, _) = spaced::<3>(5);
    let view = tree.snapshot().unwrap();
    let text = view.dump().to_string();
    assert!(
        text.starts_with("node, 2 children\n  up to 0x19, gap 0x4\n    leaf, 3 entries\n      0x0..=0x5\n"),
        "{text}"
    );
    let dot = view.dump_dot().to_string();
    assert!(dot.starts_with("digraph") && dot.matches("->").count() == 2, "{dot}");
}
