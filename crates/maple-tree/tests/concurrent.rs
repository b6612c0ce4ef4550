//! Readers next to a writer: every answer must be that of one state that the tree was in while it
//! was asked for.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "../../rcu/tests/epochs/mod.rs"]
mod epochs;
mod model;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_epoch::Collector;
use epochs::{EpochUpdate, Epochs};
use maple_tree::{AllocError, DefaultLock, MapleTree, View};
use model::{Entry, Model};
use vmaple_rcu::{Fences, OwnedSections, RcuDomain, Reclaim, Updater};

const VERSIONS: usize = if cfg!(miri) { 10 } else { 4_000 };
/// Indexes are below this, so that ranges meet often.
const SPAN: u64 = 200;

/// An answer to a reader, and the versions that there were during it.
struct Answer {
    /// Versions published when it began to ask, and being published when it had the answer.
    during: (usize, usize),
    said: Said,
}

enum Said {
    All(Vec<Entry>),
    AllReversed(Vec<Entry>),
    Load(u64, Option<u32>),
    Find(u64, Option<Entry>),
    FindRev(u64, Option<Entry>),
    Gap(u64, u64, Option<u64>),
}

impl Said {
    fn ask(view: &View<u32>, random: &mut fastrand::Rng) -> Self {
        let index = random.u64(..SPAN);
        match random.u32(..6) {
            0 => Self::All(view.iter().collect()),
            1 => Self::AllReversed(view.iter().rev().collect()),
            2 => Self::Load(index, view.load(index)),
            3 => Self::Find(index, view.find(index)),
            4 => Self::FindRev(index, view.find_rev(index)),
            _ => {
                let size = random.u64(1..20);
                Self::Gap(size, index, view.empty_area(size, index.., 1))
            }
        }
    }

    fn is_true_of(&self, model: &Model) -> bool {
        let entries = model.entries();
        match self {
            Self::All(all) => *all == entries,
            Self::AllReversed(all) => all.iter().rev().eq(&entries),
            Self::Load(index, held) => *held == model.load(*index),
            Self::Find(index, found) => found.as_ref() == entries.iter().find(|(r, _)| r.end() >= index),
            Self::FindRev(index, found) => found.as_ref() == entries.iter().rev().find(|(r, _)| r.start() <= index),
            Self::Gap(size, min, found) => *found == model.empty_area(*size, *min, u64::MAX, 1),
        }
    }
}

/// Publishes versions of a few edits each, while readers ask; then compares.
fn run<R: Reclaim, const FANOUT: usize>(tree: &MapleTree<u32, R, DefaultLock, FANOUT>, seed: u64) {
    println!("VMAPLE_SEED={seed}");
    let (published, publishing) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    let mut answers = Vec::new();
    let mut versions = vec![Model::default()];
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|i| {
            let (published, publishing, done) = (&published, &publishing, &done);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ i);
                let reader = tree.reader().unwrap();
                let mut mine = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    // Both SeqCst, with the writer's: what is read lies between.
                    let first = published.load(Ordering::SeqCst);
                    let view = reader.read_lock();
                    let last = publishing.load(Ordering::SeqCst);
                    // One guard, several questions: all have the same version.
                    for _ in 0..3 {
                        let said = Said::ask(&view, &mut random);
                        mine.push(Answer {
                            during: (first, last),
                            said,
                        });
                    }
                    drop(view);
                    if mine.len() % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
                mine
            })
        });
        let mut random = fastrand::Rng::with_seed(seed);
        for version in 1..=VERSIONS {
            let mut model = versions[version - 1].clone();
            let mut write = tree.write();
            for _ in 0..random.usize(1..4) {
                let first = random.u64(..SPAN);
                let last = first + random.u64(..12);
                if random.bool() {
                    write.store_range(first..=last, version as u32).unwrap();
                    model.store(first, last, version as u32);
                } else {
                    write.erase_range(first..=last).unwrap();
                    model.erase_range(first, last);
                }
            }
            publishing.store(version, Ordering::SeqCst);
            write.commit();
            published.store(version, Ordering::SeqCst);
            drop(write);
            versions.push(model);
            if version % 16 == 0 {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        answers.extend(readers.map(|reader| reader.join().unwrap()).into_iter().flatten());
    });
    println!("{} answers", answers.len());
    assert!(!answers.is_empty());
    for Answer {
        during: (first, last),
        said,
    } in &answers
    {
        let is_true = versions[*first..=*last].iter().any(|version| said.is_true_of(version));
        assert!(is_true, "an answer is of no version from {first} to {last}");
    }
}

fn seed() -> u64 {
    std::env::var("VMAPLE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap())
}

#[test]
fn every_answer_is_one_of_a_state_that_was() {
    run(&MapleTree::<u32, RcuDomain, DefaultLock, 3>::new().unwrap(), seed());
    run(&MapleTree::<u32>::new().unwrap(), seed());
}

#[test]
fn every_answer_is_one_of_a_state_that_was_over_another_reclamation() {
    let collector = Collector::new();
    let update = EpochUpdate(collector.clone());
    let tree = MapleTree::<u32, Epochs, DefaultLock, 4>::with_rcu(Epochs(collector), update).unwrap();
    run(&tree, seed());
}

#[test]
fn a_snapshot_stays_what_it_was_whatever_comes_and_goes() {
    let tree = MapleTree::<u32, RcuDomain, DefaultLock, 4>::new().unwrap();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut model = Model::default();
    let mut kept = Vec::new();
    let (values, for_each_snapshot) = if cfg!(miri) { (40, 20) } else { (3_000, 100) };
    for value in 0..values {
        let first = random.u64(..SPAN);
        let last = first + random.u64(..12);
        tree.store_range(first..=last, value).unwrap();
        model.store(first, last, value);
        if value % for_each_snapshot == 0 {
            kept.push((tree.snapshot().unwrap(), model.entries()));
        }
    }
    drop(tree);
    // The tree is gone; other threads look at the snapshots.
    for (snapshot, entries) in kept {
        std::thread::spawn(move || {
            assert_eq!(snapshot.iter().collect::<Vec<_>>(), entries);
            snapshot.validate(4).unwrap();
        })
        .join()
        .unwrap();
    }
}

/// Counts how often roots are loaded.
struct Counting(RcuDomain, &'static AtomicUsize);

static LOADS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the domain's own, with a count.
unsafe impl Reclaim for Counting {
    type Reader = vmaple_rcu::Reader;
    type Section<'r> = vmaple_rcu::Guard<'r>;
    type Update = Updater;

    fn owns(&self, update: &Updater) -> bool {
        self.0.owns(update)
    }

    fn reader(&self) -> Result<Self::Reader, AllocError> {
        let _ = self.1;
        self.0.reader()
    }

    fn read_lock<'r>(reader: &'r Self::Reader) -> Self::Section<'r>
    where
        Self: 'r,
    {
        reader.read_lock()
    }

    fn read_lock_at<'r, P>(reader: &'r Self::Reader, mut root: impl FnMut() -> P) -> (Self::Section<'r>, P)
    where
        Self: 'r,
    {
        reader.read_lock_at(|| {
            LOADS.fetch_add(1, Ordering::Relaxed);
            root()
        })
    }

    fn reap(&self) -> bool {
        RcuDomain::reap(&self.0)
    }
}

/// Loading the root is the only step that a writer can make a reader repeat, and it has a bound.
#[test]
fn a_reader_loads_the_root_a_bounded_number_of_times_and_nothing_else_twice() {
    // Miri has no membarrier(2).
    let fences = if cfg!(miri) {
        Fences::Symmetric
    } else {
        Fences::cheapest_for_readers()
    };
    let (domain, updater) = RcuDomain::with_fences(fences).unwrap();
    let tree = MapleTree::<u32, Counting>::with_rcu(Counting(domain, &LOADS), updater).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut value = 0;
            while !done.load(Ordering::Relaxed) {
                let first = u64::from(value % 1000) * 10;
                tree.store_range(first..=first + 5, value).unwrap();
                value = value.wrapping_add(1);
            }
        });
        let reader = tree.reader().unwrap();
        for _ in 0..if cfg!(miri) { 5 } else { 2_000 } {
            let before = LOADS.load(Ordering::Relaxed);
            let view = reader.read_lock();
            let loads = LOADS.load(Ordering::Relaxed) - before;
            assert!((1..=65).contains(&loads), "{loads} loads of the root");
            let height = view.height();
            assert!(height <= 5);
            let entries = view.iter().count();
            for index in (0..10_000).step_by(500) {
                let _ = (view.find(index), view.empty_area(7, index.., 1));
            }
            // The version is unchanged, and no root was loaded for it.
            assert_eq!((view.height(), view.iter().count()), (height, entries));
            assert_eq!(LOADS.load(Ordering::Relaxed), before + loads);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

#[test]
fn readers_that_own_their_tree_keep_it() {
    let tree = std::sync::Arc::new(MapleTree::<u32>::new().unwrap());
    tree.insert(5, 50).unwrap();
    let reader = tree.owned_reader().unwrap();
    drop(tree);
    let thread = std::thread::spawn(move || reader.read_lock().load(5));
    assert_eq!(thread.join().unwrap(), Some(50));
}

fn _a_snapshot_is_send_and_sync<R: OwnedSections>() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<maple_tree::Snapshot<u32, R>>();
}
