//! Threads that stop at a chosen point until they are released, and locks that count their waiters.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use lock_api::{GuardSend, RawMutex, RawRwLock};
use vmaple_mm::pgtable::{Arch, PageFlags, Pte, Ram, X86_64};
use vmaple_mm::store::Call;
use vmaple_mm::{
    Access, Kref, MmState, RwSem, SnapshotStore, Soft, VirtAddr, VirtRange, VmFlags, Vma, VmaRead, VmaStore,
};
use vmaple_rcu::AllocError;

/// Where a thread may stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    /// A section has begun.
    Begin,
    /// A VMA is about to be looked up.
    Find,
    /// The next VMA was reached.
    Next,
    /// The writers' lock was taken.
    Locked,
    /// An entry of an upper page table was loaded.
    Table,
    /// An entry of a leaf table was loaded.
    Page,
    /// The lock of a page table was taken.
    TableLocked,
}

/// The place where a stopping thread meets another, which releases it.
pub struct Gate {
    stopped: Barrier,
    go: Barrier,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stopped: Barrier::new(2),
            go: Barrier::new(2),
        })
    }

    /// Stops until another thread calls `go`.
    pub fn stop(&self) {
        self.stopped.wait();
        self.go.wait();
    }

    /// Waits until a thread has stopped.
    pub fn wait(&self) {
        self.stopped.wait();
    }

    /// Releases the thread that has stopped.
    pub fn go(&self) {
        self.go.wait();
    }
}

thread_local! {
    static STOP: Cell<Option<(Point, u64, Arc<Gate>)>> = const { Cell::new(None) };
}

/// Makes this thread stop at a point, after it has passed `after` of its kind.
pub fn stop_at(point: Point, after: u64, gate: &Arc<Gate>) {
    STOP.set(Some((point, after, Arc::clone(gate))));
}

/// Cancels the stop of this thread; returns whether it was still to come.
pub fn never_stopped() -> bool {
    STOP.take().is_some()
}

fn reached(point: Point) {
    match STOP.take() {
        Some((wanted, 0, gate)) if wanted == point => gate.stop(),
        Some((wanted, left, gate)) if wanted == point => STOP.set(Some((wanted, left - 1, gate))),
        other => STOP.set(other),
    }
}

fn begun<V>(section: V) -> StoppingSection<V> {
    SECTIONS.set(SECTIONS.get() + 1);
    let section = StoppingSection(section);
    reached(Point::Begin);
    section
}

/// A store whose readers may stop at each access.
pub struct Stopping<S>(pub S);

pub struct StoppingSection<V>(V);

impl<V: VmaRead> VmaRead for StoppingSection<V> {
    fn find(&self, addr: VirtAddr) -> Option<&Vma> {
        reached(Point::Find);
        self.0.find(addr)
    }

    fn find_prev(&self, addr: VirtAddr) -> Option<&Vma> {
        reached(Point::Find);
        self.0.find_prev(addr)
    }

    fn iter_from(&self, addr: VirtAddr) -> impl Iterator<Item = &Vma> {
        reached(Point::Find);
        self.0.iter_from(addr).inspect(|_| reached(Point::Next))
    }
}

impl<S: VmaStore> vmaple_mm::store::Sealed for Stopping<S> {}

impl<S: VmaStore> VmaStore for Stopping<S> {
    type Reader<'s> = S::Reader<'s>;
    type Section<'r> = StoppingSection<S::Section<'r>>;
    type Write<'s> = S::Write<'s>;

    fn new(state: MmState) -> Result<Self, AllocError> {
        S::new(state).map(Self)
    }

    fn reader(&self) -> Result<Self::Reader<'_>, AllocError> {
        self.0.reader()
    }

    fn read_lock<'r>(reader: &'r Self::Reader<'_>) -> Self::Section<'r> {
        begun(S::read_lock(reader))
    }

    fn mmap_read_lock<'r>(reader: &'r Self::Reader<'_>) -> Self::Section<'r> {
        begun(S::mmap_read_lock(reader))
    }

    fn renew<'r>(reader: &'r Self::Reader<'_>, section: Self::Section<'r>) -> Self::Section<'r> {
        begun(S::renew(reader, section.0))
    }

    fn write(&self, vmas: usize, call: &Call) -> Result<Self::Write<'_>, AllocError> {
        self.0.write(vmas, call)
    }

    fn trim(&self, call: &Call) {
        self.0.trim(call);
    }
}

impl<S: SnapshotStore> SnapshotStore for Stopping<S> {
    type Snapshot = S::Snapshot;

    fn snapshot(&self, call: &Call) -> Result<Self::Snapshot, AllocError> {
        self.0.snapshot(call)
    }
}

/// Page tables whose readers may stop at each access.
pub struct StoppingArch;

// SAFETY: everything is delegated to an implementation that keeps the contract.
unsafe impl Arch for StoppingArch {
    const NAME: &'static str = X86_64::<4>::NAME;
    const LEVELS: u32 = X86_64::<4>::LEVELS;
    const TASK_SIZE: VirtAddr = X86_64::<4>::TASK_SIZE;
    const LOW: Option<VirtRange> = X86_64::<4>::LOW;
    const FETCHES_AS_READ: bool = X86_64::<4>::FETCHES_AS_READ;

    fn table(addr: u64) -> u64 {
        X86_64::<4>::table(addr)
    }

    fn table_addr(entry: u64) -> u64 {
        reached(Point::Table);
        X86_64::<4>::table_addr(entry)
    }

    fn page(pte: Pte) -> u64 {
        X86_64::<4>::page(pte)
    }

    fn pte(entry: u64) -> Option<Pte> {
        LOOKS.set(LOOKS.get() + 1);
        reached(Point::Page);
        X86_64::<4>::pte(entry)
    }

    fn protection(flags: VmFlags) -> PageFlags {
        X86_64::<4>::protection(flags)
    }

    fn permits(flags: VmFlags, access: Access) -> bool {
        X86_64::<4>::permits(flags, access)
    }
}

thread_local! {
    /// Entries of leaf tables that this thread has loaded.
    pub static LOOKS: Cell<u64> = const { Cell::new(0) };
    /// Sections that this thread has begun.
    pub static SECTIONS: Cell<u64> = const { Cell::new(0) };
}

/// A machine whose page tables stop readers, and whose locks count their waiters.
pub type StoppingMachine = Soft<StoppingArch, Kref<Ram>, (), TableLock>;

pub fn machine() -> StoppingMachine {
    Soft::new(Ram::new(64 << 20).unwrap())
}

/// A writers' lock; [`MUTEX_WAITS`] counts the threads that find it taken.
pub struct Mutex(parking_lot::RawMutex);

/// A page table's lock; [`TABLE_WAITS`] counts the threads that find it taken.
pub struct TableLock(parking_lot::RawMutex);

/// A semaphore of readers and writers; [`RWLOCK_WAITS`] counts the threads that must wait.
pub struct RwLock(RwSem);

pub static MUTEX_WAITS: AtomicUsize = AtomicUsize::new(0);
pub static RWLOCK_WAITS: AtomicUsize = AtomicUsize::new(0);
pub static TABLE_WAITS: AtomicUsize = AtomicUsize::new(0);

/// Takes a lock at once, or counts and waits.
fn take(waits: &AtomicUsize, try_lock: impl FnOnce() -> bool, lock: impl FnOnce()) {
    if !try_lock() {
        waits.fetch_add(1, Ordering::SeqCst);
        lock();
    }
}

// SAFETY: the inner lock is one.
unsafe impl RawMutex for Mutex {
    const INIT: Self = Self(parking_lot::RawMutex::INIT);
    type GuardMarker = GuardSend;

    fn lock(&self) {
        take(&MUTEX_WAITS, || self.0.try_lock(), || self.0.lock());
        reached(Point::Locked);
    }

    fn try_lock(&self) -> bool {
        self.0.try_lock()
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller's contract.
        unsafe { self.0.unlock() }
    }
}

// SAFETY: the inner lock is one.
unsafe impl RawMutex for TableLock {
    const INIT: Self = Self(parking_lot::RawMutex::INIT);
    type GuardMarker = GuardSend;

    fn lock(&self) {
        take(&TABLE_WAITS, || self.0.try_lock(), || self.0.lock());
        reached(Point::TableLocked);
    }

    fn try_lock(&self) -> bool {
        self.0.try_lock()
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller's contract.
        unsafe { self.0.unlock() }
    }
}

// SAFETY: the inner lock is one.
unsafe impl RawRwLock for RwLock {
    const INIT: Self = Self(RwSem::INIT);
    type GuardMarker = GuardSend;

    fn lock_shared(&self) {
        take(&RWLOCK_WAITS, || self.0.try_lock_shared(), || self.0.lock_shared());
    }

    fn try_lock_shared(&self) -> bool {
        self.0.try_lock_shared()
    }

    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's contract.
        unsafe { self.0.unlock_shared() }
    }

    fn lock_exclusive(&self) {
        take(
            &RWLOCK_WAITS,
            || self.0.try_lock_exclusive(),
            || self.0.lock_exclusive(),
        );
        reached(Point::Locked);
    }

    fn try_lock_exclusive(&self) -> bool {
        self.0.try_lock_exclusive()
    }

    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's contract.
        unsafe { self.0.unlock_exclusive() }
    }
}
