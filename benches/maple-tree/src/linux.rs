//! Linux's maple tree in C, in RCU mode, as an mm has it. The cost of its writer's lock is not
//! included.

use std::ffi::{c_int, c_void};

use crate::map::Map;
use crate::workload::Range;

unsafe extern "C" {
    fn cmt_register_thread();
    fn cmt_unregister_thread();
    fn cmt_new(rcu_mode: c_int) -> *mut c_void;
    fn cmt_destroy(tree: *mut c_void);
    fn cmt_store_permuted(tree: *mut c_void, ranges: *const Range, order: *const u32, n: usize) -> c_int;
    fn cmt_erase(tree: *mut c_void, ranges: *const Range, which: *const u32, n: usize) -> c_int;
    fn cmt_churn(tree: *mut c_void, ranges: *const Range, which: *const u32, pairs: usize) -> c_int;
    fn cmt_lookup(tree: *mut c_void, queries: *const u64, n: usize) -> u64;
    fn cmt_lookup_dependent(tree: *mut c_void, queries: *const u64, mask: usize, n: usize) -> u64;
    fn cmt_iterate(tree: *mut c_void, rounds: usize) -> u64;
    fn cmt_iterate_sections(tree: *mut c_void, from: u64, entries: usize, count: *mut u64) -> u64;
    fn cmt_empty_area(
        tree: *mut c_void,
        min: *const u64,
        max: *const u64,
        size: *const u64,
        n: usize,
        rev: c_int,
    ) -> u64;
    fn cmt_bytes(tree: *mut c_void) -> usize;
}

pub struct Linux(*mut c_void);

// SAFETY: its functions may be called by one writer and any readers at once.
unsafe impl Sync for Linux {}
// SAFETY: as for Sync.
unsafe impl Send for Linux {}

impl Map for Linux {
    const NAME: &'static str = "Linux, in C";

    fn new() -> Self {
        // SAFETY: the thread is registered.
        Self(unsafe { cmt_new(1) })
    }

    fn begin_thread() {
        // SAFETY: once for each thread.
        unsafe { cmt_register_thread() };
    }

    fn end_thread() {
        // SAFETY: as above.
        unsafe { cmt_unregister_thread() };
    }

    fn store(&self, ranges: &'static [Range], order: &[u32]) {
        // SAFETY: the ranges stay; the order is of indexes of them.
        let done = unsafe { cmt_store_permuted(self.0, ranges.as_ptr(), order.as_ptr(), order.len()) };
        assert_eq!(done, 0);
    }

    fn erase(&self, ranges: &'static [Range], which: &[u32]) {
        // SAFETY: as above.
        assert_eq!(
            unsafe { cmt_erase(self.0, ranges.as_ptr(), which.as_ptr(), which.len()) },
            0
        );
    }

    fn churn(&self, ranges: &'static [Range], which: &[u32], mut each: impl FnMut()) {
        // One call for each pair costs C two of five hundred nanoseconds.
        for i in which {
            // SAFETY: as above.
            assert_eq!(unsafe { cmt_churn(self.0, ranges.as_ptr(), i, 1) }, 0);
            each();
        }
    }

    fn lookup(&self, queries: &[u64]) -> u64 {
        // SAFETY: there are this many queries.
        unsafe { cmt_lookup(self.0, queries.as_ptr(), queries.len()) }
    }

    fn dependent(&self, queries: &[u64], n: usize) -> u64 {
        // SAFETY: there are this many queries, a power of two.
        unsafe { cmt_lookup_dependent(self.0, queries.as_ptr(), queries.len() - 1, n) }
    }

    fn iterate(&self) -> u64 {
        // SAFETY: one round.
        unsafe { cmt_iterate(self.0, 1) }
    }

    fn scan(&self, from: u64, n: usize) -> u64 {
        let mut count = 0;
        // SAFETY: `count` is there.
        assert_eq!(unsafe { cmt_iterate_sections(self.0, from, n, &mut count) }, 0);
        0
    }

    fn gaps(&self, (min, max, size): &(Vec<u64>, Vec<u64>, Vec<u64>)) -> Option<u64> {
        // SAFETY: there are this many of each.
        Some(unsafe { cmt_empty_area(self.0, min.as_ptr(), max.as_ptr(), size.as_ptr(), min.len(), 1) })
    }

    fn bytes(&self) -> Option<usize> {
        // SAFETY: no thread writes.
        Some(unsafe { cmt_bytes(self.0) })
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        // SAFETY: no thread uses it any more.
        unsafe { cmt_destroy(self.0) };
    }
}
