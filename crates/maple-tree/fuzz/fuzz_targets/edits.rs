//! Edits that a fuzzer makes up, in transactions that are published or undone, against the tests'
//! naive model.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use maple_tree::{DefaultLock, MapleTree};
use model::Model;
use vmaple_rcu::RcuDomain;

#[path = "../../tests/model/mod.rs"]
mod model;

#[derive(Arbitrary, Debug)]
enum Edit {
    Insert(Place, u8),
    Store(Place, u8),
    Erase(Place),
    EraseRange(Place, u16),
    Alloc { size: u8, limits: (Place, u16), align: u8, rev: bool },
    Commit,
    Undo,
}

/// An index at either end of the index space.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Low(u16),
    High(u16),
}

impl Place {
    fn index(self) -> u64 {
        match self {
            Self::Low(i) => u64::from(i % 1024),
            Self::High(i) => u64::MAX - u64::from(i % 1024),
        }
    }

    fn to(self, more: u64) -> (u64, u64) {
        (self.index(), self.index().saturating_add(more))
    }
}

fn run<const FANOUT: usize>(edits: &[Edit]) {
    let tree = MapleTree::<u32, RcuDomain, DefaultLock, FANOUT>::new().expect("memory");
    let (mut published, mut now) = (Model::default(), Model::default());
    let mut write = tree.write();
    for (value, edit) in (0..).zip(edits) {
        match *edit {
            Edit::Insert(place, more) => {
                let (first, last) = place.to(more.into());
                assert_eq!(write.insert_range(first..=last, value).is_ok(), now.insert(first, last, value));
            }
            Edit::Store(place, more) => {
                let (first, last) = place.to(more.into());
                let displaced: Vec<_> = write.store_range(first..=last, value).expect("memory").collect();
                assert_eq!(displaced, now.store(first, last, value));
            }
            Edit::Erase(place) => {
                assert_eq!(write.erase(place.index()).expect("memory"), now.erase(place.index()));
            }
            Edit::EraseRange(place, more) => {
                let (first, last) = place.to(more.into());
                let displaced: Vec<_> = write.erase_range(first..=last).expect("memory").collect();
                assert_eq!(displaced, now.erase_range(first, last));
            }
            Edit::Alloc { size, limits: (place, more), align, rev } => {
                let (size, align) = (u64::from(size) + 1, 1 << (align % 64));
                let (min, max) = place.to(more.into());
                let (found, expected) = if rev {
                    (write.alloc_range_rev(size, min..=max, align, value), now.empty_area_rev(size, min, max, align))
                } else {
                    (write.alloc_range(size, min..=max, align, value), now.empty_area(size, min, max, align))
                };
                assert_eq!(found.ok(), expected);
                if let Some(first) = expected {
                    now.insert(first, first + (size - 1), value);
                }
            }
            Edit::Commit => {
                write.commit();
                published = now.clone();
            }
            Edit::Undo => {
                drop(write);
                write = tree.write();
                now = published.clone();
            }
        }
        write.validate(FANOUT).expect("a valid tree");
        assert_eq!(write.iter().collect::<Vec<_>>(), now.entries());
    }
    drop(write);
    assert_eq!(tree.snapshot().expect("memory").iter().collect::<Vec<_>>(), published.entries());
}

fuzz_target!(|edits: Vec<Edit>| {
    run::<3>(&edits);
    run::<15>(&edits);
});
