//! Pools: objects that come back from other threads, and the end of a pool whose objects are still
//! out.

use std::sync::atomic::{AtomicPtr, Ordering};

use loom::thread;
use vmaple_rcu::pool::{Chunk, Pool, Pooled};

struct Object {
    link: AtomicPtr<Object>,
    _number: u64,
}

// SAFETY: zeros are a null pointer and a number; nothing else uses the link. It is no atomic of
// loom's, as those cannot be made of zeros.
unsafe impl Pooled for Object {
    const CHUNK: usize = 256;

    fn link(&self) -> *mut Self {
        self.link.load(Ordering::Relaxed)
    }

    fn set_link(&self, next: *mut Self) {
        self.link.store(next, Ordering::Relaxed);
    }
}

struct Out(*mut Object);
// SAFETY: an object may go anywhere.
unsafe impl Send for Out {}

#[test]
fn a_pool_ends_once_while_its_objects_come_home() {
    loom::model(|| {
        let mut pool = Pool::<Object>::new().unwrap();
        pool.add(Chunk::new().unwrap());
        let coming = [0, 1].map(|_| {
            let out = Out(pool.take().unwrap().as_ptr());
            thread::spawn(move || {
                let Out(object) = { out };
                // SAFETY: the pool gave it away; it is given back once.
                unsafe { Pool::give_back(object) };
            })
        });
        let ending = thread::spawn(move || {
            // Used again while others come back.
            if let Some(object) = pool.take() {
                // SAFETY: taken above.
                unsafe { pool.put(object.as_ptr()) };
            }
            drop(pool);
        });
        for thread in coming {
            thread.join().unwrap();
        }
        ending.join().unwrap();
    });
}
