//! The state of each page of the mapper's region, as the mapper knows it: what scanners read is held against it.
//!
//! The mapper says of a page that it is changing, makes its call, says what has become of the page by which operation, and
//! then how many operations there have been. A scan takes that number when it begins. A page whose last operation had ended
//! by then, and which is not changing when the scan has passed it, has been in one state all the time, and what the scan says
//! of it can be judged.
//!
//! # Why there is no false alarm
//! Say that a scan, which began after `begin` operations, finds a page settled by operation `i <= begin`, after it has read
//! the part of the file that the page is in.
//! - What was read is not older than `i`: `operations` was stored with Release after the call of `i`, and loaded with Acquire before
//!   the scan's first read. So the effect of `i` happened before the read.
//! - It is not newer than `i`: had a read seen the effect of a later operation on this page, then "changing" of that
//!   operation, stored before its call, had happened before the read returned, by whatever made the call's effect visible: a
//!   lock of the kernel or of the model, the publication of a root that RCU readers load, or the Release store of a page table's
//!   entry or counters. The load of the page's word comes after the read, and can find nothing older.
//!
//! Both rest on `operations` and on the address space's own ordering, so the words themselves are Relaxed. A page that the scan
//! finds changing, or settled later than its begin, is not judged. A word that is looked at late is judged less often, never
//! wrongly.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const MAPPED: u64 = 1;
const STABLE: u64 = 2;
const INDEX_SHIFT: u32 = 2;

/// A word for each page (index of its last operation, whether that is over, whether the page is mapped), and the number of
/// operations completed.
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

    /// By the mapper before its call.
    pub(crate) fn changing(&self, page: u64) {
        self.words[page as usize].store(0, Relaxed);
    }

    /// By the mapper after its call, the `index`th of the run; 0 stands for all that came before the run.
    pub(crate) fn settled(&self, page: u64, index: u64, mapped: bool) {
        let word = index << INDEX_SHIFT | STABLE | u64::from(mapped);
        self.words[page as usize].store(word, Relaxed);
    }

    /// By the mapper when it has said what became of the page.
    pub(crate) fn completed(&self, index: u64) {
        // Pairs with the Acquire in `begin`.
        self.operations.store(index, Release);
    }

    /// By a scan before its first read: how many operations are over.
    pub(crate) fn begin(&self) -> u64 {
        // Pairs with the Release in `completed`.
        self.operations.load(Acquire)
    }

    /// By a scan that has passed the page: whether it is mapped, if that has not changed since before `begin`.
    pub(crate) fn since(&self, page: u64, begin: u64) -> Option<bool> {
        let word = self.words[page as usize].load(Relaxed);
        (word & STABLE != 0 && word >> INDEX_SHIFT <= begin).then_some(word & MAPPED != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_settled_before_the_scan_and_is_not_changing_is_judged() {
        let (words, operations) = ([const { AtomicU64::new(0) }; 2], AtomicU64::new(0));
        let states = PageStates::new(&words, &operations);
        states.settled(0, 3, true);
        states.settled(1, 4, false);
        states.completed(4);
        let begin = states.begin();
        assert_eq!(
            (states.since(0, begin), states.since(1, begin)),
            (Some(true), Some(false))
        );
        assert_eq!((states.since(0, 3), states.since(1, 3)), (Some(true), None));
        states.changing(0);
        assert_eq!(states.since(0, begin), None);
        states.settled(0, 5, true);
        assert_eq!(states.since(0, begin), None);
    }
}
