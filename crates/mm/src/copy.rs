//! Copies of data from and to pages.
//!
//! Where somebody else keeps translations, who accesses memory without the lock of its table, copies are atomic as such accesses are:
//! in words of eight bytes where the address allows it, else in bytes, Relaxed, since nothing else is ordered by them. Where nobody
//! does, the lock keeps all others out.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::machine::MmuNotifier;

/// Bytes of a word.
const WORD: usize = 8;

/// Copies from a page.
///
/// # Safety
/// As many bytes from `page` on are of a page whose table the caller has locked; those whom `N` tells may access them, atomically.
pub(crate) unsafe fn copy_from_page<N: MmuNotifier>(page: NonNull<u8>, to: &mut [u8]) {
    if !N::IS_TOLD {
        // SAFETY: by this function's contract; nobody else accesses them.
        unsafe { page.copy_to_nonoverlapping(NonNull::from(&mut *to).cast(), to.len()) };
        return;
    }
    for (at, is_word) in pieces(page, to.len()) {
        // SAFETY: by this function's contract.
        let place = unsafe { page.add(at) }.as_ptr();
        if is_word {
            // SAFETY: aligned, and by this function's contract.
            let word = unsafe { AtomicU64::from_ptr(place.cast()) };
            to[at..at + WORD].copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        } else {
            // SAFETY: by this function's contract.
            to[at] = unsafe { AtomicU8::from_ptr(place) }.load(Ordering::Relaxed);
        }
    }
}

/// Copies to a page.
///
/// # Safety
/// As for [`copy_from_page`]; the page may be written.
pub(crate) unsafe fn copy_to_page<N: MmuNotifier>(page: NonNull<u8>, from: &[u8]) {
    if !N::IS_TOLD {
        // SAFETY: by this function's contract; nobody else accesses them.
        unsafe { page.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) };
        return;
    }
    for (at, is_word) in pieces(page, from.len()) {
        // SAFETY: by this function's contract.
        let place = unsafe { page.add(at) }.as_ptr();
        if is_word {
            let mut bytes = [0; WORD];
            bytes.copy_from_slice(&from[at..at + WORD]);
            // SAFETY: aligned, and by this function's contract.
            unsafe { AtomicU64::from_ptr(place.cast()) }.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        } else {
            // SAFETY: by this function's contract.
            unsafe { AtomicU8::from_ptr(place) }.store(from[at], Ordering::Relaxed);
        }
    }
}

/// The accesses that copy so many bytes: where each begins, and whether it is of a word.
fn pieces(page: NonNull<u8>, len: usize) -> impl Iterator<Item = (usize, bool)> {
    let head = page.addr().get().wrapping_neg() % WORD;
    let head = head.min(len);
    let words_end = head + (len - head) / WORD * WORD;
    let bytes = |range: core::ops::Range<usize>| range.map(|at| (at, false));
    let words = (head..words_end).step_by(WORD).map(|at| (at, true));
    bytes(0..head).chain(words).chain(bytes(words_end..len))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::ops::Range;

    struct Somebody;

    impl MmuNotifier for Somebody {
        fn invalidate_range_start(&self, _: Range<u64>) {}
        fn invalidate_range_end(&self, _: Range<u64>) {}
    }

    #[test]
    fn any_part_of_a_page_is_copied_whole_and_nothing_beside_it() {
        let mut page = [0_u64; 6];
        let len = size_of_val(&page);
        for start in 0..len {
            for end in start..=len {
                let from: Vec<u8> = (1..=(end - start) as u8).collect();
                page = [0; 6];
                let at = NonNull::from(&mut page).cast::<u8>();
                // SAFETY: in the array, or its end.
                let place = unsafe { at.add(start) };
                // SAFETY: in the array, which is nobody else's.
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
