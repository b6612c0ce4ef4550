//! A model's address space, as its mapper and its thread B use it.

use vmaple_mm::pgtable::{Ram, Step};
use vmaple_mm::{Advice, Layout, Limits, MapFlags, Mm, MmRef, MmThread, PAGE_SIZE, Prot, Soft, VirtAddr};
use vmaple_rcu::RcuDomain;

use crate::error::{Error, Result};
use crate::machine::read_number;
use crate::role::mapper::Calls;
use crate::role::thread_b::{FRESH, Touch};

use super::design::Design;

/// Frames in flight: taken by a call that has not mapped them yet, or unmapped and not yet freed.
const FRAMES_UNDERWAY: usize = 1024;

/// Makes an address space of a machine with memory for `pages` pages, all of it touched.
pub(super) fn new_mm<S: Design>(pages: u64) -> Result<Mm<S>> {
    let max_map_count = read_number("/proc/sys/vm/max_map_count").map(|n| n as usize);
    let defaults = Limits::default();
    let mut limits = defaults;
    limits.max_map_count = max_map_count.unwrap_or(defaults.max_map_count);
    let frames = (pages * page_bytes() / PAGE_SIZE) as usize + FRAMES_UNDERWAY;
    let no_memory = |e| Error::failed(format!("taking memory for {frames} pages of a model"), e);
    // One more, for the zero page.
    let ram = Ram::new((frames as u64 + 1) * PAGE_SIZE).map_err(no_memory)?;
    ram.reserve(frames).map_err(no_memory)?;
    let failed = |e: vmaple_mm::Error| Error::failed("making the address space of a model", e);
    Mm::with_machine(Layout::default(), limits, Soft::new(ram)).map_err(failed)
}

/// Returns the bytes of VMAs and page tables that are retired and not yet freed, and the age of the
/// oldest read-side section in eras.
pub(super) fn retired<S: Design>(mm: &MmRef<S>) -> (u64, u64) {
    domains(mm).fold((0, 0), |(bytes, eras), domain| {
        let stats = domain.stats();
        (bytes + stats.deferred_bytes, stats.oldest_section_eras.max(eras))
    })
}

/// Returns the domains that free VMAs and page tables.
fn domains<S: Design>(mm: &MmRef<S>) -> impl Iterator<Item = &RcuDomain> {
    [mm.store().rcu(), Some(mm.pgtables_rcu())].into_iter().flatten()
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// Makes a thread of the model.
fn new_thread<S: Design>(mm: &Mm<S>) -> Result<MmThread<S>> {
    mm.thread()
        .map_err(|e| Error::failed("starting a thread of a model", e))
}

/// Maps private anonymous memory.
fn map<S: Design>(thread: &MmThread<S>, pages: u64, prot: Prot, flags: MapFlags) -> Result<u64> {
    let flags = flags | MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let at = thread.mmap(VirtAddr(0), pages * page_bytes(), prot, flags, None, 0);
    at.map(|at| at.0)
        .map_err(|e| Error::failed(format!("mapping {pages} pages of a model"), e))
}

/// A region of a model's address space, where single pages come and go.
pub(super) struct ModelRegion<S: Design> {
    thread: MmThread<S>,
    start: u64,
    page_bytes: u64,
}

impl<S: Design> ModelRegion<S> {
    /// Maps it, populated as in the talk.
    pub(super) fn map(mm: &Mm<S>, pages: u64) -> Result<Self> {
        let thread = new_thread(mm)?;
        Ok(Self {
            start: map(&thread, pages, Prot::WRITE, MapFlags::POPULATE)?,
            thread,
            page_bytes: page_bytes(),
        })
    }

    /// Touches all memory that a run can take.
    ///
    /// Splits the region into as many mappings as it can be, maps all of them again while readers
    /// of two different times keep old ones, if the design lets them, and merges the region.
    pub(super) fn warm_up(&self, pages: u64) -> Result<()> {
        let every_other = |call: fn(&Self, u64) -> Result<(), vmaple_mm::Error>| {
            let done = (0..pages).step_by(2).try_for_each(|page| call(self, page));
            done.map_err(|e| Error::failed("warming up a model", e))
        };
        every_other(Self::munmap)?;
        let map_again = || {
            every_other(Self::mmap)?;
            every_other(Self::munmap)
        };
        if self.thread.mm().store().rcu().is_some() {
            // A page that is still there.
            let at = self.at((pages / 2) | 1);
            self.with_a_reader(at, || {
                map_again()?;
                self.with_a_reader(at, map_again)
            })?;
        } else {
            map_again()?;
        }
        // What was kept for the readers would be freed at some time in the run.
        for domain in domains(self.thread.mm()) {
            while domain.reap() {}
        }
        every_other(Self::mmap)
    }

    /// Does `work` while a reader that locks nothing is in a section of VMAs and one of page
    /// tables, at a page.
    fn with_a_reader(&self, at: VirtAddr, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let failed = |why: &dyn std::fmt::Display| Error::failed("warming up a model", why);
        let reader = self.thread.mm().reader().map_err(|e| failed(&e))?;
        let _section = reader.read_lock();
        match reader.walker().leaf(at, |_| work()) {
            Step::Leaf(done) => done,
            Step::Hole { .. } => Err(failed(&"a page is not there")),
        }
    }

    fn at(&self, page: u64) -> VirtAddr {
        VirtAddr(self.start + page * self.page_bytes)
    }
}

impl<S: Design> Calls for ModelRegion<S> {
    type Error = vmaple_mm::Error;

    fn start(&self) -> u64 {
        self.start
    }

    fn mmap(&self, page: u64) -> Result<(), vmaple_mm::Error> {
        let flags = MapFlags::FIXED | MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::POPULATE;
        self.thread
            .mmap(self.at(page), self.page_bytes, Prot::WRITE, flags, None, 0)
            .map(|_| ())
    }

    fn munmap(&self, page: u64) -> Result<(), vmaple_mm::Error> {
        self.thread.mm().munmap(self.at(page), self.page_bytes)
    }
}

/// Memory of a model's address space for thread B.
pub(super) struct ModelMemory<S: Design> {
    thread: MmThread<S>,
    mapped: u64,
    mapped_pages: u64,
    fresh: u64,
    page_bytes: u64,
}

impl<S: Design> ModelMemory<S> {
    /// Maps it, with `mapped_pages` pages in the mapping in use.
    pub(super) fn map(mm: &Mm<S>, mapped_pages: u64) -> Result<Self> {
        let failed = |e: vmaple_mm::Error| Error::failed("preparing memory of a model for page faults", e);
        let page_bytes = page_bytes();
        let thread = new_thread(mm)?;
        let fresh = map(&thread, 2 * FRESH + 1, Prot::empty(), MapFlags::empty())?;
        for odd in (1..2 * FRESH).step_by(2) {
            mm.mprotect(VirtAddr(fresh + odd * page_bytes), page_bytes, Prot::READ | Prot::WRITE)
                .map_err(failed)?;
        }
        Ok(Self {
            mapped: map(&thread, mapped_pages, Prot::READ | Prot::WRITE, MapFlags::empty())?,
            thread,
            mapped_pages,
            fresh,
            page_bytes,
        })
    }

    fn touch(&self, area: u64, page: u64) -> Result<()> {
        self.thread
            .write(VirtAddr(area + page * self.page_bytes), &[1])
            .map_err(|fault| Error::failed("writing to memory of a model", fault))
    }
}

impl<S: Design> Touch for ModelMemory<S> {
    fn mapped_pages(&self) -> u64 {
        self.mapped_pages
    }

    fn touch_mapped(&self, page: u64) -> Result<()> {
        self.touch(self.mapped, page)
    }

    fn discard_mapped(&self) -> Result<()> {
        let bytes = self.mapped_pages * self.page_bytes;
        self.thread
            .madvise(VirtAddr(self.mapped), bytes, Advice::DontNeed)
            .map_err(|e| Error::failed("discarding memory of a model", e))
    }

    fn touch_fresh(&self, i: u64) -> Result<()> {
        self.touch(self.fresh, 2 * i + 1)
    }
}
