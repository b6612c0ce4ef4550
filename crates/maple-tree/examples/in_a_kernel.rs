//! All that a kernel brings: memory, a lock, and its RCU (here the simplest: what is retired waits until nobody reads).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use maple_tree::MapleTree;
use vmaple_rcu::{AllocError, Reclaim, Retired, Section, Update};
// Memory: whatever is the kernel's `GlobalAlloc`, with kmalloc for `alloc` and kfree for `dealloc`.
#[global_allocator]
static SLAB: std::alloc::System = std::alloc::System;
struct SpinLock(AtomicBool);
// SAFETY: one holder at a time.
unsafe impl lock_api::RawMutex for SpinLock {
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = lock_api::GuardNoSend;
    fn lock(&self) {
        while !self.try_lock() {} // preempt_disable()
    }
    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release); // preempt_enable()
    }
}
static INSIDE: AtomicUsize = AtomicUsize::new(0);
struct ReadSide;
impl Drop for ReadSide {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst); // rcu_read_unlock()
    }
}
// SAFETY: nothing is freed while anybody is inside.
unsafe impl Section for ReadSide {
    fn protect<P>(&self, mut load: impl FnMut() -> P) -> P {
        load()
    }
}
struct Callbacks(Vec<Retired>);
// SAFETY: retired objects may be freed by any thread.
unsafe impl Send for Callbacks {}
// SAFETY: freed once, when nobody reads who began before it was unlinked.
unsafe impl Update for Callbacks {
    fn reserve(&mut self, objects: usize) -> Result<(), AllocError> {
        self.0.try_reserve(objects).map_err(|_| AllocError)
    }
    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        self.0.push(retired); // call_rcu()
        let free = if INSIDE.load(Ordering::SeqCst) == 0 {
            self.0.len()
        } else {
            0
        };
        // SAFETY: unlinked before, and nobody is inside who could have found it.
        self.0.drain(..free).for_each(|old| unsafe { (old.free)(old.object) });
        Ok(())
    }
}
struct KernelRcu;
// SAFETY: who enters after `retire` has looked finds what was published before.
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
        INSIDE.fetch_add(1, Ordering::SeqCst); // rcu_read_lock()
        ReadSide
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tree = MapleTree::<u32, KernelRcu, SpinLock>::with_rcu(KernelRcu, Callbacks(Vec::new()))?;
    tree.insert_range(0x1000..0x3000, 1).map_err(|error| error.cause)?;
    println!("{:?}", tree.reader()?.read_lock().find(0));
    Ok(())
}
