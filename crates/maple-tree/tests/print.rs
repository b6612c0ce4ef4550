//! The `{:?}` of each type, and the iteration that it is made from.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::sync::Arc;

use maple_tree::{Entry, MapleTree, RcuBox};

const PRINTED: &str = r#"{1..=9: "a", 10..=10: "b"}"#;

fn prints<E: Entry>(make: impl Fn(&'static str) -> E) -> MapleTree<E>
where
    for<'a> E::Borrowed<'a>: std::fmt::Debug,
{
    let tree = MapleTree::<E>::new().unwrap();
    assert_eq!(format!("{tree:?}"), "{}");
    tree.insert_range(1..10, make("a")).unwrap();
    tree.insert(10, make("b")).unwrap();
    assert_eq!(format!("{tree:?}"), PRINTED);
    tree
}

#[test]
fn trees_and_all_that_leads_to_them_print_as_maps() {
    prints(|value| RcuBox::new(value).unwrap());
    prints(Arc::new);
    let tree = prints(Box::new);
    let reader = tree.reader().unwrap();
    let guard = reader.read_lock();
    assert_eq!(format!("{reader:?}"), format!("Reader({PRINTED})"));
    assert_eq!(format!("{guard:?}"), PRINTED);
    assert_eq!(format!("{:?}", *guard), PRINTED);
    assert_eq!(format!("{:?}", tree.snapshot().unwrap()), PRINTED);
    assert_eq!(format!("{:?}", tree.reader().unwrap().into_snapshot()), PRINTED);
    let mut write = tree.write();
    assert_eq!(format!("{:?}", write.erase_range(2..=9).unwrap()), "[]");
    assert_eq!(format!("{write:?}"), r#"{1..=1: "a", 10..=10: "b"}"#);
    let displaced = write.erase_range(..).unwrap();
    assert_eq!(format!("{displaced:?}"), r#"[(1..=1, "a"), (10..=10, "b")]"#);
    // Other readers see what is published.
    assert_eq!(format!("{tree:?}"), PRINTED);
}

#[test]
fn places_print_what_they_stand_on() {
    let tree = MapleTree::<u32>::from_sorted([(0x10..=0x1f, 1), (0x20..=0x2f, 2)]).unwrap();
    let view = tree.snapshot().unwrap();
    assert_eq!(
        format!("{:?}", view.cursor(0x10)),
        "Cursor { range: 16..=31, entry: Some(1) }"
    );
    assert_eq!(format!("{:x?}", view.cursor(0)), "Cursor { range: 0..=f, entry: None }");
    let mut iter = view.iter();
    iter.next();
    assert_eq!(format!("{iter:?}"), "[(32..=47, 2)]");
    assert_eq!(format!("{:?}", view.dump()), view.dump().to_string());
    assert_eq!(format!("{:?}", view.dump_dot()), view.dump_dot().to_string());
}

/// A clone goes on by itself from where the iteration was, from both ends.
#[test]
fn an_iteration_can_be_cloned_anywhere() {
    let tree = MapleTree::<u32>::from_sorted((0..200).map(|i| (i * 10..i * 10 + 5, i as u32))).unwrap();
    let view = tree.snapshot().unwrap();
    for (front, back) in [(0, 0), (1, 0), (0, 1), (20, 30), (99, 100), (100, 100)] {
        let mut iter = view.iter();
        assert_eq!(
            (
                iter.by_ref().take(front).count(),
                iter.by_ref().rev().take(back).count()
            ),
            (front, back)
        );
        let clone = iter.clone();
        let left: Vec<_> = iter.map(|(_, value)| value).collect();
        assert!(left.iter().copied().eq(front as u32..200 - back as u32));
        assert!(clone.rev().map(|(_, value)| value).eq(left.into_iter().rev()));
    }
}

#[test]
fn what_leads_to_a_version_is_iterated_by_reference() {
    let tree = MapleTree::<u32>::from_sorted([(1..=2, 1), (3..=4, 2)]).unwrap();
    let (reader, snapshot, write) = (tree.reader().unwrap(), tree.snapshot().unwrap(), tree.write());
    let guard = reader.read_lock();
    let mut sum = 0;
    for (_, value) in &guard {
        sum += value;
    }
    for (_, value) in &snapshot {
        sum += value;
    }
    for (_, value) in &write {
        sum += value;
    }
    assert_eq!(sum, 9);
}
