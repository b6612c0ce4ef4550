//! A kernel's own RCU behind the traits, whole: per-CPU epochs (0: in no section), sections with preemption off.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use vmaple_rcu::{AllocError, Reclaim, Retired, Section, Update};
static EPOCH: AtomicU64 = AtomicU64::new(1);
static CPUS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
struct PreemptOff(&'static AtomicU64);

// SAFETY: no free runs before the section of each CPU has ended that was open at its retirement.
unsafe impl Section for PreemptOff {
    fn protect<P>(&self, mut load: impl FnMut() -> P) -> P {
        load() // all that is found in a section is kept until its end
    }
}

impl Drop for PreemptOff {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release); // then preempt_enable()
    }
}

struct Callbacks(Vec<(u64, Retired)>);
// SAFETY: retired objects may be freed by any thread.
unsafe impl Send for Callbacks {}
// SAFETY: frees each object once, when all sections are younger than its unlinking.
unsafe impl Update for Callbacks {
    fn reserve(&mut self, objects: usize) -> Result<(), AllocError> {
        self.0.try_reserve(objects).map_err(|_| AllocError)
    }

    unsafe fn retire(&mut self, retired: Retired) -> Result<(), Retired> {
        self.reserve(1).map_err(|_| retired)?;
        self.0.push((EPOCH.fetch_add(1, Ordering::SeqCst), retired));
        fence(Ordering::SeqCst); // pairs with the one in `read_lock`
        let open = CPUS
            .iter()
            .map(|cpu| cpu.load(Ordering::Acquire))
            .filter(|&epoch| epoch > 0);
        let oldest = open.min().unwrap_or(u64::MAX);
        self.0.retain(|(epoch, retired)| {
            if *epoch < oldest {
                // SAFETY: every open section began after the object was unlinked; the record goes with this.
                unsafe { (retired.free)(retired.object) };
            }
            *epoch >= oldest
        });
        Ok(())
    }
}
struct KernelRcu;
// SAFETY: the reader's fence and the one in `retire` part sections in those seen there and those that see the unlinking.
unsafe impl Reclaim for KernelRcu {
    type Reader = usize; // smp_processor_id()
    type Section<'r> = PreemptOff;
    type Update = Callbacks;
    fn owns(&self, _: &Callbacks) -> bool {
        true
    }
    fn reader(&self) -> Result<usize, AllocError> {
        Ok(0)
    }

    #[rustfmt::skip]
    fn read_lock<'r>(cpu: &'r usize) -> PreemptOff where Self: 'r {
        let cpu = &CPUS[*cpu]; // after preempt_disable()
        cpu.store(EPOCH.load(Ordering::SeqCst), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        PreemptOff(cpu)
    }
}

#[rustfmt::skip]
fn main() -> Result<(), AllocError> {
    let (mut callbacks, cpu) = (Callbacks(Vec::new()), KernelRcu.reader()?);
    for _section in [Some(KernelRcu::read_lock(&cpu)), None] {
        let (object, free) = (std::ptr::null_mut(), |_: *mut ()| println!("freed"));
        // SAFETY: no reader can load the object, and `free` does not touch it.
        let _ = unsafe { callbacks.retire(Retired { object, free, birth: 0, bytes: 0 }) };
        println!("{} waiting", callbacks.0.len());
    }
    Ok(())
}
