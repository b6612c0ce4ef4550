//! Each scheme of deferred freeing behind one interface.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use vmaple_rcu::{Fences, RcuBox, RcuDomain, RcuPtr, Reader, Updater};

/// 240 bytes, 256 with a scheme's own words.
pub type Object = [u64; 30];

pub trait Peer: Sync {
    const NAME: &'static str;
    type Reader<'p>
    where
        Self: 'p;
    type Writer<'p>
    where
        Self: 'p;
    fn new() -> Self;
    fn reader(&self) -> Self::Reader<'_>;
    fn writer(&self) -> Self::Writer<'_>;
    fn read(reader: &Self::Reader<'_>, n: u32) -> u64;
    fn nested(reader: &Self::Reader<'_>, n: u32) -> u64;
    fn replace(writer: &mut Self::Writer<'_>, n: u32);
    /// Enters, loads, does `work`, leaves; returns how long leaving took.
    fn freeze(reader: &Self::Reader<'_>, work: impl FnOnce()) -> Duration;
    /// Frees what can be freed.
    fn settle(_writer: &mut Self::Writer<'_>) {}
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// No protection, freed at once: the cost of the work itself.
pub struct Nothing(AtomicPtr<Object>);

impl Peer for Nothing {
    const NAME: &'static str = "(no protection, freed at once)";
    type Reader<'p> = &'p Self;
    type Writer<'p> = &'p Self;

    fn new() -> Self {
        Self(AtomicPtr::new(Box::into_raw(Box::new([7; 30]))))
    }

    fn reader(&self) -> &Self {
        self
    }

    fn writer(&self) -> &Self {
        self
    }

    fn read(reader: &&Self, n: u32) -> u64 {
        // SAFETY: the object is never freed; see `replace`.
        (0..n)
            .map(|_| unsafe { (&raw const (*reader.0.load(Ordering::Acquire))[0]).read_volatile() })
            .sum()
    }

    fn nested(reader: &&Self, n: u32) -> u64 {
        Self::read(reader, n)
    }

    fn replace(writer: &mut &Self, n: u32) {
        for _ in 0..n {
            // The object stays the same, so that a concurrent reader is safe; another one is
            // allocated and freed.
            drop(std::hint::black_box(Box::<Object>::new([7; 30])));
            let same = writer.0.load(Ordering::Relaxed);
            writer.0.swap(same, Ordering::AcqRel);
        }
    }

    fn freeze(_: &&Self, work: impl FnOnce()) -> Duration {
        work();
        Duration::ZERO
    }
}

fn ours(fences: Fences) -> (RcuDomain, RcuPtr<Object>, std::sync::Mutex<Option<Updater>>) {
    let (domain, mut updater) = RcuDomain::with_fences(fences).expect("memory");
    let ptr = RcuPtr::null(&domain);
    ours_replace(&ptr, &mut updater, 1);
    (domain, ptr, std::sync::Mutex::new(Some(updater)))
}

fn ours_replace(ptr: &RcuPtr<Object>, updater: &mut Updater, n: u32) {
    for _ in 0..n {
        let new = RcuBox::new([7; 30]).expect("memory");
        assert!(ptr.assign(updater, Some(new)).is_ok());
        if updater.reap_due() {
            updater.reap();
        }
    }
}

pub struct Ours(RcuDomain, RcuPtr<Object>, std::sync::Mutex<Option<Updater>>);
pub struct OursSymmetric(Ours);

impl Peer for Ours {
    const NAME: &'static str = "vmaple-rcu (membarrier)";
    type Reader<'p> = (&'p Self, Reader);
    type Writer<'p> = (&'p Self, Updater);

    fn new() -> Self {
        let (domain, ptr, updater) = ours(Fences::cheapest_for_readers());
        Self(domain, ptr, updater)
    }

    fn reader(&self) -> (&Self, Reader) {
        (self, self.0.reader().expect("memory"))
    }

    fn writer(&self) -> (&Self, Updater) {
        (self, self.2.lock().expect("one writer").take().expect("one writer"))
    }

    fn read((this, reader): &Self::Reader<'_>, n: u32) -> u64 {
        let mut sum = 0_u64;
        for _ in 0..n {
            let guard = reader.read_lock();
            let object = this.1.dereference(&guard).expect("never null");
            // SAFETY: a reference; volatile so that each round loads.
            sum = sum.wrapping_add(unsafe { (&raw const object[0]).read_volatile() });
        }
        sum
    }

    fn nested(this: &Self::Reader<'_>, n: u32) -> u64 {
        let _outer = this.1.read_lock();
        Self::read(this, n)
    }

    fn replace((this, updater): &mut Self::Writer<'_>, n: u32) {
        ours_replace(&this.1, updater, n);
    }

    fn freeze((this, reader): &Self::Reader<'_>, work: impl FnOnce()) -> Duration {
        let guard = reader.read_lock();
        this.1.dereference(&guard);
        work();
        timed(|| drop(guard))
    }

    fn settle((_, updater): &mut Self::Writer<'_>) {
        updater.rcu_barrier();
    }
}

impl Peer for OursSymmetric {
    const NAME: &'static str = "vmaple-rcu (symmetric fences)";
    type Reader<'p> = (&'p Ours, Reader);
    type Writer<'p> = (&'p Ours, Updater);

    fn new() -> Self {
        let (domain, ptr, updater) = ours(Fences::Symmetric);
        Self(Ours(domain, ptr, updater))
    }

    fn reader(&self) -> (&Ours, Reader) {
        self.0.reader()
    }

    fn writer(&self) -> (&Ours, Updater) {
        self.0.writer()
    }

    fn read(reader: &Self::Reader<'_>, n: u32) -> u64 {
        Ours::read(reader, n)
    }

    fn nested(reader: &Self::Reader<'_>, n: u32) -> u64 {
        Ours::nested(reader, n)
    }

    fn replace(writer: &mut Self::Writer<'_>, n: u32) {
        Ours::replace(writer, n);
    }

    fn freeze(reader: &Self::Reader<'_>, work: impl FnOnce()) -> Duration {
        Ours::freeze(reader, work)
    }

    fn settle(writer: &mut Self::Writer<'_>) {
        Ours::settle(writer);
    }
}

#[repr(C)]
struct Node {
    retired: kovan::RetiredNode,
    words: [u64; 26],
}

fn node() -> *mut Node {
    Box::into_raw(Box::new(Node {
        retired: kovan::RetiredNode::new(),
        words: [7; 26],
    }))
}

pub struct Kovan(kovan::Atomic<Node>);

// SAFETY: an atomic pointer to plain words.
unsafe impl Sync for Kovan {}

impl Peer for Kovan {
    const NAME: &'static str = "kovan 0.2.0";
    type Reader<'p> = &'p Self;
    type Writer<'p> = &'p Self;

    fn new() -> Self {
        Self(kovan::Atomic::new(node()))
    }

    fn reader(&self) -> &Self {
        self
    }

    fn writer(&self) -> &Self {
        self
    }

    fn read(reader: &&Self, n: u32) -> u64 {
        let mut sum = 0_u64;
        for _ in 0..n {
            let guard = kovan::pin();
            let object = reader.0.load(Ordering::Acquire, &guard);
            // SAFETY: never null, and the guard protects it.
            sum = sum.wrapping_add(unsafe { (&raw const object.deref().words[0]).read_volatile() });
        }
        sum
    }

    fn nested(reader: &&Self, n: u32) -> u64 {
        let _outer = kovan::pin();
        Self::read(reader, n)
    }

    fn replace(writer: &mut &Self, n: u32) {
        for _ in 0..n {
            let guard = kovan::pin();
            // SAFETY: a fresh node.
            let new = unsafe { kovan::Shared::from_raw(node()) };
            let old = writer.0.swap(new, Ordering::AcqRel, &guard);
            // SAFETY: unlinked by the swap, retired once.
            unsafe { kovan::retire(old.as_raw()) };
        }
    }

    fn freeze(reader: &&Self, work: impl FnOnce()) -> Duration {
        let guard = kovan::pin();
        let _object = reader.0.load(Ordering::Acquire, &guard);
        work();
        timed(|| drop(guard))
    }

    fn settle(_: &mut &Self) {
        kovan::flush();
    }
}

pub struct Crossbeam(crossbeam_epoch::Collector, crossbeam_epoch::Atomic<Object>);

impl Peer for Crossbeam {
    const NAME: &'static str = "crossbeam-epoch 0.9 (own collector)";
    type Reader<'p> = (&'p Self, crossbeam_epoch::LocalHandle);
    type Writer<'p> = (&'p Self, crossbeam_epoch::LocalHandle);

    fn new() -> Self {
        Self(crossbeam_epoch::Collector::new(), crossbeam_epoch::Atomic::new([7; 30]))
    }

    fn reader(&self) -> Self::Reader<'_> {
        (self, self.0.register())
    }

    fn writer(&self) -> Self::Writer<'_> {
        (self, self.0.register())
    }

    fn read((this, handle): &Self::Reader<'_>, n: u32) -> u64 {
        let mut sum = 0_u64;
        for _ in 0..n {
            let guard = handle.pin();
            let object = this.1.load(Ordering::Acquire, &guard);
            // SAFETY: never null, and the guard protects it.
            sum = sum.wrapping_add(unsafe { (&raw const object.deref()[0]).read_volatile() });
        }
        sum
    }

    fn nested(reader: &Self::Reader<'_>, n: u32) -> u64 {
        let _outer = reader.1.pin();
        Self::read(reader, n)
    }

    fn replace((this, handle): &mut Self::Writer<'_>, n: u32) {
        for _ in 0..n {
            let guard = handle.pin();
            let old = this
                .1
                .swap(crossbeam_epoch::Owned::new([7; 30]), Ordering::AcqRel, &guard);
            // SAFETY: unlinked by the swap, retired once.
            unsafe { guard.defer_destroy(old) };
        }
    }

    fn freeze((this, handle): &Self::Reader<'_>, work: impl FnOnce()) -> Duration {
        let guard = handle.pin();
        let _object = this.1.load(Ordering::Acquire, &guard);
        work();
        timed(|| drop(guard))
    }

    fn settle((_, handle): &mut Self::Writer<'_>) {
        for _ in 0..10_000 {
            handle.pin().flush();
        }
    }
}

pub struct Seize(seize::Collector, AtomicPtr<Object>);

impl Peer for Seize {
    const NAME: &'static str = "seize 0.5";
    type Reader<'p> = &'p Self;
    type Writer<'p> = &'p Self;

    fn new() -> Self {
        Self(
            seize::Collector::new(),
            AtomicPtr::new(Box::into_raw(Box::new([7; 30]))),
        )
    }

    fn reader(&self) -> &Self {
        self
    }

    fn writer(&self) -> &Self {
        self
    }

    fn read(reader: &&Self, n: u32) -> u64 {
        use seize::Guard;
        let mut sum = 0_u64;
        for _ in 0..n {
            let guard = reader.0.enter();
            let object = guard.protect(&reader.1, Ordering::Acquire);
            // SAFETY: never null, and the guard protects it.
            sum = sum.wrapping_add(unsafe { (&raw const (*object)[0]).read_volatile() });
        }
        sum
    }

    fn nested(reader: &&Self, n: u32) -> u64 {
        let _outer = reader.0.enter();
        Self::read(reader, n)
    }

    fn replace(writer: &mut &Self, n: u32) {
        use seize::Guard;
        for _ in 0..n {
            let guard = writer.0.enter();
            let old = guard.swap(&writer.1, Box::into_raw(Box::new([7; 30])), Ordering::AcqRel);
            // SAFETY: unlinked by the swap, retired once.
            unsafe { guard.defer_retire(old, seize::reclaim::boxed) };
        }
    }

    fn freeze(reader: &&Self, work: impl FnOnce()) -> Duration {
        use seize::Guard;
        let guard = reader.0.enter();
        let _object = guard.protect(&reader.1, Ordering::Acquire);
        work();
        timed(|| drop(guard))
    }

    fn settle(writer: &mut &Self) {
        use seize::Guard;
        writer.0.enter().flush();
    }
}

pub struct Haphazard(haphazard::AtomicPtr<Object>);

impl Peer for Haphazard {
    const NAME: &'static str = "haphazard 0.1";
    type Reader<'p> = (&'p Self, std::cell::RefCell<haphazard::HazardPointer<'static>>);
    type Writer<'p> = &'p Self;

    fn new() -> Self {
        Self(haphazard::AtomicPtr::from(Box::new([7; 30])))
    }

    fn reader(&self) -> Self::Reader<'_> {
        (self, std::cell::RefCell::new(haphazard::HazardPointer::new()))
    }

    fn writer(&self) -> &Self {
        self
    }

    fn read((this, hazard): &Self::Reader<'_>, n: u32) -> u64 {
        let mut hazard = hazard.borrow_mut();
        let mut sum = 0_u64;
        for _ in 0..n {
            let object = this.0.safe_load(&mut hazard).expect("never null");
            // SAFETY: a reference; volatile so that each round loads.
            sum = sum.wrapping_add(unsafe { (&raw const object[0]).read_volatile() });
            hazard.reset_protection();
        }
        sum
    }

    fn nested(reader: &Self::Reader<'_>, n: u32) -> u64 {
        Self::read(reader, n)
    }

    fn replace(writer: &mut &Self, n: u32) {
        for _ in 0..n {
            let old = writer.0.swap(Box::new([7; 30]));
            if let Some(old) = old {
                // SAFETY: unlinked by the swap, retired once.
                unsafe { old.retire() };
            }
        }
    }

    fn freeze((this, hazard): &Self::Reader<'_>, work: impl FnOnce()) -> Duration {
        let mut hazard = hazard.borrow_mut();
        let _object = this.0.safe_load(&mut hazard);
        work();
        timed(|| hazard.reset_protection())
    }

    fn settle(_: &mut &Self) {
        haphazard::Domain::global().eager_reclaim();
    }
}
