//! Fallible boxes, which the stable library does not have, and a test for memory before it is
//! taken in pieces.

use alloc::alloc::{Layout, alloc, dealloc};
use alloc::boxed::Box;
use core::ptr::NonNull;

use crate::error::AllocError;

/// Puts `value` on the heap, for [`from_try_box`].
pub(crate) fn try_box<T>(value: T) -> Result<NonNull<T>, AllocError> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    let memory = NonNull::new(memory).ok_or(AllocError)?;
    // SAFETY: fresh memory of T's layout.
    unsafe { memory.write(value) };
    Ok(memory)
}

/// Takes back what [`try_box`] made.
///
/// # Safety
/// `memory` is from [`try_box`], no other code uses it, and it is taken back once.
pub(crate) unsafe fn from_try_box<T>(memory: NonNull<T>) -> Box<T> {
    // SAFETY: by this function's contract the memory is from the global allocator, with T's layout,
    // and owned.
    unsafe { Box::from_raw(memory.as_ptr()) }
}

/// The least number of bytes that are asked for at once before they are taken in pieces.
const LARGE: usize = 64 << 20;

/// Fails if `count` pieces of `size` bytes, not zero, are unavailable.
///
/// That is more than an address space holds or, with `std`, more than the allocator has at once.
/// Taken piece by piece they would use all memory of the machine before one is refused.
pub(crate) fn ask_for(count: usize, size: usize) -> Result<(), AllocError> {
    let bytes = count.checked_mul(size).ok_or(AllocError)?;
    let all = Layout::from_size_align(bytes, 1).map_err(|_| AllocError)?;
    // A kernel's allocator has no such large piece, and may well have the small ones.
    if bytes < LARGE || cfg!(not(feature = "std")) {
        return Ok(());
    }
    // SAFETY: the size is not zero.
    let memory = NonNull::new(unsafe { alloc(all) }).ok_or(AllocError)?;
    // Without this the compiler may leave both calls out.
    let memory = core::hint::black_box(memory);
    // SAFETY: just allocated, with this layout.
    unsafe { dealloc(memory.as_ptr(), all) };
    Ok(())
}
