//! The memory of page tables, recycled: a fault takes it, a zap retires it, and the reaper gives it
//! back when no section can hold it any more.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use lock_api::{Mutex, RawMutex};
use vmaple_rcu::{AllocError, RcuDomain, Reader, Retired, Updater};

use super::table::{Descriptor, Entries, Table};

/// Free tables.
#[cfg(not(loom))]
mod free {
    use core::ptr::{self, NonNull};
    use core::sync::atomic::{AtomicPtr, Ordering};

    use vmaple_rcu::pool::{Chunk, Pool, Pooled};

    use super::super::table::{Descriptor, Entries, POISON};

    /// Bytes for a descriptor next to each table: a cache line.
    const BESIDE: usize = 64;

    // SAFETY: zeros are entries; the link is the first entry, which no thread writes while the
    // table is free.
    unsafe impl Pooled for Entries {
        const CHUNK: usize = 64 << 10;
        const BESIDE: usize = BESIDE;

        fn link(&self) -> *mut Self {
            first(self).load(Ordering::Relaxed)
        }

        fn set_link(&self, next: *mut Self) {
            first(self).store(next, Ordering::Relaxed);
        }
    }

    /// Returns the first entry as a link. Relaxed is enough for it: the table has one owner.
    fn first(entries: &Entries) -> &AtomicPtr<Entries> {
        const { assert!(size_of::<*mut ()>() == size_of::<u64>()) };
        // SAFETY: both are words of the same size, of which any bits are a value.
        unsafe { &*ptr::from_ref(&entries.0[0]).cast() }
    }

    pub(super) type Fresh = Chunk<Entries>;
    pub(super) type Free = Pool<Entries>;

    /// # Safety
    /// `table` is from a pool, and has not been given back.
    pub(in super::super) unsafe fn descriptor<L>(table: NonNull<Entries>) -> NonNull<Descriptor<L>> {
        const { assert!(size_of::<Descriptor<L>>() <= BESIDE && align_of::<Descriptor<L>>() <= 8) };
        // SAFETY: by this function's contract.
        unsafe { Pool::beside(table) }.cast()
    }

    /// Empties a table that no other thread knows of.
    ///
    /// # Safety
    /// As for [`descriptor`].
    pub(super) unsafe fn clear(table: NonNull<Entries>) {
        // SAFETY: by this function's contract; zeros are entries.
        unsafe { table.write_bytes(0, 1) };
    }

    /// Gives a retired table back.
    ///
    /// # Safety
    /// As for [`descriptor`]; once.
    pub(super) unsafe fn give_back(table: *mut ()) {
        let table = table.cast::<Entries>();
        if cfg!(debug_assertions) {
            // SAFETY: by this function's contract no section holds it any more.
            let entries = unsafe { &*table };
            entries
                .0
                .iter()
                .for_each(|entry| entry.store(POISON, Ordering::Relaxed));
        }
        // SAFETY: by this function's contract.
        unsafe { Pool::give_back(table) };
    }
}

/// The same for loom. Freed tables are poisoned and stay where they are, so that a use after free
/// is found instead of undefined.
#[cfg(loom)]
mod free {
    use core::ptr::NonNull;

    use loom::cell::UnsafeCell;
    use vmaple_rcu::AllocError;

    use super::super::table::{Descriptor, Entries, POISON};
    use crate::primitive::{AtomicU64, Ordering};

    #[repr(C)]
    struct Place {
        entries: core::mem::MaybeUninit<Entries>,
        descriptor: [u64; 512],
        /// Whether the table has been given back; loom is told of every access.
        freed: UnsafeCell<bool>,
    }

    /// Checks an access: the table has not been given back, and is not meanwhile.
    pub(in super::super) fn touch(table: NonNull<Entries>) {
        // SAFETY: tables are in places, which are freed last.
        let place = unsafe { table.cast::<Place>().as_ref() };
        // SAFETY: loom checks that no thread writes.
        place
            .freed
            .with(|freed| assert!(!unsafe { *freed }, "a table that has been freed"));
    }

    pub(super) struct Fresh(NonNull<Place>);

    impl Fresh {
        pub(super) fn new() -> Result<Self, AllocError> {
            let place = Box::new(Place {
                entries: core::mem::MaybeUninit::uninit(),
                descriptor: [0; 512],
                freed: UnsafeCell::new(false),
            });
            Ok(Self(NonNull::from(Box::leak(place))))
        }
    }

    /// The free ones, and all places. Dropped, it frees the places.
    pub(super) struct Free(Vec<NonNull<Entries>>, Vec<NonNull<Place>>);

    // SAFETY: the tables are free.
    unsafe impl Send for Free {}

    impl Free {
        pub(super) fn new() -> Result<Self, AllocError> {
            Ok(Self(Vec::new(), Vec::new()))
        }

        pub(super) fn add(&mut self, fresh: Fresh) {
            self.0.push(fresh.0.cast());
            self.1.push(fresh.0);
        }

        pub(super) fn take(&mut self) -> Option<NonNull<Entries>> {
            self.0.pop()
        }

        pub(super) unsafe fn put(&mut self, table: *mut Entries) {
            self.0.extend(NonNull::new(table));
        }

        pub(super) fn trim(&mut self) {}
    }

    impl Drop for Free {
        fn drop(&mut self) {
            for place in self.1.drain(..) {
                // SAFETY: from `Fresh`, and the updater, which is dropped before, was the last to
                // refer to tables.
                drop(unsafe { Box::from_raw(place.as_ptr()) });
            }
        }
    }

    pub(in super::super) unsafe fn descriptor<L>(table: NonNull<Entries>) -> NonNull<Descriptor<L>> {
        // SAFETY: tables are in places.
        unsafe { table.cast::<u8>().add(core::mem::offset_of!(Place, descriptor)) }.cast()
    }

    pub(super) unsafe fn clear(table: NonNull<Entries>) {
        // SAFETY: no other thread knows of it.
        unsafe { table.write(Entries(core::array::from_fn(|_| AtomicU64::new(0)))) };
    }

    pub(super) unsafe fn give_back(table: *mut ()) {
        // SAFETY: tables are in places, which are freed last.
        let place = unsafe { &*table.cast::<Place>() };
        // SAFETY: loom checks that no other thread accesses it.
        place.freed.with_mut(|freed| unsafe { *freed = true });
        // SAFETY: it was cleared when it was taken.
        let entries = unsafe { place.entries.assume_init_ref() };
        entries
            .0
            .iter()
            .for_each(|entry| entry.store(POISON, Ordering::Relaxed));
    }
}

pub(super) use free::descriptor;
#[cfg(loom)]
pub(super) use free::touch;
use free::{Free, Fresh};

/// Unlinked tables, linked through their descriptors: the list needs no memory.
///
/// # Invariants
/// Every table in it is from [`Memory::take`], with a descriptor of this `L`, and in no other list.
pub(super) struct TableList<L> {
    first: Option<NonNull<Entries>>,
    locks: core::marker::PhantomData<L>,
}

// SAFETY: the tables are this list's.
unsafe impl<L: Send> Send for TableList<L> {}

impl<L: RawMutex> TableList<L> {
    pub(super) const fn new() -> Self {
        Self {
            first: None,
            locks: core::marker::PhantomData,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds a table that the caller has unlinked.
    pub(super) fn push(&mut self, table: Table<'_, L>) {
        // SAFETY: the field belongs to the thread that unlinked the table.
        unsafe { *table.descriptor().next.get() = self.first };
        self.first = Some(table.as_ptr());
    }

    /// Takes one table out. It stays until it is retired.
    pub(super) fn pop<'t>(&mut self) -> Option<Table<'t, L>> {
        let first = self.first?;
        // SAFETY: by the type's invariant it has not been retired, so it is there.
        let table = unsafe { Table::new(first) };
        // SAFETY: the field is this list's.
        self.first = unsafe { *table.descriptor().next.get() };
        Some(table)
    }

    /// Iterates over the tables.
    pub(super) fn iter(&self) -> impl Iterator<Item = Table<'_, L>> {
        let mut next = self.first;
        core::iter::from_fn(move || {
            // SAFETY: as in `pop`.
            let table = unsafe { Table::new(next?) };
            // SAFETY: as in `pop`.
            next = unsafe { *table.descriptor().next.get() };
            Some(table)
        })
    }
}

/// Tables that are retired under one hold of the lock, at most.
const RETIRED_AT_ONCE: usize = 63;

/// The part of the memory that its lock protects.
struct Stock<L> {
    updater: Updater,
    free: Free,
    /// Unlinked tables that are not retired yet, as there was no memory for the note.
    overdue: TableList<L>,
}

/// The allocator of tables.
///
/// One lock orders births, retirements and the era. It comes after every lock of a table, and is
/// held for a few stores. Memory is allocated without it, except for the notes of what is retired:
/// 63 to a block, and blocks are recycled too.
pub(super) struct Memory<L: RawMutex> {
    domain: RcuDomain,
    stock: Mutex<L, Stock<L>>,
    /// Number of linked tables.
    linked: AtomicUsize,
}

impl<L: RawMutex> Memory<L> {
    pub(super) fn new() -> Result<Self, AllocError> {
        let (domain, updater) = RcuDomain::new()?;
        let stock = Stock {
            updater,
            free: Free::new()?,
            overdue: TableList::new(),
        };
        Ok(Self {
            domain,
            stock: Mutex::new(stock),
            linked: AtomicUsize::new(0),
        })
    }

    pub(super) fn domain(&self) -> &RcuDomain {
        &self.domain
    }

    pub(super) fn reader(&self) -> Result<Reader, AllocError> {
        self.domain.reader()
    }

    /// Returns the number of linked tables, as of a moment ago.
    pub(super) fn linked(&self) -> usize {
        // Relaxed: a count.
        self.linked.load(Ordering::Relaxed)
    }

    /// Takes an empty table, to be linked.
    pub(super) fn take<'t>(&self) -> Result<Table<'t, L>, AllocError> {
        let (table, birth) = loop {
            let mut stock = self.stock.lock();
            if let Some(table) = stock.free.take() {
                // The birth may be before the link: a section that finds the table has an era that
                // is not older.
                let birth = stock.updater.birth(size_of::<Entries>());
                break (table, birth);
            }
            drop(stock);
            let fresh = Fresh::new()?;
            self.stock.lock().free.add(fresh);
        };
        // SAFETY: the pool gave it away.
        unsafe { free::clear(table) };
        // SAFETY: as above.
        let descriptor = unsafe { descriptor::<L>(table) };
        // SAFETY: as above; there is room for it.
        unsafe { descriptor.write(Descriptor::new(birth)) };
        // Relaxed: a count.
        self.linked.fetch_add(1, Ordering::Relaxed);
        // SAFETY: it has a descriptor, and is the caller's.
        Ok(unsafe { Table::new(table) })
    }

    /// Takes back a table that was not linked.
    pub(super) fn put(&self, table: Table<'_, L>) {
        // Relaxed: a count.
        self.linked.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: it is from `take`, and was not linked, so no other thread knows of it.
        unsafe { self.stock.lock().free.put(table.as_ptr().as_ptr()) };
    }

    /// Retires unlinked tables that no entry holds any more which a section may still load (rule
    /// C). Cannot fail.
    ///
    /// Frees some of what was retired before, if it is time.
    pub(super) fn retire(&self, mut tables: TableList<L>) {
        loop {
            let due = self.retire_some(&mut tables);
            if due {
                self.domain.reap();
            }
            if tables.is_empty() {
                return;
            }
        }
    }

    /// Retires some of them, as others wait meanwhile. Returns whether it is time to free.
    fn retire_some(&self, tables: &mut TableList<L>) -> bool {
        let mut stock = self.stock.lock();
        for _ in 0..RETIRED_AT_ONCE {
            let Some(table) = stock.overdue.pop().or_else(|| tables.pop()) else {
                break;
            };
            let retired = Retired {
                object: table.as_ptr().as_ptr().cast(),
                free: free::give_back,
                birth: table.descriptor().birth,
                bytes: size_of::<Entries>(),
            };
            // SAFETY: by this function's contract; `give_back` may be called in any thread.
            if unsafe { stock.updater.retire(retired) }.is_err() {
                stock.overdue.push(table);
                while let Some(table) = tables.pop() {
                    stock.overdue.push(table);
                }
                break;
            }
            // Relaxed: a count.
            self.linked.fetch_sub(1, Ordering::Relaxed);
        }
        stock.updater.reap_due()
    }

    /// Frees what no section holds, and gives unused memory back.
    pub(super) fn trim(&self) {
        self.retire(TableList::new());
        self.stock.lock().updater.flush();
        while self.domain.reap() {}
        self.stock.lock().free.trim();
    }
}

impl<L: RawMutex> fmt::Debug for Memory<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("linked", &self.linked())
            .finish_non_exhaustive()
    }
}
