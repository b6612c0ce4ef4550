//! A kernel's own RCU behind the traits, whole: per-CPU epochs, sections with preemption off. CPUs
//! are threads here.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use vmaple_rcu::{AllocError, Reclaim, Retired, Section, Update};

static EPOCH: AtomicU64 = AtomicU64::new(1);
/// The epoch of each CPU's outermost section (0: in none), and how deep sections nest there: for
/// that CPU alone.
static CPUS: [(AtomicU64, AtomicU64); 64] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; 64];

/// `smp_processor_id()`. With more threads than CPUs this panics, before anything is read.
fn this_cpu() -> &'static (AtomicU64, AtomicU64) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    std::thread_local!(static CPU: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    CPU.with(|cpu| &CPUS[*cpu])
}

/// A section. It ends on the CPU where it began: it is neither Send nor Sync.
pub(crate) struct PreemptOff(PhantomData<*mut ()>);

// SAFETY: nothing is freed before the end of each CPU's section that was open at its retirement.
unsafe impl Section for PreemptOff {
    fn protect<P>(&self, mut load: impl FnMut() -> P) -> P {
        load() // everything found in a section stays until its end
    }
}

impl Drop for PreemptOff {
    fn drop(&mut self) {
        let (epoch, depth) = this_cpu();
        let left = depth.load(Ordering::Relaxed) - 1;
        depth.store(left, Ordering::Relaxed);
        if left == 0 {
            epoch.store(0, Ordering::Release); // pairs with the Acquire in `retire`; then preempt_enable()
        }
    }
}

#[derive(Default)]
pub(crate) struct Callbacks(pub(crate) Vec<(u64, Retired)>);
// SAFETY: retired objects may be freed by any thread.
unsafe impl Send for Callbacks {}
// SAFETY: frees each object once, when all sections are younger than its unlinking.
unsafe impl Update for Callbacks {
    fn reserve(&mut self, objects: usize) -> Result<(), AllocError> {
        self.0.try_reserve(objects).map_err(|_| AllocError)
    }

    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        self.reserve(1).map_err(|_| retired)?;
        // Release pairs with the Acquire in `read_lock`: a section of a later epoch does not find
        // the object.
        self.0.push((EPOCH.fetch_add(1, Ordering::Release), retired));
        fence(Ordering::SeqCst); // after the unlinking, before the look: pairs with the one in `read_lock`
        let open = CPUS.iter().map(|cpu| cpu.0.load(Ordering::Acquire)).filter(|&e| e > 0);
        let oldest = open.min().unwrap_or(u64::MAX);
        self.0.retain(|(epoch, retired)| {
            if *epoch < oldest {
                // SAFETY: every open section began after the object was unlinked; the record goes
                // with this.
                unsafe { (retired.free)(retired.object) };
            }
            *epoch >= oldest
        });
        Ok(())
    }
}

pub(crate) struct KernelRcu;
// SAFETY: the reader's fence and the one in `retire` divide sections: those seen there, and those
// that see the unlinking.
unsafe impl Reclaim for KernelRcu {
    type Reader = (); // any CPU's: the section finds its own
    type Section<'r> = PreemptOff;
    type Update = Callbacks;
    fn owns(&self, _: &Callbacks) -> bool {
        true
    }
    fn reader(&self) -> Result<(), AllocError> {
        Ok(())
    }

    #[rustfmt::skip]
    fn read_lock<'r>((): &'r ()) -> PreemptOff where Self: 'r {
        let (epoch, depth) = this_cpu(); // after preempt_disable()
        depth.store(depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Inner sections find the announcement of an outer one. It decides, and not the depth: an
        // interrupt's section that comes before this line announces itself, and leaves that for
        // this one.
        if epoch.load(Ordering::Relaxed) == 0 {
            epoch.store(EPOCH.load(Ordering::Acquire), Ordering::Release);
        }
        // Of inner sections too: an interrupt's may come right after that store, and must not load
        // before others can see it.
        fence(Ordering::SeqCst);
        PreemptOff(PhantomData)
    }
}

#[rustfmt::skip]
fn main() -> Result<(), AllocError> {
    let mut callbacks = Callbacks::default();
    KernelRcu.reader()?;
    for _section in [Some(KernelRcu::read_lock(&())), None] {
        let (object, free) = (std::ptr::null_mut(), |_: *mut ()| println!("freed"));
        // SAFETY: no reader can load the object, and `free` does not touch it.
        let _ = unsafe { callbacks.retire(Retired { object, free, birth: 0, bytes: 0 }) };
        println!("{} waiting", callbacks.0.len());
    }
    Ok(())
}
