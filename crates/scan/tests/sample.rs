//! Sums of a part of the tables of pages, next to those of all.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // maps memory

use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use vmaple_scan::{Field, Method, Options, Rollup, Sample, Scan, Scanner};

const PAGE: usize = 4096;
const TABLE: usize = 512 * PAGE;

/// Memory of this process, in small pages.
struct Memory {
    start: *mut u8,
    bytes: usize,
}

impl Memory {
    fn new(tables: usize, file: Option<&OwnedFd>) -> Self {
        let bytes = tables * TABLE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let start = match file {
            // SAFETY: an address of the kernel's choice.
            Some(file) => unsafe { mmap(null_mut(), bytes, access, MapFlags::SHARED, file, 0) },
            // SAFETY: an address of the kernel's choice.
            None => unsafe { mmap_anonymous(null_mut(), bytes, access, MapFlags::PRIVATE) },
        };
        let start = start.unwrap();
        // SAFETY: advice on what was just mapped. A kernel without huge pages refuses it.
        let _ = unsafe { madvise(start, bytes, Advice::LinuxNoHugepage) };
        Self {
            start: start.cast(),
            bytes,
        }
    }

    /// Writes to the first pages of each table, as many as `pages` says of it.
    fn fill(&self, mut pages: impl FnMut(usize) -> usize) {
        for table in 0..self.bytes / TABLE {
            for page in 0..pages(table) {
                let at = table * TABLE + page * PAGE;
                // SAFETY: inside of what is mapped, which nothing else points into.
                unsafe { self.start.wrapping_add(at).write_volatile(1) };
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nothing points into it.
        unsafe { munmap(self.start.cast(), self.bytes) }.unwrap();
    }
}

/// A file in memory.
fn file(tables: usize) -> OwnedFd {
    let file = memfd_create(c"sampled", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, (tables * TABLE) as u64).unwrap();
    file
}

/// Returns a scanner, and what keeps other tests from changing the memory of this process.
fn scanner() -> Option<(Scanner, MutexGuard<'static, ()>)> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match Scanner::with(Options::new().method(Method::Bpf).sum_alone(true)) {
        Ok(scanner) => Some((scanner, alone)),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

fn scan(scanner: &mut Scanner, sample: Sample) -> Scan {
    scanner.set_sample(sample);
    scanner.scan(std::process::id()).unwrap()
}

const ESTIMATED: [Field; 5] = [
    Field::Pss,
    Field::PssAnon,
    Field::PssShmem,
    Field::PrivateDirty,
    Field::SharedDirty,
];

/// Memory that is as full as chance has it, a file that is mapped twice, and one that is mapped
/// once.
fn shapes(random: &mut fastrand::Rng) -> Vec<Memory> {
    let (twice, once) = (file(60), file(60));
    let all = vec![
        Memory::new(120, None),
        Memory::new(60, Some(&twice)),
        Memory::new(60, Some(&twice)),
        Memory::new(60, Some(&once)),
    ];
    all[0].fill(|_| random.usize(..200));
    for mapped in &all[1..3] {
        mapped.fill(|table| 50 + table);
    }
    all[3].fill(|_| random.usize(..100));
    all
}

#[test]
fn the_sum_of_all_pages_lies_within_the_margin_of_a_part() {
    let Some((mut scanner, _alone)) = scanner() else { return };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let memory = shapes(&mut random);
    let rollup = |scan: &Scan| -> Rollup { scan.rollup() };
    let all = rollup(&scan(&mut scanner, Sample::All));
    let runs: u64 = std::env::var("VMAPLE_SAMPLES").map_or(200, |n| n.parse().unwrap());
    let mut within = [0; ESTIMATED.len()];
    for run in 0..runs {
        let tables = 20 + (run % 5) as u32 * 10;
        let found = scan(&mut scanner, Sample::Tables(tables));
        let sampled = found.report().sampled.clone().unwrap();
        assert!(sampled.counted < sampled.tables, "{sampled:?}");
        let sum = rollup(&found);
        for (field, within) in ESTIMATED.iter().zip(&mut within) {
            let bytes = |sum: &Rollup| sum.stats.bytes(*field).unwrap();
            let margin = sampled.margin(*field).map_or(0, vmaple_scan::Margin::bytes);
            // This process itself allocates some pages meanwhile.
            *within += u64::from(bytes(&sum).abs_diff(bytes(&all)) <= margin + (256 << 10));
        }
        for exact in [Field::Rss, Field::Anonymous] {
            let bytes = |sum: &Rollup| sum.stats.bytes(exact).unwrap();
            assert!(bytes(&sum).abs_diff(bytes(&all)) <= 2 << 20, "{exact:?}");
            assert!(sampled.margin(exact).is_none());
        }
    }
    drop(memory);
    println!("{within:?} of {runs} within, {ESTIMATED:?}");
    // 95 % and more are; far fewer would show.
    let fewest = if runs >= 1000 { runs * 94 / 100 } else { runs * 90 / 100 };
    assert!(
        within.iter().all(|&within| within >= fewest),
        "{within:?} of {runs}, seed {seed}"
    );
}

#[test]
fn huge_pages_and_small_mappings_are_counted_whole() {
    let Some((mut scanner, _alone)) = scanner() else { return };
    // Three tables at most, as they begin anywhere.
    let small: Vec<_> = (0..20).map(|_| Memory::new(1, None)).collect();
    small.iter().for_each(|memory| memory.fill(|_| 100));
    let all = scan(&mut scanner, Sample::All).rollup();
    let found = scan(&mut scanner, Sample::Tables(1));
    let sum = found.rollup();
    assert_eq!(sum.stats.anon_huge_pages, all.stats.anon_huge_pages);
    assert!(
        sum.mappings.abs_diff(all.mappings) < 5,
        "{} {}",
        sum.mappings,
        all.mappings
    );
    assert!(sum.size.abs_diff(all.size) < 1 << 24);
}

#[test]
fn no_table_is_counted_once_the_time_is_used_up() {
    let Some((mut scanner, _alone)) = scanner() else { return };
    let memory = Memory::new(400, None);
    memory.fill(|_| 20);
    let found = scan(&mut scanner, Sample::Cpu(Duration::from_nanos(1)));
    let sampled = found.report().sampled.clone().unwrap();
    assert_eq!(sampled.counted, 0, "{sampled:?}");
    // All of it may be anything then, and the margin says so.
    let pss = found.rollup().stats.bytes(Field::Pss).unwrap();
    let rss = found.rollup().stats.bytes(Field::Rss).unwrap();
    let margin = sampled.margin(Field::Pss).unwrap().bytes();
    assert!(pss + margin >= rss - (8 << 20), "{pss} {margin} {rss}");
    let found = scan(&mut scanner, Sample::Cpu(Duration::from_secs(10)));
    let sampled = found.report().sampled.clone().unwrap();
    assert!(sampled.margins.is_empty(), "{sampled:?}");
}
