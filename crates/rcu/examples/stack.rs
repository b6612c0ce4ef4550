//! A stack that readers walk while a writer pushes and pops. `cargo run --release --example stack`
//!
//! A node never changes once it is published, so a head stands for one whole version of the stack.
//! Everything below a head is stamped before that head is published, and retired after it is
//! replaced. So one protected load, that of the head, covers a walk, and the walk follows plain
//! pointers.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};
use vmaple_rcu::{AllocError, RcuDomain, Reader, Retired, Updater};

/// The value that tells readers to stop.
const END: u64 = u64::MAX;

struct Node {
    value: u64,
    /// The era of its publication.
    birth: u64,
    next: *mut Node,
}

/// # Invariants
/// `head` is null or heads a list of nodes from boxes. The holder of `writer`, the domain's only
/// updater, alone stores it.
pub(crate) struct Stack {
    head: AtomicPtr<Node>,
    writer: Mutex<Updater>,
    domain: RcuDomain,
}

/// A thread's handle to walk a stack.
pub(crate) struct Walker<'s> {
    stack: &'s Stack,
    reader: Reader,
}

impl Stack {
    pub(crate) fn new() -> Result<Self, AllocError> {
        let (domain, updater) = RcuDomain::new()?;
        // INVARIANT: an empty stack with the updater of its own domain.
        Ok(Self {
            head: AtomicPtr::new(ptr::null_mut()),
            writer: Mutex::new(updater),
            domain,
        })
    }

    pub(crate) fn walker(&self) -> Result<Walker<'_>, AllocError> {
        let reader = self.domain.reader()?;
        Ok(Walker { stack: self, reader })
    }

    pub(crate) fn push(&self, value: u64) {
        let mut updater = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: the lock orders the stores of writers.
        let next = self.head.load(Ordering::Relaxed);
        let birth = updater.birth(size_of::<Node>());
        let node = Box::into_raw(Box::new(Node { value, birth, next }));
        // Release pairs with the Acquire in `Walker::values`: the node is initialised and stamped.
        self.head.store(node, Ordering::Release);
    }

    pub(crate) fn pop(&self) -> Result<Option<u64>, AllocError> {
        let mut updater = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        updater.reserve(1)?; // before anything changes
        let head = self.head.load(Ordering::Relaxed);
        // SAFETY: by the type's invariant; a node in the stack stays, and the lock is held.
        let Some(node) = (unsafe { head.as_ref() }) else {
            return Ok(None);
        };
        let value = node.value;
        let retired = Retired {
            object: head.cast(),
            // SAFETY: called once, when no reader can hold the node; it is from a box.
            free: |node| drop(unsafe { Box::from_raw(node.cast::<Node>()) }),
            birth: node.birth,
            bytes: size_of::<Node>(),
        };
        // Release as in `push`: the node below was stamped before.
        self.head.store(node.next, Ordering::Release);
        // SAFETY: stamped by this updater, and unlinked from the only word that readers load. Any
        // thread may free it.
        let _ = unsafe { updater.retire(retired) }; // cannot fail: reserved
        let due = updater.reap_due();
        drop(updater);
        if due {
            self.domain.reap(); // without the lock
        }
        Ok(Some(value))
    }
}

impl Walker<'_> {
    /// Returns the values of one version of the stack, from the top.
    pub(crate) fn values(&self) -> Vec<u64> {
        // Acquire pairs with the Release in `push` and `pop`.
        let load = || self.stack.head.load(Ordering::Acquire);
        let (_section, mut node) = self.reader.read_lock_at(load);
        let mut values = Vec::new();
        // SAFETY: the section covers the version of the head that it has loaded, with all nodes
        // below.
        while let Some(here) = unsafe { node.as_ref() } {
            values.push(here.value);
            node = here.next;
        }
        values
    }
}

impl Drop for Stack {
    /// Frees what is left; walkers borrow the stack, so none is there.
    fn drop(&mut self) {
        let mut node = *self.head.get_mut();
        while !node.is_null() {
            // SAFETY: by the type's invariant it is from a box, and no reader holds it.
            node = unsafe { Box::from_raw(node) }.next;
        }
    }
}

/// Pushes 1, 2, ... n and pops them, for many n; then marks the end.
fn write(stack: &Stack) -> Result<(), AllocError> {
    for depth in (2..50).cycle().take(10_000) {
        (1..=depth).for_each(|value| stack.push(value));
        for expected in (1..=depth).rev() {
            assert_eq!(stack.pop()?, Some(expected));
        }
    }
    Ok(())
}

pub(crate) fn main() -> Result<(), AllocError> {
    let stack = Stack::new()?;
    let walker = stack.walker()?;
    let walks = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            for walks in 0_u64.. {
                let values = walker.values();
                if values.first() == Some(&END) {
                    return walks;
                }
                // Each value is its depth: a version reads n, n - 1, ... 1, whatever the writer
                // does.
                assert!(values.iter().rev().copied().eq(1..=values.len() as u64));
            }
            0
        });
        let written = write(&stack);
        stack.push(END);
        let walks = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map(|()| walks)
    })?;
    println!("{walks} walks, each over one version; then {:?}", stack.domain.stats());
    Ok(())
}
