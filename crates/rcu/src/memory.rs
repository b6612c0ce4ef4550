//! Boxes that can fail: the stable library has none.

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use core::ptr::NonNull;

use crate::error::AllocError;

/// Puts `value` on the heap. To be taken back with [`from_try_box`].
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
/// `memory` is from [`try_box`], nobody else uses it, and it is taken back once.
pub(crate) unsafe fn from_try_box<T>(memory: NonNull<T>) -> Box<T> {
    // SAFETY: by this function's contract the memory is from the global allocator, with T's layout, and owned.
    unsafe { Box::from_raw(memory.as_ptr()) }
}
