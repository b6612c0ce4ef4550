//! Faults, zaps and monitors under loom, with tables of two entries.
//!
//! Each model sets its number of preemptions. Run by `ci/gate/loom.sh`. All sides are spawned,
//! unless that takes minutes: the main thread has fewer interleavings in loom.
//!
//! A word stands for the VMA's state, which the real caller reads from the tree. A freed table
//! fails any thread that touches it later, or that has not finished with it before.

use core::sync::atomic::{AtomicUsize, Ordering as Order};

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use super::loom_lock::LoomLock;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::machine::Machine;
use crate::pgtable::{
    Arch, CountBy, FrameChain, FrameMeta, Frames, LinkError, POISON, PageCounts, PageFlags, PageTables, Pfn, Pte,
    Walker,
};
use crate::primitive::{AtomicU64, Ordering};
use crate::vma::{Access, VmFlags};

/// The real tables, with plain addresses and numbers in the entries.
struct Small<const LEVELS: u32>;

// SAFETY: as of x86-64.
unsafe impl<const LEVELS: u32> Arch for Small<LEVELS> {
    const NAME: &'static str = "small";
    const LEVELS: u32 = LEVELS;
    const TASK_SIZE: VirtAddr = VirtAddr(PAGE_SIZE << LEVELS);

    fn table(addr: u64) -> u64 {
        addr
    }

    fn table_addr(entry: u64) -> u64 {
        assert_ne!(entry, POISON, "an entry of a table that has been freed");
        entry
    }

    fn page(pte: Pte) -> u64 {
        pte.pfn.0 << 32 | u64::from(pte.flags.bits()) | 1 << 16
    }

    fn pte(entry: u64) -> Option<Pte> {
        assert_ne!(entry, POISON, "an entry of a table that has been freed");
        (entry != 0).then(|| Pte {
            pfn: Pfn(entry >> 32),
            flags: PageFlags::from_bits_truncate(entry as u32),
        })
    }

    fn protection(_: VmFlags) -> PageFlags {
        PageFlags::READ
    }

    fn permits(_: VmFlags, _: Access) -> bool {
        true
    }
}

/// Frames without memory: no test looks at their contents.
#[derive(Default)]
struct Numbers {
    metas: [FrameMeta; 4],
    freed: AtomicUsize,
}

// SAFETY: no test asks for a page.
unsafe impl Frames for Numbers {
    fn alloc(&self, _: usize) -> FrameChain {
        FrameChain::new()
    }

    unsafe fn free(&self, frames: FrameChain) {
        self.freed.fetch_add(frames.len(), Order::Relaxed);
    }

    fn page(&self, _: Pfn) -> core::ptr::NonNull<u8> {
        unreachable!("no test looks into a page")
    }

    fn meta(&self, pfn: Pfn) -> &FrameMeta {
        &self.metas[pfn.0 as usize]
    }

    fn zero(&self) -> Pfn {
        Pfn(0)
    }
}

#[derive(Default)]
struct Model<const LEVELS: u32>(Numbers);

// SAFETY: always the same.
unsafe impl<const LEVELS: u32> Machine for Model<LEVELS> {
    type Arch = Small<LEVELS>;
    type Frames = Numbers;
    type Lock = LoomLock;
    type Notifier = ();

    fn frames(&self) -> &Numbers {
        &self.0
    }

    fn notifier(&self) -> &() {
        &()
    }
}

const LIVE: u64 = 1;
const SUPERSEDED: u64 = 2;

/// An address space of one mapping.
struct Space<const LEVELS: u32> {
    tables: PageTables<Model<LEVELS>>,
    state: AtomicU64,
    /// Whether faults check the state under the leaf table's lock, as they must.
    looks: bool,
}

impl<const LEVELS: u32> Space<LEVELS> {
    const ALL: u64 = Small::<LEVELS>::TASK_SIZE.0;

    fn new() -> Arc<Self> {
        Self::with(true)
    }

    fn with(looks: bool) -> Arc<Self> {
        Arc::new(Self {
            tables: PageTables::new(Model::default()).unwrap(),
            state: AtomicU64::new(LIVE),
            looks,
        })
    }

    fn is_live(&self) -> bool {
        // Acquire as of a VMA's state.
        self.state.load(Ordering::Acquire) == LIVE
    }

    /// Handles a fault at `addr`, with a frame at hand. A thread that finds a table dead looks once
    /// more, no more often: the table is out of the tree then.
    fn fault(&self, walker: &Walker<'_, Model<LEVELS>>, addr: u64, pfn: u64) {
        let addr = VirtAddr(addr);
        let pte = Pte {
            pfn: Pfn(pfn),
            flags: PageFlags::READ | PageFlags::WRITE,
        };
        for _ in 0..2 {
            if !self.is_live() {
                return;
            }
            let guard = walker.read_lock();
            match walker.link(&guard, addr, || self.is_live()) {
                Err(LinkError::NoMemory) => unreachable!("there is memory"),
                Err(LinkError::Stale) => {}
                Ok(leaf) => {
                    let Some(mut leaf) = leaf.lock() else { continue };
                    if self.looks && !self.is_live() {
                        continue;
                    }
                    if leaf.pte(addr).is_none() {
                        leaf.set_page(self.tables.machine().frames(), addr, None, pte);
                    }
                    return;
                }
            }
        }
        panic!("dead tables are found again");
    }

    fn munmap(&self) {
        // Release as of a VMA's state.
        self.state.store(SUPERSEDED, Ordering::Release);
        self.tables.unmap(0..Self::ALL);
    }

    /// Counts the mapped pages by a walk, after all threads have ended. Frames and tables must
    /// agree.
    fn pages(&self) -> usize {
        let walker = self.tables.walker().unwrap();
        let mapped = (0..Self::ALL)
            .step_by(PAGE_SIZE as usize)
            .filter_map(|addr| walker.translate(VirtAddr(addr)));
        let mapped = mapped.map(|pte| pte.pfn.0).collect::<Vec<_>>();
        for (pfn, meta) in self.tables.machine().frames().metas.iter().enumerate() {
            let entries = mapped.iter().filter(|&&other| other == pfn as u64).count();
            assert_eq!(meta.mapcount() as usize, entries, "a page in an unlinked table");
        }
        let mut counts = PageCounts::default();
        walker.count(0..Self::ALL, CountBy::Counters, &mut counts);
        assert_eq!(counts.rss, mapped.len() as u64 * PAGE_SIZE);
        mapped.len()
    }

    fn has_no_tables(&self) -> bool {
        self.tables.bytes() == PAGE_SIZE // the root's
    }
}

/// Spawns a thread that takes a fault.
fn faulter<const LEVELS: u32>(space: &Arc<Space<LEVELS>>, addr: u64, pfn: u64) -> JoinHandle<()> {
    let space = Arc::clone(space);
    thread::spawn(move || space.fault(&space.tables.walker().unwrap(), addr, pfn))
}

/// Spawns a thread that changes the address space.
fn other<const LEVELS: u32>(space: &Arc<Space<LEVELS>>, act: impl FnOnce(&Space<LEVELS>) + 'static) -> JoinHandle<()> {
    let space = Arc::clone(space);
    thread::spawn(move || act(&space))
}

/// Runs a model with at most `preemptions` preemptions: more take minutes.
fn model(preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(check);
}

fn fault_and_munmap<const LEVELS: u32>(pages: &'static [u64], preemptions: usize) {
    model(preemptions, move || {
        let space = Space::<LEVELS>::new();
        let faulters = (1..)
            .zip(pages)
            .map(|(pfn, page)| faulter(&space, page * PAGE_SIZE, pfn));
        let faulters = faulters.collect::<Vec<_>>();
        // With two spawned the main thread unmaps: a third one takes minutes.
        if pages.len() == 1 {
            other(&space, Space::munmap).join().unwrap();
        } else {
            space.munmap();
        }
        faulters.into_iter().for_each(|faulter| faulter.join().unwrap());
        assert_eq!(space.pages(), 0, "a page in a hole");
        assert!(space.has_no_tables(), "a table over a hole");
    });
}

#[test]
fn no_page_and_no_table_is_left_of_what_was_unmapped() {
    fault_and_munmap::<2>(&[0], 3);
    fault_and_munmap::<3>(&[0], 3);
}

#[test]
fn no_page_of_two_that_are_faulted_in_is_left_of_what_was_unmapped() {
    fault_and_munmap::<2>(&[0, 0], 2);
    fault_and_munmap::<2>(&[0, 1], 2);
}

/// A fault goes on if its mapping was replaced by the same one: no page may go into an unlinked
/// table.
#[test]
fn what_is_unmapped_and_mapped_again_has_its_pages_in_the_tree() {
    fn munmap_and_mmap<const LEVELS: u32>() {
        model(3, || {
            let space = Space::<LEVELS>::new();
            let faulter = faulter(&space, 0, 1);
            let mapper = other(&space, |space| {
                space.munmap();
                // Release as of the tree's root.
                space.state.store(LIVE, Ordering::Release);
            });
            mapper.join().unwrap();
            faulter.join().unwrap();
            space.pages();
        });
    }
    munmap_and_mmap::<2>();
    munmap_and_mmap::<3>();
}

fn fault_and_mprotect(looks: bool) {
    model(4, move || {
        let space = Space::<2>::with(looks);
        let faulter = faulter(&space, 0, 1);
        let protector = other(&space, |space| {
            // Release as of a VMA's state.
            space.state.store(SUPERSEDED, Ordering::Release);
            space.tables.protect(0..Space::<2>::ALL, PageFlags::READ);
        });
        protector.join().unwrap();
        faulter.join().unwrap();
        if space.pages() > 0 {
            let pte = space.tables.walker().unwrap().translate(VirtAddr(0)).unwrap();
            assert_eq!(pte.flags, PageFlags::READ, "a page that may be written");
        }
    });
}

#[test]
fn no_page_may_be_written_after_mprotect() {
    fault_and_mprotect(true);
}

#[test]
#[should_panic(expected = "a page that may be written")]
fn without_a_look_at_the_mapping_under_the_lock_a_page_may_be_written_after_mprotect() {
    fault_and_mprotect(false);
}

/// A mapping goes, and another one keeps its leaf table.
#[test]
fn no_page_is_left_of_what_was_unmapped_beside_another_mapping() {
    model(4, || {
        let space = Space::<2>::new();
        let walker = space.tables.walker().unwrap();
        space.fault(&walker, PAGE_SIZE, 2);
        drop(walker);
        let faulter = faulter(&space, 0, 1);
        let unmapper = other(&space, |space| {
            // Release as of a VMA's state.
            space.state.store(SUPERSEDED, Ordering::Release);
            space.tables.unmap(0..PAGE_SIZE);
        });
        unmapper.join().unwrap();
        faulter.join().unwrap();
        assert_eq!(space.pages(), 1);
        assert_eq!(space.tables.walker().unwrap().translate(VirtAddr(0)), None);
    });
}

/// One page of two goes, and the leaf table with it if it is empty then.
#[test]
fn a_leaf_that_is_shared_with_another_mapping_stays_while_it_has_a_page() {
    model(4, || {
        let space = Space::<2>::new();
        let walker = space.tables.walker().unwrap();
        space.fault(&walker, 0, 1);
        drop(walker);
        let faulter = faulter(&space, PAGE_SIZE, 2);
        let unmapper = other(&space, |space| space.tables.unmap(0..PAGE_SIZE));
        unmapper.join().unwrap();
        faulter.join().unwrap();
        assert_eq!(space.pages(), 1);
    });
}

fn monitor_and_munmap<const LEVELS: u32>(look: fn(&Walker<'_, Model<LEVELS>>), preemptions: usize) {
    model(preemptions, move || {
        let space = Space::<LEVELS>::new();
        let monitor = {
            let space = Arc::clone(&space);
            thread::spawn(move || look(&space.tables.walker().unwrap()))
        };
        let writer = other(&space, |space| {
            let walker = space.tables.walker().unwrap();
            space.fault(&walker, 0, 1);
            drop(walker);
            space.munmap();
        });
        writer.join().unwrap();
        monitor.join().unwrap();
        assert_eq!(space.pages(), 0);
    });
}

#[test]
fn a_monitor_touches_no_table_that_is_freed() {
    fn translate<const LEVELS: u32>(walker: &Walker<'_, Model<LEVELS>>) {
        if let Some(pte) = walker.translate(VirtAddr(0)) {
            assert_eq!(pte.pfn, Pfn(1));
        }
    }
    monitor_and_munmap::<2>(translate, 3);
    monitor_and_munmap::<3>(translate, 2);
}

#[test]
fn counters_that_a_monitor_adds_up_are_of_tables_that_are_there() {
    fn count<const LEVELS: u32>(walker: &Walker<'_, Model<LEVELS>>) {
        let mut counts = PageCounts::default();
        walker.count(0..2 * PAGE_SIZE, CountBy::Counters, &mut counts);
        assert!([0, PAGE_SIZE].contains(&counts.rss));
    }
    monitor_and_munmap::<2>(count, 2);
    monitor_and_munmap::<3>(count, 2);
}
