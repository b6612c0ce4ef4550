//! Copies of data from and to pages.
//!
//! An embedder that keeps translations accesses memory without the lock of its table. Then copies
//! are atomic, as its accesses are: in words of eight bytes where the address allows it, else in
//! bytes. They are Relaxed, as nothing else is ordered by them. Without such an embedder the lock
//! keeps all others out.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::machine::MmuNotifier;

/// Bytes of a word.
const WORD: usize = 8;

/// Copies from a page.
///
/// # Safety
/// All bytes of the copy are in one page, whose table the caller has locked. Embedders that `N`
/// tells access them atomically.
pub(crate) unsafe fn copy_from_page<N: MmuNotifier>(page: NonNull<u8>, to: &mut [u8]) {
    if !N::IS_TOLD {
        // SAFETY: by this function's contract; no other thread accesses them.
        unsafe { page.copy_to_nonoverlapping(NonNull::from(&mut *to).cast(), to.len()) };
        return;
    }
    // SAFETY: by this function's contract.
    let Parts { head, words, tail } = unsafe { Parts::new(page, to.len()) };
    let (to_head, to) = to.split_at_mut(head.len());
    let (to_words, to_tail) = to.split_at_mut(words.len() * WORD);
    for (to, byte) in to_head.iter_mut().zip(head).chain(to_tail.iter_mut().zip(tail)) {
        *to = byte.load(Ordering::Relaxed);
    }
    for (to, word) in to_words.chunks_exact_mut(WORD).zip(words) {
        to.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
}

/// Copies to a page.
///
/// # Safety
/// As for [`copy_from_page`]; the page may be written.
pub(crate) unsafe fn copy_to_page<N: MmuNotifier>(page: NonNull<u8>, from: &[u8]) {
    if !N::IS_TOLD {
        // SAFETY: by this function's contract; no other thread accesses them.
        unsafe { page.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) };
        return;
    }
    // SAFETY: by this function's contract.
    let Parts { head, words, tail } = unsafe { Parts::new(page, from.len()) };
    let (from_head, from) = from.split_at(head.len());
    let (from_words, from_tail) = from.split_at(words.len() * WORD);
    for (from, byte) in from_head.iter().zip(head).chain(from_tail.iter().zip(tail)) {
        byte.store(*from, Ordering::Relaxed);
    }
    for (from, word) in from_words.chunks_exact(WORD).zip(words) {
        let mut bytes = [0; WORD];
        bytes.copy_from_slice(from);
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

/// Memory as aligned words, with the bytes before and after them.
struct Parts<'a> {
    head: &'a [AtomicU8],
    words: &'a [AtomicU64],
    tail: &'a [AtomicU8],
}

impl Parts<'_> {
    /// # Safety
    /// `len` bytes from `page` on are there while this is used, and accessed atomically.
    unsafe fn new(page: NonNull<u8>, len: usize) -> Self {
        // SAFETY: by this function's contract; a byte and an atomic byte are the same in memory.
        let bytes = unsafe { core::slice::from_raw_parts(page.cast::<AtomicU8>().as_ptr(), len) };
        // SAFETY: eight atomic bytes are an atomic word, if aligned.
        let (head, words, tail) = unsafe { bytes.align_to::<AtomicU64>() };
        Self { head, words, tail }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::addr::VirtRange;

    struct Somebody;

    impl MmuNotifier for Somebody {
        fn invalidate_range_start(&self, _: VirtRange) {}
        fn invalidate_range_end(&self, _: VirtRange) {}
    }

    #[test]
    fn any_part_of_a_page_is_copied_whole_and_nothing_beside_it() {
        // At least a word, with bytes before and after it.
        const WORDS: usize = if cfg!(miri) { 3 } else { 6 };
        let mut page = [0_u64; WORDS];
        let len = size_of_val(&page);
        for start in 0..len {
            for end in start..=len {
                let from: Vec<u8> = (1..=(end - start) as u8).collect();
                page = [0; WORDS];
                let at = NonNull::from(&mut page).cast::<u8>();
                // SAFETY: in the array, or its end.
                let place = unsafe { at.add(start) };
                // SAFETY: in the array, which no other thread has.
                unsafe { copy_to_page::<Somebody>(place, &from) };
                let mut whole = vec![0; len];
                // SAFETY: as above.
                unsafe { copy_from_page::<Somebody>(at, &mut whole) };
                let mut part = vec![0; end - start];
                // SAFETY: as above.
                unsafe { copy_from_page::<Somebody>(place, &mut part) };
                assert_eq!(part, from);
                assert_eq!(whole[start..end], from);
                assert!(whole[..start].iter().chain(&whole[end..]).all(|&byte| byte == 0));
            }
        }
    }
}
