//! The state of each page of the mapper's region, as the mapper knows it. What scanners read is
//! held against it.
//!
//! Around each call the mapper marks the page as changing, makes the call, stores the page's new
//! state with the number of the operation, and then stores how many operations are over. A scan
//! loads that number when it begins. It then judges a page only if the page's last operation was
//! over by then, and the page is not changing after the scan has passed it: such a page was in one
//! state all the time.
//!
//! # Why there is no false alarm
//! A scan began after `begin` operations. After it has read the part of the file with a page, it
//! finds the page settled by operation `i <= begin`.
//! - What was read is not older than `i`: `operations` was stored with Release after the call of
//!   `i`, and loaded with Acquire before the scan's first read. So the effect of `i` happened
//!   before the read.
//! - It is not newer than `i`. If a read had seen the effect of a later operation on this page, the
//!   mark "changing" of that operation, stored before its call, would have happened before the read
//!   returned. What made the call's effect visible orders them: a lock of the kernel or of the
//!   model, the publication of a root that RCU readers load, or the Release store of a page table's
//!   entry or counters. The load of the page's word comes after the read, and can find nothing
//!   older.
//!
//! Both rest on `operations` and on the address space's own ordering, so the words themselves are
//! Relaxed. A page that the scan finds changing, or settled after the scan began, is not judged. A
//! word that is loaded late is judged less often, never wrongly.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use vmaple_smaps::walk::Page;

const MAPPED: u64 = 1;
const STABLE: u64 = 2;
const INDEX_SHIFT: u32 = 2;

/// A word for each page, and the number of operations completed.
///
/// A word holds the index of the page's last operation, whether that is over, and whether the page
/// is mapped.
#[derive(Clone, Copy)]
pub(crate) struct PageStates<'a> {
    words: &'a [AtomicU64],
    operations: &'a AtomicU64,
}

impl<'a> PageStates<'a> {
    pub(crate) fn new(words: &'a [AtomicU64], operations: &'a AtomicU64) -> Self {
        Self { words, operations }
    }

    pub(crate) fn pages(&self) -> u64 {
        self.words.len() as u64
    }

    /// Marks a page as changing: by the mapper before its call.
    pub(crate) fn changing(&self, page: u64) {
        self.words[page as usize].store(0, Relaxed);
    }

    /// Stores a page's state: by the mapper after its call, the `index`th of the run. 0 stands for
    /// all before the run.
    pub(crate) fn settled(&self, page: u64, index: u64, state: Page) {
        let mapped = if state == Page::Mapped { MAPPED } else { 0 };
        let word = index << INDEX_SHIFT | STABLE | mapped;
        self.words[page as usize].store(word, Relaxed);
    }

    /// Stores how many operations are over: by the mapper after it has stored the page's state.
    pub(crate) fn completed(&self, index: u64) {
        // Pairs with the Acquire in `begin`.
        self.operations.store(index, Release);
    }

    /// Returns how many operations are over: for a scan before its first read.
    pub(crate) fn begin(&self) -> u64 {
        // Pairs with the Release in `completed`.
        self.operations.load(Acquire)
    }

    /// Returns a page's state, if it has not changed since `begin`: for a scan that has passed the
    /// page.
    pub(crate) fn since(&self, page: u64, begin: u64) -> Option<Page> {
        let word = self.words[page as usize].load(Relaxed);
        let state = if word & MAPPED == 0 {
            Page::Unmapped
        } else {
            Page::Mapped
        };
        (word & STABLE != 0 && word >> INDEX_SHIFT <= begin).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_settled_before_the_scan_and_is_not_changing_is_judged() {
        let (words, operations) = ([const { AtomicU64::new(0) }; 2], AtomicU64::new(0));
        let states = PageStates::new(&words, &operations);
        states.settled(0, 3, Page::Mapped);
        states.settled(1, 4, Page::Unmapped);
        states.completed(4);
        let begin = states.begin();
        assert_eq!(
            (states.since(0, begin), states.since(1, begin)),
            (Some(Page::Mapped), Some(Page::Unmapped))
        );
        assert_eq!((states.since(0, 3), states.since(1, 3)), (Some(Page::Mapped), None));
        states.changing(0);
        assert_eq!(states.since(0, begin), None);
        states.settled(0, 5, Page::Mapped);
        assert_eq!(states.since(0, begin), None);
    }
}
