//! Where readers announce themselves: a slot each, in chunks that are added and never removed while the domain lives.

use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use crate::block::BlockList;
use crate::error::AllocError;
use crate::memory;
use crate::primitive::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, unique_id};

/// The value of `lo` outside of a section: no era reaches it.
pub(crate) const IDLE: u64 = u64::MAX;

/// One reader's announcement: it may hold pointers to objects that were reachable in the eras `lo..=hi`.
///
/// A line of its own, so that readers do not slow each other.
#[repr(align(128))]
pub(crate) struct Slot {
    /// First era, or [`IDLE`].
    pub(crate) lo: AtomicU64,
    /// Last era; means nothing while `lo` is [`IDLE`].
    pub(crate) hi: AtomicU64,
    /// Whether a reader owns the slot.
    claimed: AtomicBool,
    /// Which registration owns it, or owned it last.
    pub(crate) reader: AtomicU64,
    /// What is in `parked`, for who asks. Written by the holder of the reaper's lock.
    pub(crate) pinned_objects: AtomicU64,
    pub(crate) pinned_bytes: AtomicU64,
    /// Retired objects that this reader keeps from being freed, and the `lo` with which it did. For the holder of the
    /// reaper's lock only.
    pub(crate) parked: UnsafeCell<Parked>,
}

/// What waits for one slot to change.
pub(crate) struct Parked {
    pub(crate) blocks: BlockList,
    pub(crate) lo: u64,
}

impl Slot {
    fn new() -> Self {
        Self {
            lo: AtomicU64::new(IDLE),
            hi: AtomicU64::new(0),
            claimed: AtomicBool::new(false),
            reader: AtomicU64::new(0),
            pinned_objects: AtomicU64::new(0),
            pinned_bytes: AtomicU64::new(0),
            parked: UnsafeCell::new(Parked {
                blocks: BlockList::new(),
                lo: IDLE,
            }),
        }
    }

    fn claim(&self) -> bool {
        // Acquire pairs with the Release in `release`: the last owner is done with the slot.
        let claimed = !self.claimed.load(Ordering::Relaxed)
            && self
                .claimed
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if claimed {
            self.reader.store(unique_id(), Ordering::Relaxed);
        }
        claimed
    }

    /// Notes that one more object is parked here, or, for `None`, that nothing is. By the holder of the reaper's lock.
    pub(crate) fn count_parked(&self, bytes: Option<usize>) {
        for (counter, more) in [
            (&self.pinned_objects, bytes.map(|_| 1)),
            (&self.pinned_bytes, bytes.map(|b| b as u64)),
        ] {
            let sum = more.map_or(0, |more| counter.load(Ordering::Relaxed).wrapping_add(more));
            counter.store(sum, Ordering::Relaxed);
        }
    }

    /// Gives the slot back; the reader is outside of any section.
    pub(crate) fn release(&self) {
        // Pairs with the Acquire in `claim`.
        self.claimed.store(false, Ordering::Release);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
const CHUNK: usize = 16;
#[cfg(loom)]
const CHUNK: usize = 2;

struct Chunk {
    slots: [Slot; CHUNK],
    /// Slots from the first on that have ever been claimed.
    used: AtomicUsize,
    /// Written before the chunk is published, never after.
    next: *mut Chunk,
}

/// All slots of a domain.
///
/// # Invariants
/// `chunks` heads a list of chunks from [`memory::try_box`]; a chunk stays where it is until the registry is dropped.
pub(crate) struct Registry {
    chunks: AtomicPtr<Chunk>,
}

// SAFETY: slots are shared by design: their atomics by all, `parked` by the holder of the reaper's lock.
unsafe impl Send for Registry {}
// SAFETY: as for Send.
unsafe impl Sync for Registry {}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            chunks: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Claims a slot; it lives as long as the registry.
    pub(crate) fn claim(&self) -> Result<NonNull<Slot>, AllocError> {
        for chunk in self.chunks() {
            if let Some(i) = chunk.slots.iter().position(Slot::claim) {
                // Relaxed: before the reader's fence, as its announcements are.
                chunk.used.fetch_max(i + 1, Ordering::Relaxed);
                return Ok((&chunk.slots[i]).into());
            }
        }
        let chunk = memory::try_box(Chunk {
            slots: core::array::from_fn(|_| Slot::new()),
            used: AtomicUsize::new(1),
            next: ptr::null_mut(),
        })?;
        // SAFETY: the chunk is new and this thread's alone; slot 0 exists.
        let slot = unsafe { &(*chunk.as_ptr()).slots[0] };
        slot.claim();
        let mut head = self.chunks.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet, so still this thread's alone.
            unsafe { (*chunk.as_ptr()).next = head };
            // Release pairs with the Acquire in `iter`: who finds the chunk finds it initialised.
            match self
                .chunks
                .compare_exchange(head, chunk.as_ptr(), Ordering::Release, Ordering::Relaxed)
            {
                // INVARIANT: the list has grown by a chunk from `try_box`.
                Ok(_) => return Ok(slot.into()),
                Err(now) => head = now,
            }
        }
    }

    /// All slots that have ever been claimed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.chunks()
            .flat_map(|chunk| &chunk.slots[..chunk.used.load(Ordering::Relaxed)])
    }

    /// The chunks that are in the list now.
    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        // Pairs with the Release in `claim`.
        let mut chunk = self.chunks.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: by the type's invariant a chunk in the list is initialised and lives as long as `self`.
            let this = unsafe { chunk.as_ref()? };
            chunk = this.next;
            Some(this)
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut chunk = self.chunks.load(Ordering::Relaxed);
        while let Some(this) = NonNull::new(chunk) {
            // SAFETY: nobody else is left, and by the type's invariant the chunk came from `try_box`.
            let this = unsafe { memory::from_try_box(this) };
            chunk = this.next;
        }
    }
}
