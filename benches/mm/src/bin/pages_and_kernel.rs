//! Measures pages of vmaple-mm, of the running kernel and of the v5.4 model: the same work, in
//! turns, in one run. Prints the median (minimum, maximum) of the rounds.
//!
//!     ci/bench/run.sh pages [ROUNDS]
//!
//! All have pages of 4 KiB: transparent huge pages are off in this process.
//! - fault: writes a byte to each page of 64 untouched MiB, ns a page; then drops the pages
//!   (DONTNEED).
//! - two: two threads do that, each with its own 64 MiB; ns a page of one thread. "scales": pages a
//!   second against one thread.
//! - populate, unmap: mmap with POPULATE of 1 GiB, and munmap of it; ns a page.
//! - smaps: an exact count of 1 GiB of resident pages, ns a page; for the kernel, the text of smaps
//!   of this process.
//! - counters: a roll-up of 200 GB of resident pages by counters, ms in all. The pages share one
//!   frame: only their tables exist.

use std::io::Read;
use std::sync::Barrier;
use std::time::Instant;

use rustix::mm::{Advice as KernelAdvice, MapFlags as Flags, ProtFlags};
use vmaple_mm::pgtable::{CountBy, FrameChain, FrameMeta, Frames, PageCounts, Pfn, Ram, X86_64};
use vmaple_mm::{
    Advice, Kref, Layout, Limits, MapFlags, MapleStore, Mm, MmThread, Prot, RbStore, Soft, VirtAddr, VmaStore,
};

const PAGE: u64 = 4096;
const FAULTS: u64 = 64 << 20;
const POPULATED: u64 = 1 << 30;

/// Memory of one thread, in an address space that it may share.
trait Space: Send {
    /// Maps this many bytes, at any address.
    fn map(&self, bytes: u64, populate: bool) -> u64;
    fn unmap(&self, at: u64, bytes: u64);
    fn touch(&self, at: u64);
    fn discard(&self, at: u64, bytes: u64);
    /// Returns another thread's.
    fn another(&self) -> Self
    where
        Self: Sized;
    /// Looks at every page that is mapped; returns the resident bytes.
    fn look(&self) -> u64;
}

struct Kernel;

fn at(addr: u64) -> *mut std::ffi::c_void {
    std::ptr::with_exposed_provenance_mut(addr as usize)
}

impl Space for Kernel {
    fn map(&self, bytes: u64, populate: bool) -> u64 {
        let flags = if populate {
            Flags::PRIVATE | Flags::POPULATE
        } else {
            Flags::PRIVATE
        };
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, which nothing refers to.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes as usize, prot, flags) };
        base.expect("mmap").expose_provenance() as u64
    }

    fn unmap(&self, addr: u64, bytes: u64) {
        // SAFETY: from `map`, and nothing refers to it.
        unsafe { rustix::mm::munmap(at(addr), bytes as usize) }.expect("munmap");
    }

    fn touch(&self, addr: u64) {
        // SAFETY: from `map`, and writable.
        unsafe { at(addr).cast::<u8>().write_volatile(1) };
    }

    fn discard(&self, addr: u64, bytes: u64) {
        // SAFETY: from `map`, and its content does not matter.
        unsafe { rustix::mm::madvise(at(addr), bytes as usize, KernelAdvice::LinuxDontNeed) }.expect("madvise");
    }

    fn another(&self) -> Self {
        Self
    }

    fn look(&self) -> u64 {
        let mut text = String::new();
        let mut file = std::fs::File::open("/proc/self/smaps").expect("smaps");
        file.read_to_string(&mut text).expect("smaps");
        let rss = text.lines().filter_map(|line| line.strip_prefix("Rss:"));
        let kib = rss.filter_map(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.sum::<u64>() * 1024
    }
}

struct Model<S: VmaStore> {
    thread: MmThread<S>,
}

impl<S: VmaStore> Model<S> {
    fn new(ram: &Kref<Ram>) -> Self {
        let mm: Mm<S> =
            Mm::with_machine(Layout::default(), Limits::default(), Soft::new(ram.clone())).expect("a model");
        let thread = mm.thread().expect("a thread");
        Self { thread }
    }
}

impl<S: VmaStore> Space for Model<S> {
    fn map(&self, bytes: u64, populate: bool) -> u64 {
        let mut flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        flags.set(MapFlags::POPULATE, populate);
        let prot = Prot::READ | Prot::WRITE;
        self.thread
            .mmap(VirtAddr(0), bytes, prot, flags, None, 0)
            .expect("mmap")
            .0
    }

    fn unmap(&self, addr: u64, bytes: u64) {
        self.thread.mm().munmap(VirtAddr(addr), bytes).expect("munmap");
    }

    fn touch(&self, addr: u64) {
        self.thread.write(VirtAddr(addr), &[1]).expect("a write");
    }

    fn discard(&self, addr: u64, bytes: u64) {
        self.thread
            .madvise(VirtAddr(addr), bytes, Advice::DontNeed)
            .expect("madvise");
    }

    fn another(&self) -> Self {
        let thread = self.thread.mm().thread().expect("a thread");
        Self { thread }
    }

    fn look(&self) -> u64 {
        let mut counts = PageCounts::default();
        let reader = self.thread.mm().reader().expect("a reader");
        reader.walker().count(0..1 << 47, CountBy::Walk, &mut counts);
        counts.rss
    }
}

fn ns(begin: Instant, pages: u64) -> f64 {
    begin.elapsed().as_nanos() as f64 / pages as f64
}

/// Returns the nanoseconds of a page.
fn faults(space: &impl Space) -> f64 {
    let base = space.map(FAULTS, false);
    let begin = Instant::now();
    for page in 0..FAULTS / PAGE {
        space.touch(base + page * PAGE);
    }
    let took = ns(begin, FAULTS / PAGE);
    space.discard(base, FAULTS);
    space.unmap(base, FAULTS);
    took
}

/// Returns the nanoseconds of a page for one of two concurrent threads.
fn two_threads<S: Space>(space: &S) -> f64 {
    let barrier = Barrier::new(2);
    let other = space.another();
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let other = other;
            barrier.wait();
            faults(&other)
        });
        barrier.wait();
        let mine = faults(space);
        mine.max(beside.join().expect("a thread"))
    })
}

/// Returns the nanoseconds of a page: populate, look, unmap.
fn populated(space: &impl Space) -> [f64; 3] {
    let pages = POPULATED / PAGE;
    let begin = Instant::now();
    let base = space.map(POPULATED, true);
    let populate = ns(begin, pages);
    let begin = Instant::now();
    let resident = space.look();
    let look = ns(begin, pages);
    assert!(resident >= POPULATED, "{resident} bytes are resident");
    let begin = Instant::now();
    space.unmap(base, POPULATED);
    [populate, look, ns(begin, pages)]
}

/// Frames without memory of their own: all are one, so that only page tables exist.
struct OneFrame {
    meta: FrameMeta,
    ram: Kref<Ram>,
}

// SAFETY: for tables alone. No thread reads or writes the pages, or makes lists of more than one.
unsafe impl Frames for OneFrame {
    fn alloc(&self, count: usize) -> FrameChain {
        let mut one = FrameChain::new();
        if count > 0 {
            // SAFETY: as above.
            unsafe { one.push(self, Pfn(1)) };
        }
        one
    }

    unsafe fn free(&self, _: FrameChain) {}

    fn page(&self, pfn: Pfn) -> std::ptr::NonNull<u8> {
        self.ram.page(pfn)
    }

    fn meta(&self, _: Pfn) -> &FrameMeta {
        &self.meta
    }

    fn zero(&self) -> Pfn {
        Pfn(0)
    }
}

/// Returns the milliseconds of a roll-up of this many bytes by counters.
fn counters(bytes: u64, rounds: u64) -> Vec<f64> {
    let ram = Ram::new(2 << 20).expect("memory");
    let frames = OneFrame {
        meta: FrameMeta::new(),
        ram,
    };
    let machine: Soft<X86_64, OneFrame> = Soft::new(frames);
    let mm: Mm<MapleStore, _> = Mm::with_machine(Layout::default(), Limits::default(), machine).expect("a model");
    let thread = mm.thread().expect("a thread");
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let prot = Prot::READ | Prot::WRITE;
    let base = mm.mmap(VirtAddr(0), bytes, prot, flags, None, 0).expect("mmap");
    for page in 0..bytes / PAGE {
        thread
            .fault(base + page * PAGE, vmaple_mm::Access::Write)
            .expect("a page");
    }
    let reader = mm.reader().expect("a reader");
    let round = |_| {
        let mut counts = PageCounts::default();
        let begin = Instant::now();
        reader.walker().count(0..1 << 47, CountBy::Counters, &mut counts);
        let took = begin.elapsed().as_nanos() as f64 / 1e6;
        assert_eq!((counts.rss, counts.leaves_walked), (bytes, 0));
        took
    };
    (0..rounds).map(round).collect()
}

const NAMES: [&str; 3] = ["kernel", "v5.4", "maple"];
const WORK: [&str; 5] = ["fault", "two", "populate", "smaps", "unmap"];

fn round(figures: &mut [[Vec<f64>; 3]; 5], subject: usize, space: &impl Space) {
    faults(space); // warm
    let [populate, look, unmap] = populated(space);
    let values = [faults(space), two_threads(space), populate, look, unmap];
    figures
        .iter_mut()
        .zip(values)
        .for_each(|(work, value)| work[subject].push(value));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &[f64]) -> String {
    format!("({:.1}, {:.1})", values[0], values[values.len() - 1])
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5_u64);
    // SAFETY: changes how this process's memory is backed, and nothing else.
    let done = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    assert_eq!(done, 0, "huge pages cannot be turned off");
    let ram = Ram::new(POPULATED + (256 << 20)).expect("memory");
    ram.reserve(((POPULATED + (160 << 20)) / PAGE) as usize)
        .expect("memory");
    let mut figures: [[Vec<f64>; 3]; 5] = Default::default();
    for i in 0..rounds {
        round(&mut figures, 0, &Kernel);
        // In turns, each first in every second round: the second finds the frames as the first left
        // them.
        for subject in if i % 2 == 0 { [1, 2] } else { [2, 1] } {
            match subject {
                1 => round(&mut figures, 1, &Model::<RbStore>::new(&ram)),
                _ => round(&mut figures, 2, &Model::<MapleStore>::new(&ram)),
            }
        }
    }
    println!("ns a page, median (min, max) of {rounds} rounds; ratio to the kernel's median");
    let mut one = [0.0; 3];
    for (work, subjects) in WORK.into_iter().zip(&mut figures) {
        print!("{work:<9}");
        let kernel = median(&mut subjects[0]);
        for (i, (name, values)) in NAMES.into_iter().zip(subjects).enumerate() {
            let middle = median(values);
            print!("  {name} {middle:>7.1} {} {:.2}", spread(values), middle / kernel);
            if work == "fault" {
                one[i] = middle;
            }
            if work == "two" {
                print!(" scales {:.2}", 2.0 * one[i] / middle);
            }
        }
        println!();
    }
    let mut counted = counters(200 << 30, rounds);
    println!("counters   200 GB {:.2} ms {}", median(&mut counted), spread(&counted));
}
