//! Where readers announce themselves: a slot each, in chunks that are added and never removed
//! while the domain lives.
//!
//! A look passes over slots that no reader owns, so it costs what there are readers now, and not
//! what there once were. A bit for each slot says whether it is owned, and a count for each chunk
//! whether any is.
//!
//! # What a look may pass over
//! A reader claims its slot (sets the bit, adds to the count, both in read-modify-writes) before
//! all its sections. Each section stores `lo`, passes its light fence, and only then loads
//! pointers. A look passes its heavy fence, and only then loads links of chunks, counts, bits and
//! `lo`. Take a section that a look does not see.
//!
//! - The look has loaded a null link, a count, a word of bits, or a `lo` that is older than the
//!   reader's own store. Then by the contract of the fences ([`crate::fences`]) the section's loads
//!   find all that was unlinked before the look. It does not matter which of these words it was,
//!   nor whether the claim was made at that moment: all stores come before the light fence, all
//!   loads after the heavy one.
//! - It has loaded a count without the reader, its bit cleared, or [`IDLE`], that the reader stored
//!   after the section. Each of these is stored with Release and loaded with Acquire, so what the
//!   section has done comes before the purpose of the look. Counts and words are changed by
//!   read-modify-writes only, each of which continues the release sequences of those before: a
//!   later claim of the slot, or another slot's, takes nothing from that.
//!
//! There is no third case: between claim and release the count is above zero and the bit set in
//! every value that the words take.
//!
//! Slots are claimed from the lowest on, so that the survivors of a burst move down as they
//! register again. The reaper finds what is parked on a released slot by its own list, not by the
//! bits.

use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use alloc::vec::Vec;

use crate::block::BlockList;
use crate::error::AllocError;
use crate::memory;
use crate::primitive::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, own_load, unique_id};

/// The value of `lo` outside of sections: no era reaches it.
pub(crate) const IDLE: u64 = u64::MAX;

/// Slots of the first chunk. Each later one has twice as many as the one before.
const FIRST: usize = if cfg!(loom) { 1 } else { 16 };
/// The most slots of a chunk: a look that finds one reader in it reads that many bits.
const LARGEST: usize = if cfg!(loom) { 2 } else { 4096 };
/// Slots for each word of bits.
const WORD: usize = u64::BITS as usize;

/// One reader's announcement: it may hold pointers to objects that were reachable in the eras
/// `lo..=hi`.
///
/// Cache lines of its own, so that readers do not slow each other.
#[repr(align(128))]
pub(crate) struct Slot {
    /// First era, or [`IDLE`].
    pub(crate) lo: AtomicU64,
    /// Last era; means nothing while `lo` is [`IDLE`].
    pub(crate) hi: AtomicU64,
    /// The number of the registration that owns it, or owned it last.
    pub(crate) reader: AtomicU64,
    /// What is in `parked`, for statistics. Written by the holder of the reaper's lock.
    pub(crate) pinned_objects: AtomicU64,
    pub(crate) pinned_bytes: AtomicU64,
    /// Retired objects that this reader keeps from being freed. For the holder of the reaper's
    /// lock only.
    pub(crate) parked: UnsafeCell<Parked>,
}

/// The objects that wait for one slot to change.
pub(crate) struct Parked {
    pub(crate) blocks: BlockList,
    /// The `lo` with which the slot keeps them.
    pub(crate) lo: u64,
    /// Whether the slot is in the reaper's list, and the next one there.
    pub(crate) is_listed: bool,
    pub(crate) next: Option<NonNull<Slot>>,
}

impl Slot {
    fn new() -> Self {
        Self {
            lo: AtomicU64::new(IDLE),
            hi: AtomicU64::new(0),
            reader: AtomicU64::new(0),
            pinned_objects: AtomicU64::new(0),
            pinned_bytes: AtomicU64::new(0),
            parked: UnsafeCell::new(Parked {
                blocks: BlockList::new(),
                lo: IDLE,
                is_listed: false,
                next: None,
            }),
        }
    }

    /// Counts one more parked object, or, for `None`, that nothing is parked. By the holder of the
    /// reaper's lock.
    pub(crate) fn count_parked(&self, bytes: Option<usize>) {
        for (counter, more) in [
            (&self.pinned_objects, bytes.map(|_| 1)),
            (&self.pinned_bytes, bytes.map(|b| b as u64)),
        ] {
            let sum = more.map_or(0, |more| own_load(counter).wrapping_add(more));
            counter.store(sum, Ordering::Relaxed);
        }
    }
}

/// A chunk of slots.
///
/// # Invariants
/// The vectors keep their length: their memory stays where it is. `claimed` has a bit for each
/// slot.
struct Chunk {
    /// Claimed slots.
    count: AtomicUsize,
    /// Bit `i % 64` of word `i / 64`: whether slot `i` is claimed.
    claimed: Vec<AtomicU64>,
    slots: Vec<Slot>,
    next: AtomicPtr<Chunk>,
}

/// Returns a vector of `len` values.
fn try_vec<T>(len: usize, value: impl Fn() -> T) -> Result<Vec<T>, AllocError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| AllocError)?;
    vec.resize_with(len, value);
    Ok(vec)
}

impl Chunk {
    fn new(len: usize) -> Result<NonNull<Self>, AllocError> {
        memory::try_box(Self {
            count: AtomicUsize::new(0),
            claimed: try_vec(len.div_ceil(WORD), || AtomicU64::new(0))?,
            slots: try_vec(len, Slot::new)?,
            next: AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Claims the lowest free slot, if there is one; returns its index.
    fn claim(&self) -> Option<usize> {
        // Relaxed: a hint; a thread that misses a slot takes a higher one.
        if self.count.load(Ordering::Relaxed) >= self.slots.len() {
            return None;
        }
        for (at, word) in self.claimed.iter().enumerate() {
            // Relaxed: a hint, which the read-modify-write below confirms.
            let mut bits = word.load(Ordering::Relaxed);
            loop {
                let bit = bits.trailing_ones() as usize;
                let index = at * WORD + bit;
                if bit == WORD || index >= self.slots.len() {
                    break;
                }
                // Acquire pairs with the Release in `Claim::release`: the last owner is done with
                // the slot.
                bits = word.fetch_or(1 << bit, Ordering::Acquire);
                if bits & 1 << bit == 0 {
                    // Relaxed: before the reader's fences, as its announcements are.
                    self.count.fetch_add(1, Ordering::Relaxed);
                    self.slots[index].reader.store(unique_id(), Ordering::Relaxed);
                    return Some(index);
                }
            }
        }
        None
    }
}

/// An owned slot.
///
/// # Invariants
/// `slot` is the `index`th of `chunk`, and claimed for this value. Both live as long as the
/// registry.
pub(crate) struct Claim {
    slot: NonNull<Slot>,
    chunk: NonNull<Chunk>,
    index: usize,
}

impl Claim {
    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: by the type's invariant; its user keeps the registry.
        unsafe { self.slot.as_ref() }
    }

    /// Gives the slot back. Its reader is outside of any section, and uses it no more.
    pub(crate) fn release(&self) {
        // SAFETY: as for `slot`.
        let chunk = unsafe { self.chunk.as_ref() };
        // Release pairs with the Acquire in `Chunk::claim`, for the slot's next owner, and with
        // the one in `Claimed::next`: the accesses of sections come before what follows a look
        // that finds the slot free.
        chunk.claimed[self.index / WORD].fetch_and(!(1 << (self.index % WORD)), Ordering::Release);
        // Release pairs with the Acquire in `Claimed::enter`, as above.
        chunk.count.fetch_sub(1, Ordering::Release);
    }
}

/// All slots of a domain.
///
/// # Invariants
/// `first` heads a list of chunks from [`memory::try_box`]; a chunk stays where it is until the
/// registry is dropped.
pub(crate) struct Registry {
    first: AtomicPtr<Chunk>,
}

// SAFETY: slots are shared by design: their atomics by all, `parked` by the holder of the reaper's
// lock.
unsafe impl Send for Registry {}
// SAFETY: as for Send.
unsafe impl Sync for Registry {}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Claims a slot.
    pub(crate) fn claim(&self) -> Result<Claim, AllocError> {
        let (mut link, mut len) = (&self.first, FIRST);
        loop {
            // Acquire pairs with the Release in `append`.
            let here = NonNull::new(link.load(Ordering::Acquire));
            let chunk = here.map_or_else(|| Self::append(link, len), Ok)?;
            // SAFETY: by the type's invariant.
            let this = unsafe { chunk.as_ref() };
            if let Some(index) = this.claim() {
                let slot = (&this.slots[index]).into();
                // INVARIANT: just claimed.
                return Ok(Claim { slot, chunk, index });
            }
            (link, len) = (&this.next, (2 * this.slots.len()).min(LARGEST));
        }
    }

    /// Makes a chunk and puts it where `link` ends the list, or returns the one that another
    /// thread has put there.
    fn append(link: &AtomicPtr<Chunk>, len: usize) -> Result<NonNull<Chunk>, AllocError> {
        let chunk = Chunk::new(len)?;
        // Release pairs with the Acquires in `claim` and `Claimed::enter`: a thread that finds the
        // chunk finds it initialised. Acquire for the other thread's chunk.
        // INVARIANT: the list has grown by a chunk from `try_box`.
        let put = link.compare_exchange(ptr::null_mut(), chunk.as_ptr(), Ordering::Release, Ordering::Acquire);
        match put.map_err(NonNull::new) {
            Err(Some(other)) => {
                // SAFETY: never published, so this thread's alone.
                drop(unsafe { memory::from_try_box(chunk) });
                Ok(other)
            }
            _ => Ok(chunk),
        }
    }

    /// Returns the slots that are claimed.
    #[inline]
    pub(crate) fn claimed(&self) -> Claimed<'_> {
        let mut claimed = Claimed {
            chunk: None,
            word: 0,
            bits: 0,
        };
        claimed.enter(&self.first);
        claimed
    }
}

/// An iterator over the claimed slots, as they are found one after the other.
pub(crate) struct Claimed<'a> {
    chunk: Option<&'a Chunk>,
    /// The next word, and what is left of the one before.
    word: usize,
    bits: u64,
}

impl<'a> Claimed<'a> {
    /// Goes to the first chunk from `link` on in which a slot is claimed.
    #[inline]
    fn enter(&mut self, mut link: &'a AtomicPtr<Chunk>) {
        self.word = 0;
        loop {
            // Acquire pairs with the Release in `append`.
            // SAFETY: by the registry's invariant a chunk in the list is initialised, and lives as
            // long as the registry.
            self.chunk = unsafe { link.load(Ordering::Acquire).as_ref() };
            match self.chunk {
                // Acquire pairs with the Release in `Claim::release`: see the head of this file.
                Some(chunk) if chunk.count.load(Ordering::Acquire) == 0 => link = &chunk.next,
                _ => return,
            }
        }
    }
}

impl<'a> Iterator for Claimed<'a> {
    type Item = &'a Slot;

    #[inline]
    fn next(&mut self) -> Option<&'a Slot> {
        loop {
            let chunk = self.chunk?;
            if self.bits != 0 {
                let index = (self.word - 1) * WORD + self.bits.trailing_zeros() as usize;
                self.bits &= self.bits - 1;
                return Some(&chunk.slots[index]);
            }
            if let Some(word) = chunk.claimed.get(self.word) {
                // Acquire pairs with the Release in `Claim::release`: see the head of this file.
                self.bits = word.load(Ordering::Acquire);
                self.word += 1;
            } else {
                self.enter(&chunk.next);
            }
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut chunk = self.first.load(Ordering::Relaxed);
        while let Some(this) = NonNull::new(chunk) {
            // SAFETY: no other user is left, and by the type's invariant the chunk came from
            // `try_box`.
            let this = unsafe { memory::from_try_box(this) };
            chunk = this.next.load(Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn slots_are_claimed_from_the_lowest_on_and_a_look_finds_those_that_are_claimed() {
        const MANY: usize = 3 * LARGEST;
        let registry = Registry::new();
        let claims: Vec<Claim> = (0..MANY).map(|_| registry.claim().unwrap()).collect();
        let slots: Vec<*const Slot> = claims.iter().map(|claim| ptr::from_ref(claim.slot())).collect();
        let found = |registry: &Registry| -> Vec<*const Slot> { registry.claimed().map(ptr::from_ref).collect() };
        assert_eq!(found(&registry), slots);
        claims.iter().for_each(Claim::release);
        assert_eq!(found(&registry), []);
        assert!(
            registry.claimed().chunk.is_none(),
            "a look goes through chunks without a reader"
        );
        // One free slot among claimed ones stays free for the next.
        let again: Vec<Claim> = (0..100).map(|_| registry.claim().unwrap()).collect();
        assert_eq!(found(&registry), slots[..100]);
        again[40].release();
        assert_eq!(found(&registry).len(), 99);
        assert_eq!(ptr::from_ref(registry.claim().unwrap().slot()), slots[40]);
    }
}
