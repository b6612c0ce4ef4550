//! The pool: where a tree's nodes come from, and where they go when no reader can hold them any more.
//!
//! Memory comes in chunks from the global allocator and goes back when the tree and everything that it retired is gone, or
//! when somebody asks ([`Pool::trim`]). In between a node goes round: the writer takes the one that came back last, which is
//! most likely in the cache; whoever reaps gives it back.
//!
//! The writer's list is its own. The list of what came back is a stack onto which any thread pushes, and which the writer
//! takes whole. Once the tree is gone the word of that stack becomes a count of the nodes that are still out; who brings the
//! last one home frees the pool.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use core::mem::size_of;
use core::ptr::{self, NonNull};

use vmaple_rcu::AllocError;

use crate::node::{Node, Stamp};
use crate::primitive::{AtomicPtr, Ordering};

/// Size and alignment of a chunk, so that a node's address tells its chunk's.
const CHUNK: usize = 16 << 10;

/// What a chunk begins with; nodes fill the rest up to the end.
struct Chunk<S> {
    pool: NonNull<Shared<S>>,
    next: *mut Chunk<S>,
    /// Free nodes, while they are counted.
    free: usize,
}

/// Nodes in a chunk.
const fn nodes<S>() -> usize {
    (CHUNK - size_of::<Chunk<S>>()) / size_of::<Node<S>>()
}

/// A fresh chunk on its way into a pool: made without the lock, added under it.
pub(crate) struct NewChunk<S>(NonNull<Chunk<S>>);

// SAFETY: it is memory that nobody else knows of.
unsafe impl<S> Send for NewChunk<S> {}

impl<S> NewChunk<S> {
    const LAYOUT: Layout = match Layout::from_size_align(CHUNK, CHUNK) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    pub(crate) fn new() -> Result<Self, AllocError> {
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(Self::LAYOUT) };
        NonNull::new(memory.cast()).map(Self).ok_or(AllocError)
    }
}

impl<S> Drop for NewChunk<S> {
    fn drop(&mut self) {
        // SAFETY: from `new`, and in no pool.
        unsafe { dealloc(self.0.as_ptr().cast(), Self::LAYOUT) };
    }
}

/// What outlives the tree while nodes are out.
struct Shared<S> {
    /// The top of the stack of nodes that came back; or, with the lowest bit set, twice the number of nodes that have still
    /// to come back before this is freed.
    returned: AtomicPtr<Node<S>>,
    /// All chunks. For the writer, and for who frees this.
    chunks: *mut Chunk<S>,
}

/// A tree's nodes.
///
/// # Invariants
/// `shared` lives while this does. `free` links `len` nodes that are in no other list and in no tree. All nodes are from
/// chunks in `shared`.
pub(crate) struct Pool<S: Stamp> {
    shared: NonNull<Shared<S>>,
    free: *mut Node<S>,
    len: usize,
    /// Nodes in all chunks.
    total: usize,
}

// SAFETY: the pool owns its nodes.
unsafe impl<S: Stamp> Send for Pool<S> {}

impl<S: Stamp> Pool<S> {
    pub(crate) fn new() -> Result<Self, AllocError> {
        const { assert!(nodes::<()>() == 42 && nodes::<u64>() == 31) };
        let layout = Layout::new::<Shared<S>>();
        // SAFETY: the size is not zero.
        let shared = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<Shared<S>>()).ok_or(AllocError)?;
        let value = Shared {
            returned: AtomicPtr::new(ptr::null_mut()),
            chunks: ptr::null_mut(),
        };
        // SAFETY: fresh memory of this layout.
        unsafe { shared.write(value) };
        // INVARIANT: no nodes yet.
        Ok(Self {
            shared,
            free: ptr::null_mut(),
            len: 0,
            total: 0,
        })
    }

    /// Whether fewer than `count` nodes can be taken at once, those included that came back.
    pub(crate) fn is_below(&mut self, count: usize) -> bool {
        if self.len < count {
            self.collect();
        }
        self.len < count
    }

    /// Bytes of all chunks.
    pub(crate) fn bytes(&self) -> usize {
        self.total / nodes::<S>() * CHUNK
    }

    /// Adds a chunk's nodes.
    pub(crate) fn add(&mut self, chunk: NewChunk<S>) {
        let memory = chunk.0;
        core::mem::forget(chunk);
        // SAFETY: by the type's invariant; the chunks are the writer's.
        let chunks = unsafe { &mut (*self.shared.as_ptr()).chunks };
        let header = Chunk {
            pool: self.shared,
            next: *chunks,
            free: 0,
        };
        // SAFETY: the chunk's memory is fresh, zeroed and large enough.
        unsafe { memory.write(header) };
        *chunks = memory.as_ptr();
        for i in (0..nodes::<S>()).rev() {
            let offset = CHUNK - (i + 1) * size_of::<Node<S>>();
            // SAFETY: inside of the chunk, behind its header.
            let node = unsafe { memory.as_ptr().byte_add(offset) }.cast::<Node<S>>();
            // INVARIANT: a zeroed node is a valid node without slots; it is in no other list.
            self.put(node);
        }
        self.total += nodes::<S>();
    }

    /// Makes sure that `count` nodes can be taken.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), AllocError> {
        if self.len < count {
            self.collect();
        }
        while self.len < count {
            self.add(NewChunk::new()?);
        }
        Ok(())
    }

    /// Takes what came back into the writer's list.
    fn collect(&mut self) {
        // SAFETY: by the type's invariant.
        let returned = unsafe { &(*self.shared.as_ptr()).returned };
        // Acquire pairs with the Release in `give_back`: the node's last readers are done with it, and its link is there.
        let mut node = returned.swap(ptr::null_mut(), Ordering::Acquire);
        while !node.is_null() {
            // SAFETY: nodes in the list are this pool's, and nobody else's any more.
            let next = unsafe { &*node }.link();
            self.put(node);
            node = next;
        }
    }

    /// A node with whatever was in it; call [`reserve`](Self::reserve) before.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn take(&mut self) -> *mut Node<S> {
        let node = self.free;
        assert!(!node.is_null(), "reserved");
        // SAFETY: by the type's invariant a node in the list is this pool's own.
        self.free = unsafe { &*node }.link();
        self.len -= 1;
        node
    }

    /// Puts a node back that was never published, or whose chunk is new.
    pub(crate) fn put(&mut self, node: *mut Node<S>) {
        // SAFETY: the caller gives the node away.
        unsafe { &*node }.set_link(self.free);
        // INVARIANT: one more in the list.
        self.free = node;
        self.len += 1;
    }

    /// Puts a list of nodes back that nobody holds any more, from `first` to `last`.
    ///
    /// # Safety
    /// They are this pool's, linked, `len` of them, and in no other list.
    pub(crate) unsafe fn put_list(&mut self, first: *mut Node<S>, last: *mut Node<S>, len: usize) {
        // SAFETY: by this function's contract.
        unsafe { &*last }.set_link(self.free);
        // INVARIANT: so many more in the list.
        self.free = first;
        self.len += len;
    }

    /// Gives chunks back all of whose nodes are free; returns their bytes.
    pub(crate) fn trim(&mut self) -> usize {
        self.collect();
        let mut kept = core::mem::replace(&mut self.free, ptr::null_mut());
        self.len = 0;
        let mut node = kept;
        while !node.is_null() {
            // SAFETY: free nodes are this pool's, as their chunks' headers are.
            unsafe { (*Self::chunk_of(node)).free += 1 };
            // SAFETY: as above.
            node = unsafe { &*node }.link();
        }
        while !kept.is_null() {
            // SAFETY: as above.
            let next = unsafe { &*kept }.link();
            // SAFETY: as above.
            if unsafe { (*Self::chunk_of(kept)).free } < nodes::<S>() {
                self.put(kept);
            }
            kept = next;
        }
        // SAFETY: by the type's invariant; the chunks are the writer's.
        let mut link = unsafe { &raw mut (*self.shared.as_ptr()).chunks };
        let mut freed = 0;
        // SAFETY: links are in the pool or in chunks that stay.
        while let Some(chunk) = NonNull::new(unsafe { *link }) {
            // SAFETY: chunks in the list are whole, and these fields of their headers the writer's.
            let this = unsafe { &mut *chunk.as_ptr() };
            if this.free == nodes::<S>() {
                // SAFETY: as above; the chunk's nodes are in no list any more.
                unsafe { *link = this.next };
                drop(NewChunk(chunk));
                freed += 1;
            } else {
                this.free = 0;
                link = &raw mut this.next;
            }
        }
        self.total -= freed * nodes::<S>();
        freed * CHUNK
    }

    /// The chunk that a node is in.
    fn chunk_of(node: *mut Node<S>) -> *mut Chunk<S> {
        let chunk = node.cast::<()>().map_addr(|address| address & !(CHUNK - 1));
        chunk.cast()
    }

    /// The pool of a node that is out.
    ///
    /// # Safety
    /// `node` is from a pool, and has not been given back.
    unsafe fn of(node: *mut Node<S>) -> NonNull<Shared<S>> {
        // SAFETY: a chunk is aligned to its size and begins with its header, of which this field is not written after `add`; it
        // stays as long as one of its nodes is out. The node's pointer was made from the chunk's.
        unsafe { (*Self::chunk_of(node)).pool }
    }

    /// Gives a node back that nobody holds any more, in any thread.
    ///
    /// # Safety
    /// `node` is from a pool, is in no tree or list, and is given back once.
    pub(crate) unsafe fn give_back(node: *mut Node<S>) {
        // SAFETY: by this function's contract.
        let shared = unsafe { Self::of(node) };
        // SAFETY: the pool lives while a node is out.
        let returned = unsafe { &(*shared.as_ptr()).returned };
        let mut top = returned.load(Ordering::Relaxed);
        loop {
            let closed = top.addr() & 1 == 1;
            let new = if closed {
                top.map_addr(|count| count - 2)
            } else {
                // SAFETY: the caller has given the node away.
                unsafe { &*node }.set_link(top);
                node
            };
            // Release pairs with the Acquire in `collect`; closed, AcqRel makes all that was done with the pool's memory come
            // before its end.
            match returned.compare_exchange_weak(top, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if closed && new.addr() == 1 => break,
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
        // SAFETY: closed, and this was the last node.
        unsafe { Self::free(shared) };
    }

    /// Frees the pool and its chunks.
    ///
    /// # Safety
    /// Nobody uses the pool or one of its nodes any more.
    unsafe fn free(shared: NonNull<Shared<S>>) {
        // SAFETY: it is from `new`, by this function's contract nobody else's.
        let shared = unsafe { Box::from_raw(shared.as_ptr()) };
        let mut chunk = shared.chunks;
        while let Some(this) = NonNull::new(chunk) {
            // SAFETY: chunks in the list are whole.
            chunk = unsafe { this.as_ref() }.next;
            drop(NewChunk(this));
        }
    }
}

impl<S: Stamp> Drop for Pool<S> {
    /// Leaves the nodes that are still out to come home by themselves.
    fn drop(&mut self) {
        loop {
            self.collect();
            let out = self.total - self.len;
            if out == 0 {
                // SAFETY: all nodes are here.
                return unsafe { Self::free(self.shared) };
            }
            // SAFETY: by the type's invariant.
            let returned = unsafe { &(*self.shared.as_ptr()).returned };
            let closed = ptr::without_provenance_mut(out << 1 | 1);
            // Release pairs with AcqRel in `give_back`: the writer is done with the pool before anybody frees it.
            if returned
                .compare_exchange(ptr::null_mut(), closed, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }
}
