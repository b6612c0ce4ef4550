//! All that a kernel brings: memory, a lock, and its RCU (here the simplest: what is retired waits
//! until no section is open).

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use maple_tree::MapleTree;
use maple_tree::lock_api::{GuardNoSend, RawMutex};
use maple_tree::vmaple_rcu::{AllocError, Reclaim, Retired, Section, Update};

// Memory: the kernel's `GlobalAlloc`, with kmalloc for `alloc` and kfree for `dealloc`.
#[global_allocator]
static SLAB: std::alloc::System = std::alloc::System;

pub(crate) struct SpinLock(AtomicBool);
// SAFETY: one holder at a time.
unsafe impl RawMutex for SpinLock {
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = GuardNoSend;
    fn lock(&self) {
        while !self.try_lock() {
            std::hint::spin_loop(); // after preempt_disable()
        }
    }
    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire) // pairs with the Release in `unlock`
    }
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release); // pairs with the Acquire in `try_lock`; then preempt_enable()
    }
}

/// How many sections are open. A count, so sections nest and may end in any order.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// A section; not `Send`, as it ends on the CPU where it began.
pub(crate) struct ReadSide(PhantomData<*mut ()>);
impl Drop for ReadSide {
    fn drop(&mut self) {
        // rcu_read_unlock(). Release pairs with the Acquire in `retire`: this section's loads come
        // before the free.
        INSIDE.fetch_sub(1, Ordering::Release);
    }
}
// SAFETY: nothing is freed while a section is open that may have found it.
unsafe impl Section for ReadSide {
    fn protect<P>(&self, mut load: impl FnMut() -> P) -> P {
        load() // everything found in a section stays until its end
    }
}

/// The objects that wait to be freed. A kernel's list is one for all, and stays; what is left in
/// this one when its tree is dropped is lost.
pub(crate) struct Callbacks(pub(crate) Vec<Retired>);
// SAFETY: retired objects may be freed by any thread.
unsafe impl Send for Callbacks {}
// SAFETY: each object is freed once, when no section is open that may have found it.
unsafe impl Update for Callbacks {
    fn reserve(&mut self, objects: usize) -> Result<(), AllocError> {
        self.0.try_reserve(objects).map_err(|_| AllocError)
    }
    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        self.reserve(1).map_err(|_| retired)?;
        self.0.push(retired); // call_rcu()
        // The tree has published before. Either this fence comes first, and a section that the
        // look below misses finds what was published; or the one in `read_lock` does, and the look
        // finds the section.
        fence(Ordering::SeqCst);
        if INSIDE.load(Ordering::Acquire) == 0 {
            // SAFETY: unlinked before, and no section is open that may have found it.
            self.0.drain(..).for_each(|old| unsafe { (old.free)(old.object) });
        }
        Ok(())
    }
}

pub(crate) struct KernelRcu;
// SAFETY: by the two fences, a section that `retire` does not see finds what was published before.
unsafe impl Reclaim for KernelRcu {
    type Reader = ();
    type Section<'r> = ReadSide;
    type Update = Callbacks;
    fn owns(&self, _: &Callbacks) -> bool {
        true
    }
    fn reader(&self) -> Result<(), AllocError> {
        Ok(())
    }
    #[rustfmt::skip]
    fn read_lock<'r>((): &'r ()) -> ReadSide where Self: 'r {
        INSIDE.fetch_add(1, Ordering::Relaxed); // rcu_read_lock()
        fence(Ordering::SeqCst); // before any load of the section; pairs with the one in `retire`
        ReadSide(PhantomData)
    }
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tree = MapleTree::<u32, KernelRcu, SpinLock>::with_rcu(KernelRcu, Callbacks(Vec::new()))?;
    tree.insert_range(0x1000..0x3000, 1)?;
    let reader = tree.reader()?;
    let (outer, inner) = (reader.read_lock(), reader.read_lock()); // an interrupt's, say
    println!("{:?}", inner.find(0));
    drop(outer); // in any order
    println!("{:?}", inner.find(0));
    Ok(())
}
