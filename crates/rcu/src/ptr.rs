//! Pointers that readers follow while a writer replaces them.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use crate::block::Retired;
use crate::domain::RcuDomain;
use crate::error::AllocError;
use crate::memory;
use crate::primitive::{AtomicPtr, Ordering};
use crate::read::Guard;
use crate::update::Updater;

/// A value on the heap with the era of its publication.
struct Stamped<T> {
    birth: u64,
    value: T,
}

/// An owned value on its way into an [`RcuPtr`].
pub struct RcuBox<T> {
    memory: NonNull<Stamped<T>>,
    owns: PhantomData<T>,
}

// SAFETY: it owns a T.
unsafe impl<T: Send> Send for RcuBox<T> {}
// SAFETY: it owns a T, and lends `&T` only.
unsafe impl<T: Sync> Sync for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// Puts `value` on the heap.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory; `value` is dropped then.
    pub fn new(value: T) -> Result<Self, AllocError> {
        let memory = memory::try_box(Stamped { birth: 0, value })?;
        Ok(Self {
            memory,
            owns: PhantomData,
        })
    }

    fn into_memory(this: Self) -> NonNull<Stamped<T>> {
        ManuallyDrop::new(this).memory
    }

    /// Turns the box into a word, for structures that hold words. [`from_raw`](Self::from_raw)
    /// takes it back.
    ///
    /// An associated function, so that it hides no method of the value.
    #[must_use]
    pub fn into_raw(this: Self) -> NonNull<()> {
        Self::into_memory(this).cast()
    }

    /// Takes the box back.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), is taken back once, and is borrowed by no code
    /// any more.
    #[must_use]
    pub unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self {
            memory: raw.cast(),
            owns: PhantomData,
        }
    }

    /// Lends the value.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and is not taken back while `'a` lasts.
    #[must_use]
    pub unsafe fn borrow<'a>(raw: NonNull<()>) -> &'a T {
        // SAFETY: by this function's contract.
        unsafe { &raw.cast::<Stamped<T>>().as_ref().value }
    }

    /// Notes the era of birth, from [`Updater::birth`].
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and not published yet.
    pub unsafe fn set_birth(raw: NonNull<()>, birth: u64) {
        // SAFETY: by this function's contract no other code uses it.
        unsafe { (*raw.cast::<Stamped<T>>().as_ptr()).birth = birth };
    }

    /// Returns the era of birth.
    ///
    /// # Safety
    /// `raw` is from [`into_raw`](Self::into_raw), and has not been taken back.
    #[must_use]
    pub unsafe fn birth(raw: NonNull<()>) -> u64 {
        // SAFETY: by this function's contract.
        unsafe { raw.cast::<Stamped<T>>().as_ref().birth }
    }
}

impl<T> Deref for RcuBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the box owns its memory.
        unsafe { &self.memory.as_ref().value }
    }
}

impl<T: fmt::Debug> fmt::Debug for RcuBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RcuBox").field(&**self).finish()
    }
}

impl<T> Drop for RcuBox<T> {
    fn drop(&mut self) {
        // SAFETY: the box owns its memory, which is from `try_box`.
        drop(unsafe { memory::from_try_box(self.memory) });
    }
}

/// Frees an object that [`RcuPtr::assign`] has retired.
///
/// # Safety
/// `object` is a `Stamped<T>` from `try_box` that no other code refers to.
unsafe fn free<T>(object: *mut ()) {
    if let Some(memory) = NonNull::new(object.cast::<Stamped<T>>()) {
        // SAFETY: by this function's contract.
        drop(unsafe { memory::from_try_box(memory) });
    }
}

/// A pointer, perhaps null, that owns its object and belongs to a domain.
///
/// The writer replaces the object with [`assign`](Self::assign), which retires the old one.
/// Readers find one or the other with [`dereference`](Self::dereference), never neither. Pointers
/// may be inside of objects: these go with the object that holds them, as rule C wants.
///
/// # Invariants
/// `object` is null or a `Stamped<T>` from `try_box` that this pointer owns, stamped before it was
/// stored.
pub struct RcuPtr<T> {
    object: AtomicPtr<Stamped<T>>,
    /// The id of the domain.
    domain: u64,
    owns: PhantomData<T>,
}

// SAFETY: it owns a T.
unsafe impl<T: Send> Send for RcuPtr<T> {}
// SAFETY: shared, it lends `&T` to readers (Sync), and hands T to the thread that reaps (Send).
unsafe impl<T: Send + Sync> Sync for RcuPtr<T> {}

impl<T: Send + Sync + 'static> RcuPtr<T> {
    /// Returns a null pointer of `domain`.
    #[must_use]
    pub fn null(domain: &RcuDomain) -> Self {
        Self {
            object: AtomicPtr::new(ptr::null_mut()),
            domain: domain.handle.id,
            owns: PhantomData,
        }
    }

    /// Returns the current object, which stays while the guard lives.
    ///
    /// # Panics
    /// If the guard is of another domain, which protects nothing here.
    #[doc(alias = "rcu_dereference")]
    #[inline]
    pub fn dereference<'g>(&'g self, guard: &'g Guard<'_>) -> Option<&'g T> {
        assert!(guard.domain().id == self.domain, "a guard of another domain");
        // Acquire pairs with the Release in `assign`: the object and its stamp are initialised.
        let object = guard.protect(|| self.object.load(Ordering::Acquire));
        // SAFETY: `protect` makes sure that the object stays while the guard lives, unless this
        // pointer itself is dropped, which the borrow of `self` excludes.
        unsafe { object.as_ref() }.map(|o| &o.value)
    }

    /// Replaces the object by `new` and retires the old one, which is dropped when no reader can
    /// hold it any more.
    ///
    /// # Errors
    /// [`AllocError`], with `new` given back, if there is no memory to note what to free; nothing
    /// has changed then. After [`Updater::reserve`] that does not happen.
    ///
    /// # Panics
    /// If the updater is of another domain.
    #[doc(alias = "rcu_assign_pointer")]
    pub fn assign(&self, updater: &mut Updater, new: Option<RcuBox<T>>) -> Result<(), (AllocError, Option<RcuBox<T>>)> {
        assert!(updater.domain().id == self.domain, "an updater of another domain");
        if let Err(error) = updater.reserve(1) {
            return Err((error, new));
        }
        let new = new.map_or(ptr::null_mut(), |new| {
            let memory = RcuBox::into_memory(new);
            let birth = updater.birth(size_of::<Stamped<T>>());
            // SAFETY: the box was owned and is not published yet.
            unsafe { (*memory.as_ptr()).birth = birth };
            memory.as_ptr()
        });
        // Release pairs with the Acquire in `dereference`. Relaxed is enough to load the old
        // object: only holders of the one updater store here.
        // INVARIANT: `new` is from a box, stamped above.
        let old = self.object.swap(new, Ordering::Release);
        if old.is_null() {
            return Ok(());
        }
        let retired = Retired {
            object: old.cast(),
            free: free::<T>,
            // SAFETY: by the type's invariant the old object is initialised, and it was this
            // pointer's own.
            birth: unsafe { (*old).birth },
            bytes: size_of::<Stamped<T>>(),
        };
        // SAFETY: the only word that held the object was this one, and it has been overwritten:
        // later readers do not find it. `free` is right for it, T is Send, and it is retired once,
        // as a swap took `old` out.
        match unsafe { updater.retire(retired) } {
            Ok(()) => Ok(()),
            Err(_) => unreachable!("reserved above"),
        }
    }
}

impl<T> fmt::Debug for RcuPtr<T> {
    /// Prints whether there is an object; to print the object takes a guard.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("RcuPtr");
        this.field("is_null", &self.object.load(Ordering::Relaxed).is_null());
        this.field("domain", &self.domain).finish()
    }
}

impl<T> Drop for RcuPtr<T> {
    fn drop(&mut self) {
        // Readers that hold the object borrow this pointer, so there are none.
        let object = self.object.load(Ordering::Relaxed);
        if let Some(memory) = NonNull::new(object) {
            // SAFETY: by the type's invariant this pointer owns the object.
            let owned: Box<Stamped<T>> = unsafe { memory::from_try_box(memory) };
            drop(owned);
        }
    }
}
