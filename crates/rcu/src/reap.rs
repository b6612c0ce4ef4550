//! The reaper: frees retired objects that no reader holds, and parks each other one on a reader
//! that it waits for.
//!
//! One thread at a time reaps, whichever comes; the others go on. The reaper looks at a record
//! when it comes, and again only after the reader on which it is parked has moved. So a frozen
//! reader's objects cost nothing while it sleeps.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use alloc::vec::Vec;

use crate::block::{BLOCK, Block, BlockList, Chain, Record};
use crate::memory;
use crate::primitive::{AtomicBool, Ordering, Watch};
use crate::shared::Shared;
use crate::slot::{IDLE, Parked, Slot};
use crate::stats::Counters;

/// Blocks that one call looks at, besides those that came since the last one. So the backlog of a
/// reader that woke up shrinks while the writer goes on, and no call takes long.
const BACKLOG_BLOCKS: usize = 8;
/// The most blocks that one call looks at.
const MOST_BLOCKS: usize = 64;

/// Empty blocks that the reaper keeps for itself.
const SPARE_BLOCKS: usize = 4;
/// Empty blocks that are kept for the updater; the reaper frees what a backlog leaves above that.
const MOST_EMPTIES: usize = 1024;

/// The outcome for a block.
#[derive(PartialEq)]
enum Sifted {
    /// All its objects are freed.
    Freed,
    /// Some are parked.
    Parked,
    /// There is no memory to park them; the block must be looked at again.
    Stuck,
}

/// The lock of the reaper and what it protects.
pub(crate) struct Reaper {
    locked: AtomicBool,
    /// Whether anything waits in `state` or is parked: a call with nothing to do returns without
    /// the lock.
    backlog: AtomicBool,
    state: UnsafeCell<State>,
    /// Watches `state`, and all that is parked.
    watch: Watch,
}

struct State {
    /// Blocks to look at.
    ready: BlockList,
    /// The open sections that the current call has found; kept for its memory.
    sections: Vec<Section>,
    /// Some empty blocks, for records of one block that wait for different readers.
    spare: Chain,
    /// The first of the slots on which something is parked, claimed or not; each names the next
    /// one.
    parked: Option<NonNull<Slot>>,
}

/// A slot's announcement, as a look found it.
#[derive(Clone, Copy)]
struct Section {
    lo: u64,
    hi: u64,
    slot: NonNull<Slot>,
}

// SAFETY: only the holder of `locked` touches `state` and the slots' `parked`. Any thread may free
// retired objects, by the contract of `Updater::retire`.
unsafe impl Send for Reaper {}
// SAFETY: as for Send.
unsafe impl Sync for Reaper {}

/// Counts what a block has freed, also if one of the objects unwinds.
struct Freed<'a> {
    counters: &'a Counters,
    objects: u64,
    bytes: u64,
}

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.counters.freed(self.objects, self.bytes);
    }
}

/// The reaper's lock, held.
struct Held<'a>(&'a Reaper);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.watch.write();
        // Release pairs with the Acquire in `try_lock`.
        self.0.locked.store(false, Ordering::Release);
    }
}

impl Reaper {
    pub(crate) fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            backlog: AtomicBool::new(false),
            state: UnsafeCell::new(State {
                ready: BlockList::new(),
                sections: Vec::new(),
                spare: Chain::new(),
                parked: None,
            }),
            watch: Watch::new(),
        }
    }

    fn try_lock(&self) -> Option<Held<'_>> {
        // Acquire pairs with the Release in `Held::drop`.
        self.locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| Held(self))
    }

    /// Looks at a bounded number of blocks; returns whether there is more to do now.
    pub(crate) fn reap(&self, shared: &Shared) -> bool {
        if shared.sealed.is_empty() && !self.backlog.load(Ordering::Relaxed) {
            return false;
        }
        let Some(_held) = self.try_lock() else {
            return false;
        };
        self.watch.write();
        // SAFETY: the lock is held.
        let state = unsafe { &mut *self.state.get() };
        let mut come = shared.sealed.take_all();
        let mut blocks = BACKLOG_BLOCKS;
        while let Some(block) = come.pop() {
            state.ready.push(block);
            blocks += 1;
        }
        let mut parked = state.unpark();
        // Before any `free` runs: if one unwinds, a later call must still find the rest.
        self.backlog.store(true, Ordering::Relaxed);
        // In records: objects that were parked on many readers come back in many blocks that are
        // nearly empty.
        let mut budget = blocks.min(MOST_BLOCKS) * BLOCK;
        let mut able = state.ready.is_empty() || state.look(shared);
        while able && budget > 0 {
            let Some(block) = state.ready.front() else { break };
            // SAFETY: the block is in this state's list.
            budget = budget.saturating_sub(unsafe { block.as_ref() }.len().max(1));
            match state.sift(shared, block) {
                Sifted::Freed => {}
                Sifted::Parked => parked = true,
                Sifted::Stuck => able = false,
            }
        }
        let more = !state.ready.is_empty();
        self.backlog.store(more || parked, Ordering::Relaxed);
        // A call that could not go on cannot by trying again at once.
        more && able
    }

    /// Frees all that is left, when no reader and no user of the domain has a handle any more.
    pub(crate) fn free_everything(&self, shared: &Shared) {
        self.watch.write();
        // SAFETY: no other thread is left to hold the lock.
        let state = unsafe { &mut *self.state.get() };
        let mut sealed = shared.sealed.take_all();
        while let Some(block) = sealed.pop() {
            state.ready.push(block);
        }
        while let Some(slot) = state.parked {
            // SAFETY: slots live as long as the domain.
            let slot = unsafe { slot.as_ref() };
            // SAFETY: as above.
            let parked = unsafe { &mut *slot.parked.get() };
            state.ready.take(&mut parked.blocks);
            state.parked = parked.next;
        }
        state.sections.clear();
        while let Some(block) = state.ready.front() {
            state.sift(shared, block);
        }
    }
}

impl State {
    /// Moves what is parked on slots that have changed to `ready`; returns whether anything stays
    /// parked.
    fn unpark(&mut self) -> bool {
        let mut next = self.parked.take();
        while let Some(here) = next {
            // SAFETY: slots live as long as the domain.
            let slot = unsafe { here.as_ref() };
            // SAFETY: the reaper's lock is held, and no caller keeps one of these.
            let parked = unsafe { &mut *slot.parked.get() };
            next = parked.next;
            // Relaxed: a look with its fences follows before anything is freed.
            if slot.lo.load(Ordering::Relaxed) == parked.lo && !parked.blocks.is_empty() {
                parked.next = self.parked.replace(here);
            } else {
                parked.is_listed = false;
                self.ready.take(&mut parked.blocks);
                slot.count_parked(None);
            }
        }
        self.parked.is_some()
    }

    /// Notes which sections are open; returns whether it could.
    ///
    /// Everything in `ready` was unlinked before. So the heavy fence divides all readers: those
    /// whose announcement is seen below, and those that see the unlinking.
    fn look(&mut self, shared: &Shared) -> bool {
        if !shared.fences.heavy() {
            return false;
        }
        self.sections.clear();
        for slot in shared.registry.claimed() {
            // Acquire pairs with the Releases of `Reader`: what a section did that is over comes
            // before the free.
            let lo = slot.lo.load(Ordering::Acquire);
            // Relaxed, as its store: the fences order it, and the load of `lo` comes first.
            let hi = slot.hi.load(Ordering::Relaxed);
            if lo == IDLE {
                continue;
            }
            if self.sections.try_reserve(1).is_err() {
                return false;
            }
            let slot = slot.into();
            self.sections.push(Section { lo, hi, slot });
        }
        true
    }

    /// Returns a section that may hold the object.
    fn holder(&self, record: &Record) -> Option<Section> {
        let meets = |s: &&Section| record.retired.birth <= s.hi && record.retire >= s.lo;
        self.sections.iter().find(meets).copied()
    }

    /// Frees the objects of `block`, the first one in `ready`, that no section holds, and parks
    /// the others; returns the outcome.
    fn sift(&mut self, shared: &Shared, mut block: NonNull<Block>) -> Sifted {
        // SAFETY: the block is in this state's list, which the lock protects. It stays there until
        // all is freed: if an object's `free` unwinds, the next call goes on with the next record.
        let records = unsafe { block.as_mut() };
        let mut freed = Freed {
            counters: &shared.counters,
            objects: 0,
            bytes: 0,
        };
        // From the last: what was retired most recently is most likely in the cache.
        for i in (0..records.len()).rev() {
            let record = records.get(i);
            if self.holder(&record).is_none() {
                records.swap_remove(i);
                freed.objects += 1;
                freed.bytes += record.retired.bytes as u64;
                // SAFETY: the object was unlinked before it was retired. No open section's
                // interval meets its life, and a section that begins later does not find it. The
                // record is taken out, so this happens once.
                unsafe { (record.retired.free)(record.retired.object) };
            }
        }
        drop(freed);
        let left = records.len();
        self.ready.pop();
        if left == 0 {
            self.give_back(shared, block);
            return Sifted::Freed;
        }
        self.park(shared, block)
    }

    /// Parks the block's records, each on a section that may hold its object, of those of the last
    /// look.
    fn park(&mut self, shared: &Shared, mut block: NonNull<Block>) -> Sifted {
        // SAFETY: the block is the caller's.
        let records = unsafe { block.as_mut() };
        let Some(first) = self.holder(&records.get(0)) else {
            self.ready.push(block);
            return Sifted::Stuck;
        };
        for i in (1..records.len()).rev() {
            let record = records.get(i);
            match self.holder(&record) {
                Some(other) if other.slot != first.slot => {
                    if !self.park_one(shared, other, record) {
                        self.ready.push(block);
                        return Sifted::Stuck;
                    }
                    records.swap_remove(i);
                }
                _ => {}
            }
        }
        let parked = self.parked_on(first);
        // SAFETY: slots live as long as the domain.
        let slot = unsafe { first.slot.as_ref() };
        (0..records.len()).for_each(|i| slot.count_parked(Some(records.get(i).retired.bytes)));
        // A few records each in many blocks would keep the blocks: fill up the one in front.
        if let Some(front) = parked.blocks.first() {
            while !front.is_full() && records.len() > 0 {
                front.push(records.swap_remove(records.len() - 1));
            }
        }
        if records.len() == 0 {
            self.give_back(shared, block);
        } else {
            parked.blocks.push(block);
        }
        Sifted::Parked
    }

    /// Parks one record; returns whether there was room.
    fn park_one(&mut self, shared: &Shared, section: Section, record: Record) -> bool {
        let parked = self.parked_on(section);
        if parked.blocks.first().is_none_or(|front| front.is_full()) {
            if self.spare.len() == 0 {
                shared.empties.store(0, Ordering::Relaxed);
                self.spare = shared.empty.take_all();
            }
            let Ok(block) = self.spare.pop().map_or_else(Block::new, Ok) else {
                return false;
            };
            parked.blocks.push(block);
        }
        if let Some(front) = parked.blocks.first() {
            front.push(record);
            // SAFETY: slots live as long as the domain.
            unsafe { section.slot.as_ref() }.count_parked(Some(record.retired.bytes));
        }
        true
    }

    /// Returns the place to park what waits for `section`.
    ///
    /// Objects that wait there for an earlier section of the same reader, which has moved since
    /// `unpark`, go back to `ready`: perhaps no reader holds them now.
    fn parked_on<'a>(&mut self, section: Section) -> &'a mut Parked {
        // SAFETY: slots live as long as the domain.
        let slot = unsafe { section.slot.as_ref() };
        // SAFETY: the reaper's lock is held, and no caller keeps two of these.
        let parked = unsafe { &mut *slot.parked.get() };
        if parked.lo != section.lo {
            self.ready.take(&mut parked.blocks);
            slot.count_parked(None);
            parked.lo = section.lo;
        }
        if !parked.is_listed {
            parked.is_listed = true;
            parked.next = self.parked.replace(section.slot);
        }
        parked
    }

    /// Keeps an empty block, passes it to the updater, or frees it when that has plenty.
    fn give_back(&mut self, shared: &Shared, block: NonNull<Block>) {
        if self.spare.len() < SPARE_BLOCKS {
            self.spare.push(block);
        } else if shared.empties.load(Ordering::Relaxed) < MOST_EMPTIES {
            shared.empties.fetch_add(1, Ordering::Relaxed);
            shared.empty.push(block);
        } else {
            // SAFETY: the block is the caller's, from `Block::new`, and empty.
            drop(unsafe { memory::from_try_box(block) });
        }
    }
}
