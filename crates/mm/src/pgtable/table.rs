//! A page table: its entries, and its descriptor.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use lock_api::RawMutex;

use super::arch::{Arch, ENTRIES, INDEX_BITS, Pte};
use super::counters::LeafCounters;
use super::memory;
use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::primitive::{AtomicBool, AtomicU64, Ordering, own_load};

/// Returns the bytes that one entry of a table of `level` covers. Leaf tables have level 0.
pub(super) const fn span(level: u32) -> u64 {
    1 << (PAGE_SHIFT + level * INDEX_BITS)
}

/// Returns the index of the entry for an address in a table of this level.
pub(super) const fn index(addr: VirtAddr, level: u32) -> usize {
    (addr.0 >> (PAGE_SHIFT + level * INDEX_BITS)) as usize % ENTRIES
}

/// The value of entries of a freed table, in builds that check. No thread may see it.
pub(crate) const POISON: u64 = 0xdead_0000_0000_0dea;

/// The entries of a table, as the hardware reads them.
#[repr(C, align(4096))]
pub(super) struct Entries(pub(super) [AtomicU64; ENTRIES]);

/// The descriptor of a table, next to its entries.
#[doc(alias = "struct ptdesc")]
pub(super) struct Descriptor<L> {
    lock: L,
    /// Whether the table is unlinked, or about to be. Changed under the lock.
    dead: AtomicBool,
    /// Counts of its entries. Stored under the lock.
    counters: AtomicU64,
    /// The era in which the table was taken to be linked.
    pub(super) birth: u64,
    /// The next table of the list that it is in once it is unlinked. Belongs to the thread that
    /// unlinked it.
    pub(super) next: UnsafeCell<Option<NonNull<Entries>>>,
}

impl<L: RawMutex> Descriptor<L> {
    pub(super) fn new(birth: u64) -> Self {
        Self {
            lock: L::INIT,
            dead: AtomicBool::new(false),
            counters: AtomicU64::new(0),
            birth,
            next: UnsafeCell::new(None),
        }
    }
}

/// A table that stays for `'t`.
///
/// # Invariants
/// `table` is from [`memory`], with a descriptor, and is not given back while `'t` lasts.
pub(super) struct Table<'t, L> {
    table: NonNull<Entries>,
    lives: PhantomData<(&'t Entries, &'t Descriptor<L>)>,
}

impl<L> Clone for Table<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Table<'_, L> {}

impl<'t, L: RawMutex> Table<'t, L> {
    /// # Safety
    /// By the type's invariant.
    pub(super) unsafe fn new(table: NonNull<Entries>) -> Self {
        Self {
            table,
            lives: PhantomData,
        }
    }

    /// Returns the table at an address that an entry holds.
    ///
    /// # Safety
    /// As for [`new`](Self::new); the address is from [`addr`](Self::addr) or 0.
    pub(super) unsafe fn at(addr: u64) -> Option<Self> {
        let table = NonNull::new(core::ptr::with_exposed_provenance_mut(addr as usize))?;
        // SAFETY: by this function's contract.
        Some(unsafe { Self::new(table) })
    }

    /// Returns the address, for an entry.
    pub(super) fn addr(self) -> u64 {
        self.table.as_ptr().expose_provenance() as u64
    }

    pub(super) fn as_ptr(self) -> NonNull<Entries> {
        self.table
    }

    pub(super) fn entry(self, index: usize) -> &'t AtomicU64 {
        #[cfg(loom)]
        memory::touch(self.table);
        // SAFETY: by the type's invariant.
        &unsafe { self.table.as_ref() }.0[index]
    }

    pub(super) fn descriptor(self) -> &'t Descriptor<L> {
        #[cfg(loom)]
        memory::touch(self.table);
        // SAFETY: by the type's invariant.
        let descriptor = unsafe { memory::descriptor(self.table) };
        // SAFETY: by the type's invariant it has one.
        unsafe { descriptor.as_ref() }
    }

    /// Returns the table that an entry of an upper table refers to.
    ///
    /// # Safety
    /// That table is not given back while `'t` lasts.
    pub(super) unsafe fn child<A: Arch>(self, index: usize) -> Option<Self> {
        // Acquire pairs with the Release in `Locked::link`: the table and its descriptor are
        // initialised.
        let entry = self.entry(index).load(Ordering::Acquire);
        // SAFETY: by this function's contract; entries of upper tables hold addresses of tables.
        unsafe { Self::at(A::table_addr(entry)) }
    }

    /// Returns a page of a leaf table, as it is at this moment, without the lock.
    pub(super) fn pte<A: Arch>(self, index: usize) -> Option<Pte> {
        // Acquire pairs with the Release in `Locked::set_pte`: the frame's metadata is there.
        let entry = self.entry(index).load(Ordering::Acquire);
        debug_assert!(entry != POISON, "an entry of a table that has been freed");
        A::pte(entry)
    }

    /// Returns the counters of this moment.
    pub(super) fn counters(self) -> LeafCounters {
        // Acquire pairs with the Release in `set_counters`: a reader that sees pages gone, and then
        // finds their mapping live, has seen them go from that mapping.
        LeafCounters::from_bits(self.descriptor().counters.load(Ordering::Acquire))
    }

    /// Takes its lock.
    pub(super) fn lock(self) -> Locked<'t, L> {
        self.descriptor().lock.lock();
        Locked(self)
    }
}

/// A table whose lock is held. Its entries, its counters and `dead` change only under the lock.
pub(super) struct Locked<'t, L: RawMutex>(Table<'t, L>);

impl<'t, L: RawMutex> Deref for Locked<'t, L> {
    type Target = Table<'t, L>;

    fn deref(&self) -> &Table<'t, L> {
        &self.0
    }
}

impl<L: RawMutex> Locked<'_, L> {
    /// Returns whether the table is unlinked, or about to be: then nothing may be put into it.
    pub(super) fn is_dead(&self) -> bool {
        // Relaxed: under the lock.
        self.descriptor().dead.load(Ordering::Relaxed)
    }

    pub(super) fn set_dead(&mut self) {
        // Relaxed: under the lock.
        self.descriptor().dead.store(true, Ordering::Relaxed);
    }

    /// Returns the page of an entry, which no other thread changes.
    pub(super) fn pte<A: Arch>(&self, index: usize) -> Option<Pte> {
        let entry = own_load(self.entry(index));
        debug_assert!(entry != POISON, "an entry of a table that has been freed");
        A::pte(entry)
    }

    /// Returns the counters, which no other thread changes.
    pub(super) fn counters(&self) -> LeafCounters {
        LeafCounters::from_bits(own_load(&self.descriptor().counters))
    }

    fn set_counters(&mut self, counters: LeafCounters) {
        // Release pairs with the Acquire in `counters`.
        self.descriptor().counters.store(counters.bits(), Ordering::Release);
    }

    /// Replaces an entry of a leaf table.
    pub(super) fn set_pte<A: Arch>(&mut self, index: usize, old: Option<Pte>, new: Option<Pte>) {
        let (of_old, of_new) = (LeafCounters::of(old), LeafCounters::of(new));
        if of_old != of_new {
            self.set_counters(self.counters().replaced(of_old, of_new));
        }
        // Release pairs with the Acquire in `Table::pte`.
        self.entry(index).store(new.map_or(0, A::page), Ordering::Release);
    }

    /// Notes that a page of the table may be in another table too.
    pub(super) fn set_may_share(&mut self) {
        self.set_counters(self.counters().shared());
    }

    /// Links a table into an entry of an upper table, which is empty.
    pub(super) fn link<A: Arch>(&mut self, index: usize, child: Table<'_, L>) {
        // Release pairs with the Acquire in `Table::child`.
        self.entry(index).store(A::table(child.addr()), Ordering::Release);
        self.set_counters(LeafCounters::from_bits(self.counters().bits() + 1));
    }

    /// Takes a table out of an entry of an upper table.
    pub(super) fn unlink(&mut self, index: usize) {
        // Release pairs with the Acquire in `Table::child`: a thread that finds nothing finds what
        // the unlinker did before.
        self.entry(index).store(0, Ordering::Release);
        self.set_counters(LeafCounters::from_bits(self.counters().bits() - 1));
    }
}

impl<L: RawMutex> Drop for Locked<'_, L> {
    fn drop(&mut self) {
        // SAFETY: this value holds it.
        unsafe { self.descriptor().lock.unlock() };
    }
}
