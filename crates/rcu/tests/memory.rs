//! Without memory every operation that needs some returns an error, nothing changes, and nothing
//! is lost. The allocator of this test refuses the threads that ask for that.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use vmaple_rcu::{AllocError, Fences, RcuBox, RcuDomain, RcuPtr};

thread_local! {
    /// The number of allocations of this thread that still succeed; negative: all succeed.
    static LEFT: Cell<isize> = const { Cell::new(-1) };
    /// The number that was left after the last [`with_allocations`].
    static LEFT_AFTER: Cell<isize> = const { Cell::new(-1) };
}

struct Refusing;

// SAFETY: the system's allocator, or null, which the trait allows.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match LEFT.get() {
            0 => return std::ptr::null_mut(),
            left => LEFT.set((left - 1).max(-1)),
        }
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Runs `work` with `left` allocations that succeed.
fn with_allocations<T>(left: isize, work: impl FnOnce() -> T) -> T {
    LEFT.set(left);
    let result = work();
    LEFT_AFTER.set(LEFT.replace(-1));
    result
}

#[test]
fn a_domain_a_reader_and_a_box_that_do_not_fit_are_refused() {
    assert!(with_allocations(0, || RcuDomain::with_fences(Fences::Symmetric).is_err()));
    let (domain, _updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
    assert!(with_allocations(0, || domain.reader().is_err()));
    assert!(with_allocations(0, || domain.read(|_| ()).is_err()));
    assert!(matches!(
        with_allocations(0, || RcuBox::new([0_u64; 8])),
        Err(AllocError)
    ));
    assert_eq!(domain.stats().readers, 0);
    domain.reader().unwrap();
}

#[test]
fn a_reservation_that_cannot_be_met_is_refused_before_memory_is_taken() {
    let (_domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
    for wanted in [usize::MAX, usize::MAX / 2, 1 << 45] {
        // Without the check it would take all memory of the machine, in blocks.
        assert_eq!(with_allocations(5, || updater.reserve(wanted)), Err(AllocError));
        assert!(LEFT_AFTER.get() >= 4, "blocks were taken for {wanted}");
    }
}

#[test]
fn an_assignment_that_cannot_be_noted_gives_the_value_back_and_changes_nothing() {
    let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
    let ptr = RcuPtr::null(&domain);
    let reader = domain.reader().unwrap();
    let first = RcuBox::new(1).unwrap();
    let back = with_allocations(0, || ptr.assign(&mut updater, Some(first)));
    let Err((AllocError, Some(first))) = back else {
        panic!("assigned without memory");
    };
    assert_eq!((*first, ptr.dereference(&reader.read_lock())), (1, None));
    assert!(ptr.assign(&mut updater, Some(first)).is_ok());
    assert_eq!(ptr.dereference(&reader.read_lock()), Some(&1));
}

#[test]
fn what_was_reserved_needs_no_memory_and_an_updater_out_of_memory_goes_on_later() {
    const OBJECTS: usize = 1000;
    let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
    let ptr = RcuPtr::null(&domain);
    let boxes: Vec<_> = (0..2 * OBJECTS).map(|i| RcuBox::new(i).unwrap()).collect();
    let reader = domain.reader().unwrap();
    // A reader holds everything, so no block comes back.
    let guard = reader.read_lock();
    ptr.dereference(&guard);
    updater.reserve(OBJECTS).unwrap();
    let mut refused = 0;
    with_allocations(0, || {
        for (i, new) in boxes.into_iter().enumerate() {
            if ptr.assign(&mut updater, Some(new)).is_err() {
                assert!(i >= OBJECTS, "assignment {i} was reserved");
                refused += 1; // and the value, given back, is dropped
            }
        }
    });
    assert!(refused > 0, "nothing was short");
    drop(guard);
    assert!(ptr.assign(&mut updater, Some(RcuBox::new(0).unwrap())).is_ok());
    updater.rcu_barrier();
    assert_eq!(domain.stats().deferred_objects, 0);
}

#[test]
fn reaping_without_memory_frees_later() {
    for left in 0..10 {
        let (domain, mut updater) = RcuDomain::with_fences(Fences::Symmetric).unwrap();
        let ptr = RcuPtr::null(&domain);
        let readers: Vec<_> = (0..20).map(|_| domain.reader().unwrap()).collect();
        let mut guards = Vec::new();
        for reader in &readers {
            for i in 0..100 {
                assert!(ptr.assign(&mut updater, Some(RcuBox::new(i).unwrap())).is_ok());
            }
            let guard = reader.read_lock();
            ptr.dereference(&guard);
            guards.push(guard);
        }
        updater.flush();
        with_allocations(left, || {
            for _ in 0..100 {
                domain.reap();
            }
        });
        drop(guards);
        updater.rcu_barrier();
        assert_eq!(domain.stats().deferred_objects, 0, "{left}");
    }
}
