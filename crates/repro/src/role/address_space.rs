//! A model's address space, as its mapper and scanners use it: calls of `vmaple-mm`, text of `vmaple-proc`.

use std::sync::Arc;

use vmaple_mm::{
    Layout, Limits, MapFlags, MapleStore, Mm, MmReader, MmRef, Prot, RbStore, VirtAddr, VmaRead, VmaStore,
};
use vmaple_proc::Maps;

use crate::counted_lock::{CountedMutex, CountedRwLock};
use crate::error::{Error, Result};
use crate::ledger::{Ledger, Phase};
use crate::machine::read_number;

use super::mapper::Calls;
use super::scanner::{BUFFER_BYTES, Scan};

/// How a model keeps its VMAs, with a lock that counts.
pub(super) trait Design: VmaStore {
    /// Bytes that have been taken out and not been freed, and the age of the oldest read-side section in eras.
    fn kept(&self) -> (u64, u64);

    /// Does `work` while a reader is in the middle of a read, if that can be.
    fn beside_a_reader(mm: &MmRef<Self>, work: impl FnOnce() -> Result<()>) -> Result<()>;
}

impl Design for RbStore<CountedRwLock> {
    /// What is taken out under the lock has no reader.
    fn kept(&self) -> (u64, u64) {
        (0, 0)
    }

    /// It would wait for the reader.
    fn beside_a_reader(_: &MmRef<Self>, work: impl FnOnce() -> Result<()>) -> Result<()> {
        work()
    }
}

impl Design for MapleStore<CountedMutex> {
    fn kept(&self) -> (u64, u64) {
        let stats = self.rcu().stats();
        (stats.deferred_bytes, stats.oldest_section_eras)
    }

    fn beside_a_reader(mm: &MmRef<Self>, work: impl FnOnce() -> Result<()>) -> Result<()> {
        freeze(mm, work)??;
        // What was kept for it, which would be freed at some time in the run.
        while mm.store().rcu().reap() {}
        Ok(())
    }
}

/// A region of a model's address space, where single pages come and go.
pub(super) struct ModelRegion<S: VmaStore> {
    pub(super) mm: Mm<S>,
    start: u64,
    page_bytes: u64,
}

impl<S: Design> ModelRegion<S> {
    /// Maps it in an address space of its own. There are no page tables yet that could be populated.
    pub(super) fn map(bytes: u64) -> Result<Self> {
        let failed = |e: vmaple_mm::Error| Error::failed(format!("mapping a region of {bytes} bytes of a model"), e);
        let max_map_count = read_number("/proc/sys/vm/max_map_count").map(|n| n as usize);
        let defaults = Limits::default();
        let limits = Limits {
            max_map_count: max_map_count.unwrap_or(defaults.max_map_count),
            ..defaults
        };
        let mm = Mm::new(Layout::default(), limits).map_err(failed)?;
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        let start = mm
            .mmap(VirtAddr(0), bytes, Prot::WRITE, flags, None, 0)
            .map_err(failed)?;
        Ok(Self {
            mm,
            start: start.0,
            page_bytes: rustix::param::page_size() as u64,
        })
    }

    /// Makes the region as many mappings as it can be, all of them anew while a reader holds the old ones, and one again: so
    /// whatever memory a run takes is there, and touched.
    pub(super) fn warm_up(&self, pages: u64) -> Result<()> {
        let every_other = |call: fn(&Self, u64) -> Result<(), vmaple_mm::Error>| {
            let done = (0..pages).step_by(2).try_for_each(|page| call(self, page));
            done.map_err(|e| Error::failed("warming up a model", e))
        };
        every_other(Self::munmap)?;
        S::beside_a_reader(&self.mm, || {
            every_other(Self::mmap)?;
            every_other(Self::munmap)
        })?;
        every_other(Self::mmap)
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
        let flags = MapFlags::FIXED | MapFlags::PRIVATE | MapFlags::ANONYMOUS;
        self.mm
            .mmap(self.at(page), self.page_bytes, Prot::WRITE, flags, None, 0)
            .map(|_| ())
    }

    fn munmap(&self, page: u64) -> Result<(), vmaple_mm::Error> {
        self.mm.munmap(self.at(page), self.page_bytes)
    }
}

/// Readings of a model's maps. The file stays open and is read from its beginning each time, as by lseek(2): to open one
/// allocates, and malloc has locks, which a scanner that loses its CPU could hold.
pub(super) struct ModelScan<S: VmaStore> {
    maps: Maps<MmReader<S>>,
    ledger: Arc<Ledger>,
    buffer: Vec<u8>,
}

impl<S: VmaStore> ModelScan<S> {
    pub(super) fn new(mm: &MmRef<S>, ledger: Arc<Ledger>) -> Result<Self> {
        Ok(Self {
            maps: Maps::open(mm).map_err(|e| Error::failed("opening the maps of a model", e))?,
            ledger,
            // Not zero, so that every page is touched now.
            buffer: vec![1; BUFFER_BYTES],
        })
    }
}

impl<S: VmaStore> Scan for ModelScan<S> {
    /// Gives up, between two reads, when scanners are to end.
    fn once(&mut self, mut text: impl FnMut(&[u8])) -> Result<u64> {
        self.maps.rewind();
        let mut calls = 0;
        while !self.ledger.is_at(Phase::Clear) {
            let read = self.maps.read(&mut self.buffer);
            match read.map_err(|e| Error::failed("scanning the maps of a model", e))? {
                0 => break,
                n => text(&self.buffer[..n]),
            }
            calls += 1;
        }
        Ok(calls)
    }
}

/// Begins to read a model's maps and stops there, does `frozen`, and goes on when that returns.
pub(super) fn freeze<S: VmaStore, T>(mm: &MmRef<S>, frozen: impl FnOnce() -> T) -> Result<T> {
    let what = "stopping in the middle of a read";
    let reader = mm.reader().map_err(|e| Error::failed(what, e))?;
    let section = reader.read_lock();
    let first = section.as_ref().and_then(|section| section.find(0));
    let first = first.ok_or_else(|| Error::failed(what, "nothing is mapped"))?;
    let before = first.range();
    let done = frozen();
    // Whatever has become of it: this reader still holds it.
    if first.range() != before {
        return Err(Error::failed(what, "the VMA at hand has changed"));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counted_lock::wait_once;
    use crate::counting_alloc::calls;
    use crate::role::mapper::Mapper;
    use crate::sample::Seen;
    use crate::scan_check::ScanCheck;

    const PAGES: u64 = 64;

    /// A region of pages that are settled in the ledger as they are in the model.
    fn region<S: Design>(ledger: &Ledger) -> ModelRegion<S> {
        let region = ModelRegion::map(PAGES * 4096).unwrap();
        region.warm_up(PAGES).unwrap();
        let states = ledger.page_states();
        for page in 0..PAGES {
            let map = page % 3 != 0;
            if !map {
                region.munmap(page).unwrap();
            }
            states.settled(page, 0, map);
        }
        region
    }

    fn reads_what_the_mapper_did<S: Design>() {
        let ledger = Arc::new(Ledger::new(0, PAGES as usize).unwrap());
        let region = region::<S>(&ledger);
        let mut scan = ModelScan::new(&region.mm.grab(), Arc::clone(&ledger)).unwrap();
        let seen = |scan: &mut ModelScan<S>| {
            let mut check = ScanCheck::new(ledger.page_states(), region.start());
            check.begin();
            assert!(scan.once(|text| check.take(text)).unwrap() > 0);
            check.end()
        };
        assert_eq!(seen(&mut scan), Seen::default());
        // Behind the checker's back.
        region.munmap(1).unwrap();
        region.mmap(3).unwrap();
        let found = seen(&mut scan);
        assert_eq!((found.misses, found.resurrected), (1, 1));
        ledger.enter(Phase::Clear);
        assert_eq!(scan.once(|_| {}).unwrap(), 0);
    }

    #[test]
    fn a_scan_reads_what_the_mapper_did() {
        reads_what_the_mapper_did::<RbStore<CountedRwLock>>();
        reads_what_the_mapper_did::<MapleStore<CountedMutex>>();
    }

    #[test]
    fn a_frozen_reader_keeps_memory_of_the_maple_tree_until_it_goes_on() {
        let ledger = Ledger::new(0, PAGES as usize).unwrap();
        let region = region::<MapleStore<CountedMutex>>(&ledger);
        let kept = || region.mm.store().kept();
        freeze(&region.mm.grab(), || {
            for page in (0..PAGES).cycle().take(10_000) {
                region.mmap(page).unwrap();
                region.munmap(page).unwrap();
            }
            let (bytes, eras) = kept();
            assert!(bytes > 0 && eras > 0);
            // What was there, not what has come and gone since: 10,000 operations take a megabyte and more.
            assert!(bytes < 300_000, "{bytes}");
        })
        .unwrap();
        assert_eq!(kept().1, 0);
    }

    /// The mapper of a run of the usual size makes 100,000 operations, beside a scanner or a frozen one.
    fn allocates_nothing<S: Design>(beside: fn(&MmRef<S>, &Arc<Ledger>)) {
        const PAGES: u64 = 32_768;
        let ledger = Arc::new(Ledger::new(0, PAGES as usize).unwrap());
        let region = ModelRegion::<S>::map(PAGES * 4096).unwrap();
        region.warm_up(PAGES).unwrap();
        let mm = region.mm.grab();
        let mut mapper = Mapper::new(region, &ledger, 1);
        wait_once();
        std::thread::scope(|scope| {
            scope.spawn(|| beside(&mm, &ledger));
            ledger.wait_until(&ledger.header().ready, 1, 10_000_000_000);
            let before = calls();
            let done = (1..=100_000).try_for_each(|index| mapper.operate(index).map(|_| ()));
            let during = calls() - before;
            ledger.enter(Phase::Clear);
            assert_eq!((done.unwrap(), during), ((), 0));
        });
    }

    fn scanning<S: VmaStore>(mm: &MmRef<S>, ledger: &Arc<Ledger>) {
        let mut scan = ModelScan::new(mm, Arc::clone(ledger)).unwrap();
        wait_once();
        ledger.count(&ledger.header().ready);
        let before = calls();
        while !ledger.is_at(Phase::Clear) {
            scan.once(|_| {}).unwrap();
        }
        assert_eq!(calls(), before);
    }

    #[test]
    fn neither_mapper_nor_scanner_allocate_in_a_run() {
        allocates_nothing::<RbStore<CountedRwLock>>(scanning);
        allocates_nothing::<MapleStore<CountedMutex>>(scanning);
        allocates_nothing::<MapleStore<CountedMutex>>(|mm, ledger| {
            freeze(mm, || {
                ledger.count(&ledger.header().ready);
                ledger.wait_for(Phase::Clear);
            })
            .unwrap();
        });
    }
}
