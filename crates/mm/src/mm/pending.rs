//! The pending range: its old pages have still to be zapped, although something else is mapped
//! there already.
//!
//! A call that replaces mappings publishes the new ones at one instant, so that readers never see a
//! hole. Only then does it zap the old pages. A fault in the new mapping meanwhile would find old
//! pages, or map one where an old one is about to be zapped. It waits for the call instead.
//!
//! The two words belong to one call for as long as it holds the writers' lock. A thread that finds
//! a mapping of the call sees them as they were written before the mapping was published, or as
//! they are after [`end`](Pending::end), or as a later call wrote them.

use crate::addr::VirtRange;
use crate::primitive::{AtomicU64, Ordering};

/// The range, or an empty one.
pub(crate) struct Pending {
    start: AtomicU64,
    end: AtomicU64,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self {
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
        }
    }

    /// Sets the range. For the holder of the writers' lock, before the new mapping is published.
    pub(crate) fn begin(&self, range: VirtRange) {
        // Release pairs with the Acquires in `overlaps`: a fault that finds this range instead of
        // an earlier one, or one word of each, finds the earlier one's pages gone. The publishing
        // store orders it before what is published.
        self.start.store(range.start.0, Ordering::Release);
        self.end.store(range.end.0, Ordering::Release);
    }

    /// Empties the range. For the same, after the pages are gone.
    pub(crate) fn end(&self) {
        // Release pairs with the Acquire in `overlaps`: a fault that finds it empty finds the pages
        // gone.
        self.end.store(0, Ordering::Release);
    }

    /// Returns whether faults in `range`, in a live mapping, must wait.
    pub(crate) fn overlaps(&self, range: VirtRange) -> bool {
        // Acquire pairs with the Releases in `end` and `begin`.
        range.start.0 < self.end.load(Ordering::Acquire) && self.start.load(Ordering::Acquire) < range.end.0
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Two calls, one after the other, each at a page of its own; a word stands for the old pages
    /// of the first.
    fn fault_beside_calls(pages: [u64; 2]) {
        loom::model(move || {
            let pending = Arc::new(Pending::new());
            let (root, old_pages) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
            let writer = {
                let (pending, root, old_pages) = (Arc::clone(&pending), Arc::clone(&root), Arc::clone(&old_pages));
                thread::spawn(move || {
                    for (page, call) in pages.into_iter().zip(1..) {
                        pending.begin((page..page + 1).into());
                        root.store(call, Ordering::Release);
                        old_pages.store(0, Ordering::Relaxed);
                        pending.end();
                    }
                })
            };
            // Spawned as the writer is: loom gives the main thread fewer interleavings.
            let fault = thread::spawn(move || {
                if root.load(Ordering::Acquire) > 0 && !pending.overlaps((pages[0]..pages[0] + 1).into()) {
                    assert_eq!(old_pages.load(Ordering::Relaxed), 0);
                }
            });
            fault.join().unwrap();
            writer.join().unwrap();
        });
    }

    #[test]
    fn who_finds_a_mapping_and_nothing_pending_finds_the_old_pages_gone() {
        fault_beside_calls([1, 2]);
    }

    /// Then the new start with the old end is a range that does not overlap.
    #[test]
    fn the_old_pages_are_gone_if_the_next_call_is_below() {
        fault_beside_calls([2, 1]);
    }
}
