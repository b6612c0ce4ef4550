//! Records of retired objects, in blocks that travel whole from the writer to the reaper and back.

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use crate::error::AllocError;
use crate::memory;
use crate::primitive::{AtomicPtr, Ordering, Watch};

/// An object that readers may still hold, and how to free it.
#[derive(Clone, Copy)]
pub struct Retired {
    /// The object: the argument of `free`.
    pub object: *mut (),
    /// Frees the object. Called once, by the thread that reaps; it must not wait for a section to
    /// end.
    pub free: unsafe fn(*mut ()),
    /// The era of the object's publication, from [`Updater::birth`](crate::Updater::birth).
    pub birth: u64,
    /// The object's size in bytes, for the counters and the bound.
    pub bytes: usize,
}

impl fmt::Debug for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("Retired");
        this.field("birth", &self.birth).field("bytes", &self.bytes);
        this.finish_non_exhaustive()
    }
}

/// A [`Retired`] with its retirement era: the object was unlinked in that era or before.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) retired: Retired,
    pub(crate) retire: u64,
}

/// The records of a block. With the two words before them the block fills 40 cache lines.
#[cfg(not(loom))]
pub(crate) const BLOCK: usize = 63;
#[cfg(loom)]
pub(crate) const BLOCK: usize = 1;

/// A block of records.
///
/// # Invariants
/// The first `len` records are initialised.
pub(crate) struct Block {
    next: *mut Block,
    len: usize,
    records: [MaybeUninit<Record>; BLOCK],
    watch: Watch,
}

impl Block {
    pub(crate) fn new() -> Result<NonNull<Self>, AllocError> {
        memory::try_box(Self {
            next: ptr::null_mut(),
            len: 0,
            records: [const { MaybeUninit::uninit() }; BLOCK],
            watch: Watch::new(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.watch.read();
        self.len
    }

    fn next(&self) -> *mut Self {
        self.watch.read();
        self.next
    }

    fn set_next(&mut self, next: *mut Self) {
        self.watch.write();
        self.next = next;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() == BLOCK
    }

    pub(crate) fn push(&mut self, record: Record) {
        // INVARIANT: one more is initialised. A full block panics here before anything is written.
        self.watch.write();
        self.records[self.len].write(record);
        self.len += 1;
    }

    pub(crate) fn get(&self, i: usize) -> Record {
        assert!(i < self.len());
        // SAFETY: by the type's invariant.
        unsafe { self.records[i].assume_init() }
    }

    /// Takes out the `i`th record; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, i: usize) -> Record {
        let record = self.get(i);
        self.watch.write();
        self.len -= 1;
        if i < self.len {
            self.records[i] = self.records[self.len];
        }
        record
    }
}

/// An owning list of blocks.
///
/// # Invariants
/// Blocks are from [`Block::new`] and in no other list. `tail` is the last one, if there is one.
pub(crate) struct BlockList {
    head: *mut Block,
    tail: *mut Block,
}

impl BlockList {
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Returns the first block, which stays in the list.
    pub(crate) fn front(&self) -> Option<NonNull<Block>> {
        NonNull::new(self.head)
    }

    pub(crate) fn first(&mut self) -> Option<&mut Block> {
        // SAFETY: by the type's invariant the block is this list's alone.
        unsafe { self.head.as_mut() }
    }

    /// Puts a block that the caller owns in front.
    pub(crate) fn push(&mut self, block: NonNull<Block>) {
        // SAFETY: the caller owns the block.
        unsafe { (*block.as_ptr()).set_next(self.head) };
        self.head = block.as_ptr();
        if self.tail.is_null() {
            self.tail = self.head;
        }
    }

    /// Takes out the first block, which is then the caller's.
    pub(crate) fn pop(&mut self) -> Option<NonNull<Block>> {
        let block = NonNull::new(self.head)?;
        // SAFETY: by the type's invariant.
        self.head = unsafe { block.as_ref() }.next();
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        Some(block)
    }

    /// Moves all blocks of `other` to the front, in constant time.
    pub(crate) fn take(&mut self, other: &mut Self) {
        if other.is_empty() {
            return;
        }
        // SAFETY: by the type's invariant the tail of a list that is not empty is its last block.
        unsafe { (*other.tail).set_next(self.head) };
        if self.tail.is_null() {
            self.tail = other.tail;
        }
        self.head = other.head;
        // Emptied field by field: an assignment would drop the old value, and the blocks with it.
        (other.head, other.tail) = (ptr::null_mut(), ptr::null_mut());
    }
}

impl Drop for BlockList {
    /// Frees the blocks; their records were dealt with before.
    fn drop(&mut self) {
        while let Some(block) = self.pop() {
            // SAFETY: by the type's invariant the block is from `Block::new`, and now the caller's.
            drop(unsafe { memory::from_try_box(block) });
        }
    }
}

/// An owning list of blocks without a tail: it is taken apart from the front.
///
/// # Invariants
/// `len` blocks, from [`Block::new`] and in no other list.
pub(crate) struct Chain {
    head: *mut Block,
    len: usize,
}

impl Chain {
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            len: 0,
        }
    }

    /// Returns a chain of the block `head` and those after it.
    ///
    /// # Safety
    /// They are from [`Block::new`] and in no other list.
    unsafe fn of(head: *mut Block) -> Self {
        let (mut len, mut block) = (0, head);
        // SAFETY: by this function's contract; the list ends with null.
        while let Some(here) = unsafe { block.as_ref() } {
            block = here.next();
            len += 1;
        }
        Self { head, len }
    }

    pub(crate) fn push(&mut self, block: NonNull<Block>) {
        // SAFETY: the caller owns the block and gives it away.
        unsafe { (*block.as_ptr()).set_next(self.head) };
        self.head = block.as_ptr();
        self.len += 1;
    }

    /// Takes out the first block, which is then the caller's.
    pub(crate) fn pop(&mut self) -> Option<NonNull<Block>> {
        let block = NonNull::new(self.head)?;
        // SAFETY: by the type's invariant.
        self.head = unsafe { block.as_ref() }.next();
        self.len -= 1;
        Some(block)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts this chain's blocks in front of those of `other`, and keeps all: cheap if this chain
    /// has few or none.
    pub(crate) fn append(&mut self, mut other: Self) {
        while let Some(block) = self.pop() {
            other.push(block);
        }
        core::mem::swap(self, &mut other);
    }
}

impl Drop for Chain {
    /// Frees the blocks; their records were dealt with before.
    fn drop(&mut self) {
        while let Some(block) = self.pop() {
            // SAFETY: by the type's invariant the block is from `Block::new`, and now the caller's.
            drop(unsafe { memory::from_try_box(block) });
        }
    }
}

/// A stack of blocks on their way from one thread to another.
///
/// A thread that takes takes all. So no block can come back between a look at the head and its
/// exchange.
pub(crate) struct BlockStack {
    head: AtomicPtr<Block>,
}

impl BlockStack {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    pub(crate) fn push(&self, block: NonNull<Block>) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller gives the block away; until the exchange it is this thread's
            // alone.
            unsafe { (*block.as_ptr()).set_next(head) };
            // Release pairs with the Acquire in `take_all`: the block's records come with it, and
            // for sealed blocks the unlinking stores before them.
            match self
                .head
                .compare_exchange_weak(head, block.as_ptr(), Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    pub(crate) fn take_all(&self) -> Chain {
        // Acquire pairs with the Release in `push`. What is taken was pushed in a chain of
        // exchanges. Each continues the release sequence of those before, so all of it is visible.
        // INVARIANT: the blocks were in this stack only.
        let head = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: as the invariant says.
        unsafe { Chain::of(head) }
    }
}

impl Drop for BlockStack {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}
