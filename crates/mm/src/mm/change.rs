//! The change counter: it tells whether several reads saw one state, and whether that is still
//! true.
//!
//! The counter is odd while a writer publishes. A reader that finds the same even number before and
//! after it read has read one state, which is still the newest. Had it loaded a root that was
//! published later, that root's Release store would have brought the odd number with it. The number
//! before is even and loaded with Acquire, so the state of that moment is the oldest that was read.

use crate::primitive::{AtomicU64, Ordering, fence, own_load};

/// The counter. The holder of the writers' lock moves it.
#[doc(alias = "mm_lock_seq")]
pub(crate) struct ChangeCounter(AtomicU64);

impl ChangeCounter {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Makes the counter odd. Called before the publishing store, which is Release.
    pub(crate) fn begin(&self) {
        let count = own_load(&self.0);
        // Relaxed: ordered by the publishing store after it.
        self.0.store(count + 1, Ordering::Relaxed);
    }

    /// Makes the counter even. Called after the publishing store.
    pub(crate) fn end(&self) {
        let count = own_load(&self.0);
        // Release pairs with the Acquire in `read`: a reader that finds this number finds what was
        // published.
        self.0.store(count + 1, Ordering::Release);
    }

    pub(crate) fn read(&self) -> u64 {
        // Earlier reads come before this load: Acquire loads of roots do that by themselves, the
        // fence does it for all else.
        fence(Ordering::Acquire);
        // Acquire pairs with the Release in `end`.
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Two words that stand for two sections' roots, published one after the other.
    #[test]
    fn the_same_even_number_before_and_after_means_one_state() {
        loom::model(|| {
            let change = Arc::new(ChangeCounter::new());
            let root = Arc::new(AtomicU64::new(0));
            let writer = {
                let (change, root) = (Arc::clone(&change), Arc::clone(&root));
                thread::spawn(move || {
                    for state in 1..=2 {
                        change.begin();
                        root.store(state, Ordering::Release);
                        change.end();
                    }
                })
            };
            // Spawned as the writer is: loom gives the main thread fewer interleavings.
            let reader = thread::spawn(move || {
                let before = change.read();
                let one = root.load(Ordering::Acquire);
                let other = root.load(Ordering::Acquire);
                let after = change.read();
                if before == after && before.is_multiple_of(2) {
                    assert_eq!((one, other), (before / 2, before / 2));
                }
            });
            reader.join().unwrap();
            writer.join().unwrap();
        });
    }
}
