//! Reads a model's proc files, whose text `vmaple-proc` writes.

use std::ops::Range;
use std::sync::Arc;

use vmaple_mm::pgtable::Step;
use vmaple_mm::{MmReader, MmRef, VirtAddr, VmaRead};
use vmaple_proc::{Maps, Pagemap, Smaps, SmapsRollup};

use crate::error::{Error, Result};
use crate::plan::ProcFile;
use crate::role::scanner::{BUFFER_BYTES, Scan};
use crate::role::{Ledger, Phase};

use super::design::Design;

/// A file that stays open and is read from its beginning each time, as by lseek(2).
///
/// Opening one allocates, and malloc has locks, which a scanner that loses its CPU could hold.
enum OpenFile<S: Design> {
    Maps(Maps<MmReader<S>>),
    Smaps(Smaps<MmReader<S>>),
    SmapsRollup(SmapsRollup<S>),
    /// With the part of it that describes the mapper's region, in bytes of the file, and how far
    /// that has been read.
    Pagemap(Pagemap<S>, Range<u64>, u64),
}

impl<S: Design> OpenFile<S> {
    /// Opens `file`; `region` is what a pagemap scan covers.
    fn open(mm: &MmRef<S>, file: ProcFile, region: &Range<u64>) -> Result<Self> {
        let failed = |e: vmaple_mm::Error| Error::failed(format!("opening {file} of a model"), e);
        Ok(match file {
            ProcFile::Maps => Self::Maps(Maps::open(mm).map_err(failed)?),
            ProcFile::Smaps => Self::Smaps(Smaps::open_by(mm, S::COUNT_BY).map_err(failed)?),
            ProcFile::SmapsRollup => Self::SmapsRollup(SmapsRollup::open(mm, S::COUNT_BY).map_err(failed)?),
            ProcFile::Pagemap => {
                let page = rustix::param::page_size() as u64;
                let entries = region.start / page * 8..region.end / page * 8;
                Self::Pagemap(Pagemap::open(mm).map_err(failed)?, entries, 0)
            }
            _ => return Err(Error::failed(format!("opening {file} of a model"), "models have none")),
        })
    }

    fn rewind(&mut self) {
        match self {
            Self::Maps(file) => file.rewind(),
            Self::Smaps(file) => file.rewind(),
            Self::SmapsRollup(file) => file.rewind(),
            Self::Pagemap(_, entries, at) => *at = entries.start,
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize, vmaple_mm::Error> {
        match self {
            Self::Maps(file) => file.read(to),
            Self::Smaps(file) => file.read(to),
            Self::SmapsRollup(file) => file.read(to),
            Self::Pagemap(file, entries, at) => {
                let want = to.len().min((entries.end - *at) as usize);
                let read = file.read_at(*at, &mut to[..want])?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

/// Scans of one file.
pub(super) struct ModelScan<S: Design> {
    open: OpenFile<S>,
    file: ProcFile,
    ledger: Arc<Ledger>,
    buffer: Vec<u8>,
}

impl<S: Design> ModelScan<S> {
    /// Opens `file` for scans; `region` is what a pagemap scan covers.
    pub(super) fn new(mm: &MmRef<S>, file: ProcFile, region: &Range<u64>, ledger: Arc<Ledger>) -> Result<Self> {
        Ok(Self {
            open: OpenFile::open(mm, file, region)?,
            file,
            ledger,
            // Not zero, so that every page is touched now.
            buffer: vec![1; BUFFER_BYTES],
        })
    }
}

impl<S: Design> Scan for ModelScan<S> {
    /// Stops between two reads when scanners are to end.
    fn once(&mut self, mut read: impl FnMut(&[u8])) -> Result<u64> {
        self.open.rewind();
        let mut calls = 0;
        while !self.ledger.is_at(Phase::Clear) {
            let done = self.open.read(&mut self.buffer);
            match done.map_err(|e| Error::failed(format!("scanning {} of a model", self.file), e))? {
                0 => break,
                n => read(&self.buffer[..n]),
            }
            calls += 1;
        }
        Ok(calls)
    }
}

/// Begins to read a file of a model and does `frozen` in the middle of it.
///
/// It stops at the first VMA above `addr`, for all but maps in the middle of the walk of its pages,
/// and holds what the design holds there. It goes on when `frozen` returns.
pub(super) fn freeze<S: Design, T>(mm: &MmRef<S>, file: ProcFile, addr: u64, frozen: impl FnOnce() -> T) -> Result<T> {
    let failed = |why: &dyn std::fmt::Display| Error::failed(format!("stopping in a read of {file}"), why);
    let reader = mm.reader().map_err(|e| failed(&e))?;
    let section = match file {
        ProcFile::SmapsRollup | ProcFile::Pagemap => reader.mmap_read_lock(),
        _ => reader.read_lock(),
    };
    let vma = section.as_ref().and_then(|section| section.find(VirtAddr(addr)));
    let vma = vma.ok_or_else(|| failed(&"nothing is mapped"))?;
    let before = vma.range();
    let done = if file == ProcFile::Maps {
        frozen()
    } else {
        let at = before.start.max(VirtAddr(addr));
        let look = reader.walker().leaf(at, |leaf| {
            let done = frozen();
            // Whatever has become of the table, it can still be read.
            let _ = leaf.pte(at);
            done
        });
        match look {
            Step::Leaf(done) => done,
            Step::Hole { .. } => return Err(failed(&"no page is populated")),
        }
    };
    // Whatever has become of the VMA, this reader still holds it.
    if vma.range() != before {
        return Err(failed(&"the VMA at hand has changed"));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::{Duration, Instant};
    use vmaple_smaps::walk::Page;

    use super::*;
    use crate::check::ScanCheck;
    use crate::counting_alloc::calls;
    use crate::model::address_space::{ModelMemory, ModelRegion, new_mm, retired};
    use crate::model::design::{Maple, V54, V617};
    use crate::role::mapper::{Calls, Mapper};
    use crate::role::thread_b::{FRESH, Touch};
    use crate::role::wait_once;
    use crate::sample::Misreads;

    const FILES: [ProcFile; 4] = [
        ProcFile::Maps,
        ProcFile::Smaps,
        ProcFile::SmapsRollup,
        ProcFile::Pagemap,
    ];

    /// Makes a region of `pages` pages with all that a run has, warm.
    fn region<S: Design>(pages: u64, mapped_pages: u64) -> (ModelRegion<S>, ModelMemory<S>, MmRef<S>) {
        let mm = new_mm(pages + mapped_pages + FRESH).unwrap();
        let region = ModelRegion::map(&mm, pages).unwrap();
        let memory = ModelMemory::map(&mm, mapped_pages).unwrap();
        region.warm_up(pages).unwrap();
        (region, memory, mm.grab())
    }

    fn addresses<S: Design>(region: &ModelRegion<S>, pages: u64) -> Range<u64> {
        region.start()..region.start() + pages * 4096
    }

    fn reads_what_the_mapper_did<S: Design>() {
        const PAGES: u64 = 64;
        let (region, _memory, mm) = region::<S>(PAGES, 8);
        for file in FILES {
            let ledger = Arc::new(Ledger::new(0, PAGES as usize).unwrap());
            let states = ledger.page_states();
            for page in 0..PAGES {
                let map = page % 3 != 0;
                let call = if map { ModelRegion::mmap } else { ModelRegion::munmap };
                call(&region, page).unwrap();
                states.settled(page, 0, if map { Page::Mapped } else { Page::Unmapped });
            }
            let mut scan = ModelScan::new(&mm, file, &addresses(&region, PAGES), Arc::clone(&ledger)).unwrap();
            let mut check = ScanCheck::new(states, region.start(), file).unwrap();
            let mut seen = || {
                check.begin();
                assert!(scan.once(|read| check.take(read)).unwrap() > 0);
                check.end()
            };
            assert_eq!(seen(), Misreads::default(), "{file}");
            // The checker does not know of these. A roll-up says only how many pages there are.
            region.munmap(1).unwrap();
            region.munmap(2).unwrap();
            region.mmap(3).unwrap();
            let found = seen();
            let expected = match file {
                ProcFile::SmapsRollup => (1, 0),
                _ => (2, 1),
            };
            assert_eq!((found.misses, found.resurrected), expected, "{file}");
            ledger.enter(Phase::Clear);
            assert_eq!(scan.once(|_| {}).unwrap(), 0);
        }
    }

    #[test]
    fn a_scan_reads_what_the_mapper_did() {
        reads_what_the_mapper_did::<V54>();
        reads_what_the_mapper_did::<V617>();
        reads_what_the_mapper_did::<Maple>();
    }

    #[test]
    fn a_frozen_reader_keeps_memory_of_the_maple_tree_until_it_goes_on() {
        const PAGES: u64 = 64;
        for file in FILES {
            let (region, _memory, mm) = region::<Maple>(PAGES, 8);
            freeze(&mm, file, region.start(), || {
                for page in (0..PAGES).cycle().take(10_000) {
                    region.mmap(page).unwrap();
                    region.munmap(page).unwrap();
                }
                let (bytes, eras) = retired(&mm);
                assert!(bytes > 0 && eras > 0, "{file}");
                // Kept is what was there, not what has come and gone since: 10,000 operations take
                // a megabyte and more.
                assert!(bytes < 400_000, "{file}: {bytes}");
            })
            .unwrap();
            assert_eq!(retired(&mm).1, 0, "{file}");
        }
    }

    /// Says whether a writer that changes what a frozen reader looks at is done before the reader
    /// goes on.
    fn goes_on_beside_a_frozen_reader<S: Design>(file: ProcFile, patience: Duration) -> bool {
        let (region, _memory, mm) = region::<S>(16, 8);
        let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let start = region.start();
            let writer = || {
                scope.spawn(|| {
                    let region = region;
                    begun.store(true, Relaxed);
                    region.munmap(3).unwrap();
                    done.store(true, Relaxed);
                });
                while !begun.load(Relaxed) {
                    std::thread::yield_now();
                }
                let deadline = Instant::now() + patience;
                while !done.load(Relaxed) && Instant::now() < deadline {
                    std::thread::yield_now();
                }
                done.load(Relaxed)
            };
            freeze(&mm, file, start, writer).unwrap()
        })
    }

    #[test]
    fn writers_wait_for_a_frozen_reader_of_any_file_but_of_the_maple_tree() {
        // A writer that waits is seen waiting at any time.
        let (soon, in_the_end) = (Duration::from_millis(20), Duration::from_secs(60));
        for file in FILES {
            assert!(!goes_on_beside_a_frozen_reader::<V54>(file, soon), "v5.4 {file}");
            assert!(!goes_on_beside_a_frozen_reader::<V617>(file, soon), "v6.17 {file}");
            assert!(
                goes_on_beside_a_frozen_reader::<Maple>(file, in_the_end),
                "maple {file}"
            );
        }
    }

    #[test]
    fn nothing_to_stop_at_is_an_error() {
        let mm = new_mm::<V54>(1).unwrap();
        assert!(freeze(&mm, ProcFile::Maps, 0, || {}).is_err());
        let (region, _memory, mm) = region::<V54>(16, 8);
        (0..16).for_each(|page| region.munmap(page).unwrap());
        let error = freeze(&mm, ProcFile::Smaps, 0, || {}).unwrap_err().to_string();
        assert!(error.contains("no page is populated"), "{error}");
    }

    /// Pages of a run of the usual size.
    const PAGES: u64 = 32_768;

    /// What a scanner does while the mapper works.
    #[derive(Clone, Copy)]
    enum Beside {
        /// Scans again and again.
        Busy,
        /// Begins a scan each time the mapper has made 250 more operations. Where readers hold the
        /// lock that writers need, the two may take turns: without a pace the mapper then
        /// waits for 25,000 scans, which takes minutes.
        Paced,
        /// Stands still in its first scan.
        Frozen,
    }

    /// Lets the mapper of a run make 25,000 operations, and thread B its faults, while a scanner
    /// reads each file.
    fn allocates_nothing<S: Design>(scanners: &[Beside]) {
        let (region, memory, mm) = region::<S>(PAGES, 16);
        let mut memory = Some(memory);
        for (file, &scanner) in FILES
            .into_iter()
            .flat_map(|file| scanners.iter().map(move |scanner| (file, scanner)))
        {
            memory = Some(beside_a_scanner(&region, memory.take().unwrap(), &mm, file, scanner));
        }
    }

    fn beside_a_scanner<S: Design>(
        region: &ModelRegion<S>,
        memory: ModelMemory<S>,
        mm: &MmRef<S>,
        file: ProcFile,
        scanner: Beside,
    ) -> ModelMemory<S> {
        let addresses = addresses(region, PAGES);
        let ledger = Arc::new(Ledger::new(0, PAGES as usize).unwrap());
        let (ledger, ready) = (&ledger, &ledger.header().ready);
        let mut mapper = Mapper::new(region, ledger, 1);
        let operations = AtomicU64::new(0);
        wait_once();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Beside::Frozen = scanner {
                    let stand_still = || {
                        ledger.count(ready);
                        ledger.wait_for(Phase::Clear);
                    };
                    return freeze(mm, file, addresses.start, stand_still).unwrap();
                }
                let mut scan = ModelScan::new(mm, file, &addresses, Arc::clone(ledger)).unwrap();
                wait_once();
                ledger.count(ready);
                let before = calls();
                let mut next = 0;
                while !ledger.is_at(Phase::Clear) {
                    if matches!(scanner, Beside::Paced) && operations.load(Relaxed) < next {
                        std::thread::sleep(Duration::from_micros(50));
                        continue;
                    }
                    scan.once(|_| {}).unwrap();
                    next = operations.load(Relaxed) + 250;
                }
                assert_eq!(calls(), before, "a scanner of {file}");
            });
            let thread_b = scope.spawn(move || {
                wait_once();
                ledger.count(ready);
                let before = calls();
                for _ in 0..100 {
                    (0..memory.mapped_pages()).for_each(|page| memory.touch_mapped(page).unwrap());
                    memory.discard_mapped().unwrap();
                }
                (0..FRESH).for_each(|i| memory.touch_fresh(i).unwrap());
                assert_eq!(calls(), before, "thread B beside {file}");
                memory
            });
            while !ledger.wait_until(ready, 2, 10_000_000_000) {}
            let before = calls();
            let done = (1..=25_000).try_for_each(|index| {
                operations.store(index, Relaxed);
                mapper.operate(index).map(|_| ())
            });
            let during = calls() - before;
            ledger.enter(Phase::Clear);
            assert_eq!((done.unwrap(), during), ((), 0), "the mapper beside {file}");
            thread_b.join().unwrap()
        })
    }

    #[test]
    fn neither_mapper_nor_thread_b_nor_scanner_allocate_in_a_run_of_v5_4() {
        allocates_nothing::<V54>(&[Beside::Paced]);
    }

    #[test]
    fn neither_mapper_nor_thread_b_nor_scanner_allocate_in_a_run_of_v6_17() {
        allocates_nothing::<V617>(&[Beside::Paced]);
    }

    #[test]
    fn neither_mapper_nor_thread_b_nor_scanner_allocate_in_a_run_of_maple() {
        allocates_nothing::<Maple>(&[Beside::Busy, Beside::Frozen]);
    }
}
