//! Entries of a tree: values of one word, owned by the tree and freed after a grace period.

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use vmaple_rcu::{AllocError, RcuBox};

pub use crate::stamp::Stamp;

/// A value that fits in a word: a pointer that owns, or a small number.
///
/// Implement it with `Stamp = ()` and [`note_birth`](Self::note_birth) for a type of your own
/// whose objects have a place for the era of their birth. A leaf then needs 24 bytes for an entry
/// instead of 32.
///
/// # Safety
/// - `from_raw` returns the argument of `into_raw`. `borrow` returns what any number of threads may
///   share until then, and through which nothing can be reached after `'a`.
/// - `birth` returns the argument of the last `note_birth`, or an earlier era; never a later one.
/// - With `OWNS = false`, `from_raw` is not called for entries that leave the tree: nothing is lost
///   by that.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no entry of a maple tree",
    label = "not an entry",
    note = "put it in a `Box`, an `Arc` or an `RcuBox`, of what is `Send + Sync + 'static`; numbers up to 32 bits are entries as they are"
)]
pub unsafe trait Entry: Send + Sync + Sized + 'static {
    /// The place of the birth era: `u64` with the entry in the leaf, `()` in the entry itself, or
    /// none if there is nothing to free.
    type Stamp: Stamp;

    /// The type that readers get.
    type Borrowed<'a>: Copy;

    /// Whether there is anything to free.
    const OWNS: bool = true;

    /// Bytes of one entry on the heap, for the bound on deferred bytes.
    const BYTES: usize;

    /// Turns the entry into a word.
    fn into_raw(self) -> NonNull<()>;

    /// Takes the entry back.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), is taken back once, and is borrowed by no code
    /// any more.
    unsafe fn from_raw(raw: NonNull<()>) -> Self;

    /// Lends the entry.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and is not taken back while `'a` lasts.
    unsafe fn borrow<'a>(raw: NonNull<()>) -> Self::Borrowed<'a>;

    /// Notes the era of birth before the entry is published.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and not published yet.
    unsafe fn note_birth(raw: NonNull<()>, birth: u64) -> Self::Stamp {
        let _ = raw;
        Self::Stamp::note(birth)
    }

    /// Returns the era of birth.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and [`note_birth`](Self::note_birth) returned
    /// `stamp` for it.
    unsafe fn birth(raw: NonNull<()>, stamp: Self::Stamp) -> u64 {
        let _ = raw;
        stamp.birth()
    }
}

/// An entry that can be divided: if its range is cut in two, both parts can have one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in two ranges: what is stored over a part of one would cut it in two",
    note = "`Arc` is counted, `Box` and `RcuBox` of what is `Clone` are cloned; or take the whole range out first"
)]
pub trait Divide: Entry {
    /// Makes another entry of the same value.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory for it.
    fn divide(entry: Self::Borrowed<'_>) -> Result<Self, AllocError>;
}

// SAFETY: a box is a pointer, and lends shared references only.
unsafe impl<T: Send + Sync + 'static> Entry for Box<T> {
    type Stamp = u64;
    type Borrowed<'a> = &'a T;
    const BYTES: usize = size_of::<T>();

    fn into_raw(self) -> NonNull<()> {
        NonNull::from(Box::leak(self)).cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: by the contract it is a leaked box.
        unsafe { Box::from_raw(raw.as_ptr().cast()) }
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> &'a T {
        // SAFETY: by the contract it is a box that stays.
        unsafe { raw.cast().as_ref() }
    }
}

// SAFETY: an `RcuBox` is a pointer with a place for the birth, and lends shared references only.
unsafe impl<T: Send + Sync + 'static> Entry for RcuBox<T> {
    type Stamp = ();
    type Borrowed<'a> = &'a T;
    const BYTES: usize = size_of::<T>() + size_of::<u64>();

    fn into_raw(self) -> NonNull<()> {
        RcuBox::into_raw(self)
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: the same contract.
        unsafe { RcuBox::from_raw(raw) }
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> &'a T {
        // SAFETY: the same contract.
        unsafe { RcuBox::borrow(raw) }
    }

    unsafe fn note_birth(raw: NonNull<()>, birth: u64) {
        // SAFETY: the same contract.
        unsafe { RcuBox::<T>::set_birth(raw, birth) }
    }

    unsafe fn birth(raw: NonNull<()>, (): ()) -> u64 {
        // SAFETY: the same contract.
        unsafe { RcuBox::<T>::birth(raw) }
    }
}

/// An [`Arc`] that the tree lends: reads as the value, and can be kept.
pub struct ArcBorrow<'a, T> {
    value: NonNull<T>,
    lent: PhantomData<&'a Arc<T>>,
}

impl<T> Clone for ArcBorrow<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ArcBorrow<'_, T> {}

impl<'a, T> ArcBorrow<'a, T> {
    /// Returns the value for as long as it is lent: `ArcBorrow::get(held)`, as the value may have
    /// a `get` of its own.
    #[must_use]
    pub fn get(this: Self) -> &'a T {
        // SAFETY: the lender keeps the Arc.
        unsafe { this.value.as_ref() }
    }

    /// Returns another handle, to keep: `ArcBorrow::to_arc(held)`.
    #[must_use]
    pub fn to_arc(this: Self) -> Arc<T> {
        // SAFETY: it is an Arc's pointer, which the lender keeps: the copy is not dropped, its
        // clone is counted.
        let lent = ManuallyDrop::new(unsafe { Arc::from_raw(this.value.as_ptr()) });
        Arc::clone(&lent)
    }
}

impl<T> Deref for ArcBorrow<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        Self::get(*self)
    }
}

impl<T: fmt::Debug> fmt::Debug for ArcBorrow<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

// SAFETY: it is what a shared reference to an Arc is.
unsafe impl<T: Send + Sync> Send for ArcBorrow<'_, T> {}
// SAFETY: as for Send.
unsafe impl<T: Send + Sync> Sync for ArcBorrow<'_, T> {}

// SAFETY: an Arc is a pointer, and lends shared references, and clones, only.
unsafe impl<T: Send + Sync + 'static> Entry for Arc<T> {
    type Stamp = u64;
    type Borrowed<'a> = ArcBorrow<'a, T>;
    const BYTES: usize = size_of::<T>();

    fn into_raw(self) -> NonNull<()> {
        // SAFETY: an Arc's pointer is not null.
        unsafe { NonNull::new_unchecked(Arc::into_raw(self).cast_mut()) }.cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: by the contract.
        unsafe { Arc::from_raw(raw.as_ptr().cast()) }
    }

    unsafe fn borrow<'a>(raw: NonNull<()>) -> ArcBorrow<'a, T> {
        ArcBorrow {
            value: raw.cast(),
            lent: PhantomData,
        }
    }
}

impl<T: Send + Sync + 'static> Divide for Arc<T> {
    fn divide(entry: ArcBorrow<'_, T>) -> Result<Self, AllocError> {
        Ok(ArcBorrow::to_arc(entry))
    }
}

impl<T: Clone + Send + Sync + 'static> Divide for Box<T> {
    fn divide(entry: &T) -> Result<Self, AllocError> {
        let value = entry.clone();
        if size_of::<T>() == 0 {
            return Ok(Box::new(value)); // takes no memory
        }
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
        let memory = NonNull::new(memory).ok_or(AllocError)?;
        // SAFETY: fresh memory of T's layout.
        unsafe { memory.write(value) };
        // SAFETY: from the global allocator, with T's layout, and in no other use.
        Ok(unsafe { Box::from_raw(memory.as_ptr()) })
    }
}

impl<T: Clone + Send + Sync + 'static> Divide for RcuBox<T> {
    fn divide(entry: &T) -> Result<Self, AllocError> {
        RcuBox::new(entry.clone())
    }
}

/// Implements entries for numbers that, plus one, fit in a pointer.
macro_rules! number {
    ($($number:ty),*) => { $(
        // SAFETY: the number goes into the pointer and comes back; nothing is owned.
        unsafe impl Entry for $number {
            type Stamp = ();
            type Borrowed<'a> = $number;
            const OWNS: bool = false;
            const BYTES: usize = 0;

            fn into_raw(self) -> NonNull<()> {
                // Plus one, as a null pointer is no entry.
                NonNull::new(ptr::without_provenance_mut(self as usize + 1)).unwrap_or(NonNull::dangling())
            }

            unsafe fn from_raw(raw: NonNull<()>) -> Self {
                (raw.as_ptr().addr() - 1) as $number
            }

            unsafe fn borrow<'a>(raw: NonNull<()>) -> Self::Borrowed<'a> {
                // SAFETY: the same contract, of which a number needs nothing.
                unsafe { Self::from_raw(raw) }
            }
        }

        impl Divide for $number {
            fn divide(entry: Self) -> Result<Self, AllocError> {
                Ok(entry)
            }
        }
    )* };
}

number!(u8, u16);
#[cfg(target_pointer_width = "64")]
number!(u32);
