//! Frames that a thread keeps at hand, so that most faults do not go to the allocator.

use core::cell::Cell;

use super::frame::Frames;
use super::frame_list::FrameList;

/// Frames that are allocated at a time. Twice as many are kept at most.
const BATCH: usize = 32;

/// One thread's frames.
#[doc(alias = "per_cpu_pages")]
pub(crate) struct FrameCache<'f, F: Frames> {
    frames: &'f F,
    at_hand: Cell<FrameList<'f, F>>,
}

impl<'f, F: Frames> FrameCache<'f, F> {
    pub(crate) fn new(frames: &'f F) -> Self {
        let at_hand = Cell::new(FrameList::new(frames));
        Self { frames, at_hand }
    }

    /// Takes up to `count` frames: at least one, unless there is none.
    pub(crate) fn take(&self, count: usize) -> FrameList<'f, F> {
        let mut at_hand = self.at_hand.replace(FrameList::new(self.frames));
        if at_hand.is_empty() {
            at_hand = self.frames.take(BATCH.max(count));
        }
        let taken = at_hand.split(count);
        self.at_hand.set(at_hand);
        taken
    }

    /// Takes back frames that are not used, or not any more.
    pub(crate) fn put(&self, frames: FrameList<'_, F>) {
        if frames.is_empty() {
            return;
        }
        let mut at_hand = self.at_hand.replace(FrameList::new(self.frames));
        at_hand.append(frames);
        if at_hand.len() > 2 * BATCH {
            // The others are freed here.
            at_hand = at_hand.split(BATCH);
        }
        self.at_hand.set(at_hand);
    }
}
