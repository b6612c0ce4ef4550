//! One thread: every operation against a naive model, with every invariant checked after each.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod model;

use std::ops::Bound;

use maple_tree::{DefaultLock, InsertErrorKind, MapleTree};
use model::Model;
use proptest::prelude::*;
use vmaple_rcu::RcuDomain;

type Tree<const FANOUT: usize> = MapleTree<u32, RcuDomain, DefaultLock, FANOUT>;

/// A step on a tree and on its model.
#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64),
    Store(u64, u64),
    Erase(u64),
    EraseRange(u64, u64),
    Replace(u64),
    /// Which thirds of the range get an entry, and whether the range is first widened to the
    /// entries that reach out of it.
    Exchange(u64, u64, [bool; 3], bool),
    Alloc {
        size: u64,
        min: u64,
        max: u64,
        align: u64,
        rev: bool,
    },
}

/// Indexes: anywhere, crowded, or at the ends.
fn index() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => any::<u64>(),
        12 => 0_u64..600,
        2 => (0_u64..600).prop_map(|i| u64::MAX - i),
        1 => Just(0),
        1 => Just(u64::MAX),
    ]
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        8 => (index(), 0_u64..12).prop_map(|(first, more)| (first, first.saturating_add(more))),
        2 => (index(), 0_u64..200).prop_map(|(first, more)| (first, first.saturating_add(more))),
        1 => (index(), index()).prop_map(|(a, b)| (a.min(b), a.max(b))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => range().prop_map(|(first, last)| Step::Insert(first, last)),
        6 => range().prop_map(|(first, last)| Step::Store(first, last)),
        4 => index().prop_map(Step::Erase),
        2 => range().prop_map(|(first, last)| Step::EraseRange(first, last)),
        1 => index().prop_map(Step::Replace),
        4 => (range(), any::<[bool; 3]>(), prop::bool::weighted(0.9)).prop_map(|((first, last), thirds, widen)| {
            Step::Exchange(first, last, thirds, widen)
        }),
        2 => (1_u64..40, range(), 0_u32..6, any::<bool>()).prop_map(|(size, (min, max), align, rev)| {
            Step::Alloc { size, min, max, align: 1 << align, rev }
        }),
    ]
}

/// Does a step on both, and compares what they return.
fn apply<const FANOUT: usize>(tree: &Tree<FANOUT>, model: &mut Model, step: &Step, value: u32) {
    match *step {
        Step::Insert(first, last) => {
            let done = tree.insert_range(first..=last, value);
            match (model.insert(first, last, value), done) {
                (true, Ok(())) => {}
                (false, Err(e)) => assert_eq!((e.cause, e.value), (InsertErrorKind::Occupied, value)),
                (expected, done) => panic!("free: {expected}, but {done:?}"),
            }
        }
        Step::Store(first, last) => {
            let mut write = tree.write();
            let displaced: Vec<_> = write.store_range(first..=last, value).unwrap().collect();
            assert_eq!(displaced, model.store(first, last, value));
            write.commit();
        }
        Step::Erase(index) => {
            let mut write = tree.write();
            assert_eq!(write.erase(index).unwrap(), model.erase(index));
            write.commit();
        }
        Step::EraseRange(first, last) => {
            let mut write = tree.write();
            let displaced: Vec<_> = write.erase_range(first..=last).unwrap().collect();
            assert_eq!(displaced, model.erase_range(first, last));
            write.commit();
        }
        Step::Exchange(first, last, thirds, widen) => {
            let met = model.overlapping(first, last);
            let low = met.first().map_or(first, |(range, _)| *range.start());
            let high = met.last().map_or(last, |(range, _)| *range.end());
            let (first, last) = if widen {
                (first.min(low), last.max(high))
            } else {
                (first, last)
            };
            // The thirds that are not empty.
            let third = (last - first) / 3;
            let ends = [first + third, first + 2 * third, last];
            let mut next = Some(first);
            let entries: [_; 3] = std::array::from_fn(|i| {
                let range = next.map(|next| next..=ends[i]).filter(|range| !range.is_empty());
                next = ends[i].checked_add(1);
                range.filter(|_| thirds[i]).map(|range| (range, value))
            });
            let mut write = tree.write();
            let done = write.exchange(first..=last, entries.clone());
            if low < first || high > last {
                let cause = done.map(|_| ()).map_err(|e| (e.cause, e.value));
                assert_eq!(cause.unwrap_err(), (InsertErrorKind::Occupied, entries));
            } else {
                assert_eq!(done.unwrap().collect::<Vec<_>>(), model.erase_range(first, last));
                for (range, value) in entries.into_iter().flatten() {
                    assert!(model.insert(*range.start(), *range.end(), value));
                }
                write.commit();
            }
        }
        Step::Replace(index) => match (model.erase(index), tree.replace(index, value)) {
            (Some((range, _)), Ok(replaced)) => {
                assert_eq!(replaced, range);
                model.insert(*range.start(), *range.end(), value);
            }
            (None, Err(e)) => assert_eq!(e.cause, InsertErrorKind::Vacant),
            (expected, done) => panic!("{expected:?}, but {done:?}"),
        },
        Step::Alloc {
            size,
            min,
            max,
            align,
            rev,
        } => {
            let expected = if rev {
                model.empty_area_rev(size, min, max, align)
            } else {
                model.empty_area(size, min, max, align)
            };
            let done = if rev {
                tree.alloc_range_rev(size, min..=max, align, value)
            } else {
                tree.alloc_range(size, min..=max, align, value)
            };
            match (expected, done) {
                (Some(first), Ok(found)) => {
                    assert_eq!(found, first);
                    model.insert(first, first + (size - 1), value);
                }
                (None, Err(e)) => assert_eq!(e.cause, InsertErrorKind::Full),
                (expected, done) => panic!("{expected:?}, but {done:?}"),
            }
        }
    }
}

/// Compares everything that can be read, around the given indexes.
fn compare<const FANOUT: usize>(tree: &Tree<FANOUT>, model: &Model, indexes: &[u64]) {
    let reader = tree.reader().unwrap();
    let view = reader.read_lock();
    let census = view.validate(FANOUT).unwrap_or_else(|e| panic!("{e}\n{}", view.dump()));
    let entries = model.entries();
    assert_eq!(census.entries, entries.len());
    assert_eq!(view.iter().collect::<Vec<_>>(), entries);
    let mut reversed = entries.clone();
    reversed.reverse();
    assert_eq!(view.iter().rev().collect::<Vec<_>>(), reversed);
    for &index in indexes {
        assert_eq!(view.load(index), model.load(index), "load {index}");
        let find = entries.iter().find(|(range, _)| *range.end() >= index).cloned();
        assert_eq!(view.find(index), find, "find {index}");
        let find_rev = reversed.iter().find(|(range, _)| *range.start() <= index).cloned();
        assert_eq!(view.find_rev(index), find_rev, "find_rev {index}");
        for &other in indexes {
            let (first, last) = (index.min(other), index.max(other));
            let within = model.overlapping(first, last);
            assert_eq!(view.range(first..=last).collect::<Vec<_>>(), within, "{first}..={last}");
            let mut back: Vec<_> = view.range(first..=last).rev().collect();
            back.reverse();
            assert_eq!(back, within, "{first}..={last} from the back");
            for (size, align) in [(1, 1), (7, 4)] {
                let area = view.empty_area(size, first..=last, align);
                assert_eq!(
                    area,
                    model.empty_area(size, first, last, align),
                    "{size} in {first}..={last}"
                );
                let area = view.empty_area_rev(size, first..=last, align);
                assert_eq!(
                    area,
                    model.empty_area_rev(size, first, last, align),
                    "{size} in {first}..={last} from above"
                );
            }
        }
    }
}

fn run<const FANOUT: usize>(steps: &[Step]) {
    let tree = Tree::<FANOUT>::new().unwrap();
    let mut model = Model::default();
    for (value, step) in steps.iter().enumerate() {
        apply(&tree, &mut model, step, value as u32);
        let view = tree.write();
        if let Err(e) = view.validate(FANOUT) {
            panic!("after step {value}, {step:?}: {e}\n{}", view.dump());
        }
    }
    let mut indexes: Vec<u64> = model
        .entries()
        .iter()
        .flat_map(|(r, _)| [*r.start(), *r.end()])
        .collect();
    indexes.truncate(8);
    compare(
        &tree,
        &model,
        &[indexes, vec![0, 1, 299, u64::MAX - 1, u64::MAX]].concat(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_steps_do_as_the_model_with_three_slots(steps in prop::collection::vec(step(), 0..400)) {
        run::<3>(&steps);
    }

    #[test]
    fn random_steps_do_as_the_model_with_four_slots(steps in prop::collection::vec(step(), 0..400)) {
        run::<4>(&steps);
    }

    #[test]
    fn random_steps_do_as_the_model_with_seven_slots(steps in prop::collection::vec(step(), 0..400)) {
        run::<7>(&steps);
    }

    #[test]
    fn random_steps_do_as_the_model_with_fifteen_slots(steps in prop::collection::vec(step(), 0..800)) {
        run::<15>(&steps);
    }
}

/// Every position of a range relative to others, in a small universe: all trees of up to three
/// ranges, all stores, all erasures.
#[test]
fn every_store_and_erasure_over_every_small_tree_does_as_the_model() {
    const UNIVERSE: u64 = 8;
    let ranges: Vec<(u64, u64)> = (0..UNIVERSE)
        .flat_map(|first| (first..UNIVERSE).map(move |last| (first, last)))
        .collect();
    // Both ends of all indexes are in it.
    for offset in [0, u64::MAX - (UNIVERSE - 1)] {
        let mut cases = 0;
        let mut models = vec![Model::default()];
        for _ in 0..4 {
            let mut next = Vec::new();
            for model in &models {
                for &(first, last) in &ranges {
                    let (low, high) = (first + offset, last + offset);
                    let exchanges = (0..8).map(|thirds| {
                        let thirds = std::array::from_fn(|i| thirds >> i & 1 == 1);
                        Step::Exchange(low, high, thirds, true)
                    });
                    for step in [Step::Store(low, high), Step::EraseRange(low, high)]
                        .into_iter()
                        .chain(exchanges)
                    {
                        let mut after = model.clone();
                        let tree = Tree::<3>::from_sorted(model.entries()).unwrap();
                        apply(&tree, &mut after, &step, 9);
                        let write = tree.write();
                        write
                            .validate(3)
                            .unwrap_or_else(|e| panic!("{e} after {step:?} of {model:?}"));
                        assert_eq!(
                            write.iter().collect::<Vec<_>>(),
                            after.entries(),
                            "{step:?} of {model:?}"
                        );
                        cases += 1;
                        let disjoint = model.overlapping(low, high).is_empty();
                        let above = model.0.last_key_value().is_none_or(|(&f, _)| f < low);
                        if matches!(step, Step::Store(..)) && disjoint && above {
                            next.push(after);
                        }
                    }
                }
            }
            models = next;
        }
        println!("{cases} cases");
        assert!(cases > 10_000);
    }
}

#[test]
fn both_ends_of_an_iteration_meet_wherever_they_are() {
    let last = u64::MAX;
    let trees = [
        vec![],
        vec![0],
        vec![last],
        vec![0, last],
        vec![0, 5],
        vec![5, last],
        vec![0, 3, 4, 9, last],
    ];
    for firsts in trees {
        let tree = Tree::<3>::from_sorted(firsts.iter().map(|&first| (first..=first, 7))).unwrap();
        let view = tree.write();
        // Every order of steps from the front (0) and from the back (1), and a few more than there
        // are entries.
        for order in 0..1_u32 << (firsts.len() + 2) {
            let (mut iter, mut left) = (view.iter(), std::collections::VecDeque::from(firsts.clone()));
            for step in 0..firsts.len() + 2 {
                let (met, expected) = if order >> step & 1 == 0 {
                    (iter.next(), left.pop_front())
                } else {
                    (iter.next_back(), left.pop_back())
                };
                assert_eq!(
                    met,
                    expected.map(|first| (first..=first, 7)),
                    "{firsts:?} in order {order:b}"
                );
            }
        }
    }
}

#[test]
fn iteration_has_every_combination_of_bounds() {
    let tree = Tree::<3>::from_sorted((0..40_u32).map(|i| (u64::from(i) * 4..=u64::from(i) * 4 + 1, i))).unwrap();
    let reader = tree.reader().unwrap();
    let view = reader.read_lock();
    let all: Vec<_> = view.iter().collect();
    let bounds = |i| [Bound::Included(i), Bound::Excluded(i), Bound::Unbounded];
    for first in 0..30 {
        for last in 0..30 {
            for low in bounds(first) {
                for high in bounds(last) {
                    let holds = |i: &u64| {
                        (match low {
                            Bound::Included(l) => *i >= l,
                            Bound::Excluded(l) => *i > l,
                            Bound::Unbounded => true,
                        }) && (match high {
                            Bound::Included(h) => *i <= h,
                            Bound::Excluded(h) => *i < h,
                            Bound::Unbounded => true,
                        })
                    };
                    let expected: Vec<_> = all
                        .iter()
                        .filter(|(range, _)| range.clone().any(|i| holds(&i)))
                        .cloned()
                        .collect();
                    assert_eq!(
                        view.range((low, high)).collect::<Vec<_>>(),
                        expected,
                        "{low:?} {high:?}"
                    );
                    // From both ends in turn.
                    let mut iter = view.range((low, high));
                    let mut met = (Vec::new(), Vec::new());
                    while let Some(front) = iter.next() {
                        met.0.push(front);
                        met.1.extend(iter.next_back());
                    }
                    assert_eq!(iter.next_back(), None);
                    met.1.reverse();
                    assert_eq!([met.0, met.1].concat(), expected, "{low:?} {high:?} from both ends");
                }
            }
        }
    }
}
