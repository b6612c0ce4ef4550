//! The writer's side: stamps, retires, advances the era. In constant time, and without waiting for
//! a reader.

use core::fmt;
use core::ptr::NonNull;

use crate::block::{BLOCK, Block, Chain, Record, Retired};
use crate::error::AllocError;
use crate::handle::Handle;
use crate::memory;
use crate::primitive::{Ordering, own_load, relax};
use crate::slot::{IDLE, Slot};

/// The number of objects, born or retired, after which the era advances.
const ERA_OBJECTS: usize = if cfg!(loom) { 1 } else { 64 };
/// The number of bytes, born or retired, after which the era advances.
const ERA_BYTES: usize = 64 << 10;

/// The right to change the domain's structures. There is one, so it belongs inside of the
/// structure's lock.
///
/// Only one thread at a time stamps, retires and advances. That makes the order of eras the order
/// of the unlinking stores; `&mut` says it to the compiler.
///
/// # Invariants
/// `open` has room; `spare` are empty blocks.
pub struct Updater {
    domain: Handle,
    open: Option<NonNull<Block>>,
    spare: Chain,
    /// Born and retired since the era last advanced.
    objects: usize,
    bytes: usize,
    /// Records and bytes in `open`.
    open_bytes: u64,
    /// Blocks sealed since `reap_due` last returned true.
    sealed: usize,
}

// SAFETY: it owns its blocks. The objects in them were retired as `Updater::retire` demands, so
// any thread may free them.
unsafe impl Send for Updater {}

impl Updater {
    pub(crate) fn new(domain: Handle) -> Self {
        Self {
            domain,
            open: None,
            spare: Chain::new(),
            objects: 0,
            bytes: 0,
            open_bytes: 0,
            sealed: 0,
        }
    }

    pub(crate) fn domain(&self) -> &Handle {
        &self.domain
    }

    /// Makes sure that the next `objects` calls of [`retire`](Self::retire) need no memory.
    ///
    /// A [`flush`](Self::flush) or [`rcu_barrier`](Self::rcu_barrier) in between takes that
    /// promise away.
    ///
    /// # Errors
    /// [`AllocError`] if there is none. What has been retired stays so, and nothing is kept of
    /// what was taken.
    pub fn reserve(&mut self, objects: usize) -> Result<(), AllocError> {
        // SAFETY: the open block is this value's own.
        let room = self.open.map_or(0, |open| BLOCK - unsafe { open.as_ref() }.len());
        let wanted = objects.saturating_sub(room).div_ceil(BLOCK);
        if self.spare.len() < wanted {
            self.domain.empties.store(0, Ordering::Relaxed);
            self.spare.append(self.domain.empty.take_all());
        }
        let missing = wanted.saturating_sub(self.spare.len());
        if missing > 0 {
            memory::ask_for(missing, size_of::<Block>())?;
            let mut taken = Chain::new();
            for _ in 0..missing {
                taken.push(Block::new()?);
            }
            self.spare.append(taken);
        }
        Ok(())
    }

    /// Returns the stamp of an object of `bytes` bytes that is about to be published.
    ///
    /// Call it after all that the object points to has been stamped, and before the store that
    /// publishes it.
    #[inline]
    pub fn birth(&mut self, bytes: usize) -> u64 {
        self.count(bytes);
        // Only this value advances it.
        own_load(&self.domain.era)
    }

    /// Defers the freeing of an object until no reader can hold it.
    ///
    /// # Errors
    /// Returns the record if there is no memory to note it. Nothing has changed then, and the
    /// caller may try again later. After [`reserve`](Self::reserve) that does not happen.
    ///
    /// # Safety
    /// - `retired.birth` is from [`birth`](Self::birth) of this domain, for this object, before its
    ///   publication.
    /// - No word that a reader may still load holds the object. It has been unlinked by a store of
    ///   this thread, or ordered before this call, and so has it from every word of unlinked
    ///   objects (rule C).
    /// - `retired.free` frees the object, in any thread, without unwinding, and this is the only
    ///   time that it is retired.
    #[doc(alias = "call_rcu")]
    pub unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        let mut open = match self.open {
            Some(open) => open,
            None => {
                if self.reserve(1).is_err() {
                    return Err(retired);
                }
                let Some(block) = self.spare.pop() else {
                    return Err(retired);
                };
                self.open = Some(block);
                block
            }
        };
        let record = Record {
            retired,
            // Only this value advances it. The unlinking store came before, and the store of the
            // next era will come after, with Release: a reader of that era does not find the
            // object any more.
            retire: own_load(&self.domain.era),
        };
        // SAFETY: the open block is this value's own; by the type's invariant it has room.
        let block = unsafe { open.as_mut() };
        block.push(record);
        self.open_bytes += retired.bytes as u64;
        if block.is_full() {
            self.seal();
        }
        self.count(retired.bytes);
        Ok(())
    }

    /// Returns the last era from which an open section that began before may hold anything.
    ///
    /// What this thread has unlinked before, and was born later, no reader can hold: it may be
    /// freed at once instead of retired. 0 if no section is open; `u64::MAX` if that cannot be
    /// told.
    ///
    /// Costs a fence and a look at every registered reader: for a writer next to which there are
    /// usually no readers, or readers that stand still. With [`Fences::Asymmetric`](crate::Fences)
    /// it would be a system call, and the answer is `u64::MAX`.
    #[inline]
    pub fn held_until(&mut self) -> u64 {
        let fences = self.domain.fences;
        if !fences.is_heavy_cheap() || !fences.heavy() {
            return u64::MAX;
        }
        let held = |slot: &Slot| {
            // As in the reaper's look. Acquire: what sections did that are over comes before the
            // free.
            if slot.lo.load(Ordering::Acquire) == IDLE {
                0
            } else {
                // Relaxed, as in the reaper's look.
                slot.hi.load(Ordering::Relaxed)
            }
        };
        self.domain.registry.claimed().map(held).max().unwrap_or(0)
    }

    /// Returns whether enough has been retired since it last returned true that
    /// [`RcuDomain::reap`](crate::RcuDomain::reap) is worth its fence.
    ///
    /// The writer asks under the structure's lock, and then reaps after it has left the lock.
    #[inline]
    pub fn reap_due(&mut self) -> bool {
        if self.sealed < self.domain.fences.blocks_for_a_fence() {
            return false;
        }
        self.sealed = 0;
        true
    }

    /// Reaps as [`RcuDomain::reap`](crate::RcuDomain::reap), for a writer that has no lock to
    /// leave first.
    pub fn reap(&self) -> bool {
        self.domain.reap()
    }

    /// Hands over what has been retired so far, so that
    /// [`RcuDomain::reap`](crate::RcuDomain::reap) finds it: for a writer that goes idle.
    pub fn flush(&mut self) {
        self.seal();
        // Otherwise later sections would announce the era in which the last objects were retired.
        self.advance();
    }

    /// Waits until every section that is open now has ended.
    ///
    /// Call it neither inside of a section, nor in a `free` or drop that the reaper runs: it would
    /// wait for itself. It does not end either if the kernel refuses membarrier(2) to a process
    /// that it had allowed it.
    pub fn synchronize_rcu(&mut self) {
        self.advance();
        // Only this value advances it.
        let era = own_load(&self.domain.era);
        let mut round = 0;
        while !self.domain.fences.heavy() {
            relax(round);
            round += 1;
        }
        for slot in self.domain.registry.claimed() {
            let mut round = 0;
            // Acquire pairs with the Releases of `Reader`: the accesses of the section come before.
            // A section with a later `lo` began after the advance, or holds nothing from before it.
            // IDLE is later than any era.
            while slot.lo.load(Ordering::Acquire) < era {
                relax(round);
                round += 1;
            }
        }
        const { assert!(IDLE == u64::MAX) };
    }

    /// Waits until everything that has been retired so far is freed.
    ///
    /// Call it only where [`synchronize_rcu`](Self::synchronize_rcu) may be called.
    pub fn rcu_barrier(&mut self) {
        self.seal();
        let retired_before = self.domain.counters.read();
        let target = retired_before.freed_objects + retired_before.deferred_objects;
        self.synchronize_rcu();
        let mut round = 0;
        while self.domain.counters.read().freed_objects < target {
            self.reap();
            relax(round);
            round += 1;
        }
    }

    /// Counts an object that was born or retired, and advances the era when there were enough.
    #[inline]
    fn count(&mut self, bytes: usize) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.objects >= ERA_OBJECTS || self.bytes >= ERA_BYTES {
            self.advance();
        }
    }

    fn advance(&mut self) {
        (self.objects, self.bytes) = (0, 0);
        let era = own_load(&self.domain.era);
        // Release pairs with the Acquires in `Reader::enter` and `Reader::covered`: a reader of
        // this era does not see what was unlinked before. 2^64 eras do not pass.
        self.domain.era.store(era + 1, Ordering::Release);
    }

    fn seal(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        // SAFETY: the open block is this value's own.
        let objects = unsafe { open.as_ref() }.len();
        self.domain.counters.retired(objects as u64, self.open_bytes);
        self.open_bytes = 0;
        self.domain.sealed.push(open);
        self.sealed += 1;
    }
}

impl Drop for Updater {
    /// Hands over what is left and frees what no reader holds.
    fn drop(&mut self) {
        self.flush();
        while self.reap() {}
    }
}

impl fmt::Debug for Updater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("Updater");
        this.field("domain", &self.domain.id);
        this.field("era", &own_load(&self.domain.era));
        // SAFETY: the open block is this value's own.
        let open = self.open.map_or(0, |open| unsafe { open.as_ref() }.len());
        this.field("not_handed_over", &open).finish_non_exhaustive()
    }
}
