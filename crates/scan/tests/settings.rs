//! As equality.rs, of memory that exists only with a setting of the machine.
//!
//! These tests change no setting: `ci/deep/scan-settings.sh` does, and puts them back.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets map memory

mod targets;

use std::fs;

use libc::{MAP_FIXED, MAP_HUGETLB, MAP_NORESERVE, PROT_NONE};
use targets::{
    ANON, HUGE, PAGE, RW, SHARED, Target, add, advise, assert_equal, fork_and, is_numbered, map, map_at, map_file,
    map_many, read, scanner, stats, truncate, write,
};
use vmaple_scan::{Field, Scan};

/// The size of a huge page in pages.
const GIB: usize = 1 << 18;

/// Returns whether a number of the kernel's is at least this; prints that it is not.
fn is_at_least(path: &str, least: u64) -> bool {
    let value = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let is = value.is_some_and(|value| value >= least);
    if !is {
        eprintln!("skipped: {path} is {value:?}, and not {least}: ci/deep/scan-settings.sh sets it");
    }
    is
}

#[test]
fn a_hundred_thousand_mappings() {
    if !is_at_least("/proc/sys/vm/max_map_count", 110_000) {
        return;
    }
    let Some(mut scanner) = scanner() else { return };
    let target = Target::new(|| map_many(100_000));
    let scan = assert_equal(&mut scanner, target.pid());
    assert!(scan.rollup().mappings >= 100_000);
    assert_eq!(
        scan.report().snapshot.is_some(),
        is_numbered(&scan),
        "{}",
        scan.report()
    );
}

#[test]
fn pages_of_hugetlbfs() {
    if !is_at_least("/proc/sys/vm/nr_hugepages", 8) {
        return;
    }
    let Some(mut scanner) = scanner() else { return };
    let target = Target::new(|| {
        let private = map(1024, RW, ANON | MAP_HUGETLB);
        write(private, 1, 1);
        let shared = map(1024, RW, SHARED | MAP_HUGETLB);
        write(shared, 1024, 512);
        // SAFETY: the name outlives the call.
        let file = unsafe { libc::memfd_create(c"huge".as_ptr(), libc::MFD_HUGETLB) };
        truncate(file, 512);
        write(map_file(512, RW, libc::MAP_SHARED, file, 0), 1, 1);
        // A gigabyte, whose table processes share.
        let vast = map(2 * GIB, PROT_NONE, ANON | MAP_NORESERVE).map_addr(|at| at.next_multiple_of(GIB * PAGE));
        let flags = SHARED | MAP_HUGETLB | MAP_NORESERVE | MAP_FIXED;
        let vast = map_at(vast, GIB, RW, flags, -1, 0);
        write(vast, 1024, 512);
        fork_and(|| {
            read(shared, 1);
            read(vast, 1);
        });
    });
    let scan = assert_equal(&mut scanner, target.pid());
    let stats = stats(&scan);
    assert!(
        stats.private_hugetlb >= HUGE as u64 && stats.shared_hugetlb >= HUGE as u64,
        "{stats:?}"
    );
}

#[test]
fn pages_that_were_merged() {
    if !is_at_least("/sys/kernel/mm/ksm/run", 1) {
        return;
    }
    let Some(mut scanner) = scanner() else { return };
    let target = Target::new(|| {
        let pages = map(300, RW, ANON);
        advise(pages, 300, libc::MADV_MERGEABLE);
        write(pages, 300, 1);
    });
    let smaps = format!("/proc/{}/smaps", target.pid());
    // The kernel merges pages in some rounds. Before 6.8 smaps does not say which.
    let is_merged = |line: &str| line.starts_with("KSM:") && !line.ends_with(" 0 kB");
    loop {
        let text = fs::read_to_string(&smaps).unwrap();
        if !text.contains("KSM:") || text.lines().any(is_merged) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_equal(&mut scanner, target.pid());
}

#[test]
fn pages_that_were_swapped_out() {
    const PAGEOUT: libc::c_int = 21;
    if fs::read_to_string("/proc/swaps").unwrap_or_default().lines().count() < 2 {
        eprintln!("skipped: there is no swap area: ci/deep/scan-settings.sh makes one");
        return;
    }
    let Some(mut scanner) = scanner() else { return };
    let target = Target::new(|| {
        let pages = map(200, RW, ANON);
        write(pages, 200, 1);
        let shared = map(100, RW, SHARED);
        write(shared, 100, 1);
        let locked = map(20, RW, ANON);
        write(locked, 20, 1);
        advise(pages, 100, PAGEOUT);
        advise(shared, 100, PAGEOUT);
        // Some of them are read back, and are in both places.
        read(add(pages, 20), 10);
        // SAFETY: sleeps a moment, until all is written.
        unsafe { libc::usleep(200_000) };
    });
    let scan = assert_equal(&mut scanner, target.pid());
    let found = stats(&scan);
    assert!(
        found.swap >= 150 * PAGE as u64 && !found.unknown.contains(Field::SwapPss),
        "{found:?}"
    );
    // How many processes have a swapped page is known only where the kernel shows its variables.
    let forked = Target::new(|| {
        let pages = map(200, RW, ANON);
        write(pages, 200, 1);
        advise(pages, 100, PAGEOUT);
        fork_and(|| {});
    });
    let scan = assert_equal(&mut scanner, forked.pid());
    let found = stats(&scan);
    let shows = fs::read_to_string("/proc/kallsyms").is_ok_and(|text| text.contains(" swap_info\n"));
    assert!(found.swap >= 50 * PAGE as u64, "{found:?}");
    assert!(found.unknown.contains(Field::SwapPss) || shows, "{found:?}");
    assert_eq!(
        said(&scan, Field::SwapPss) > 0,
        found.unknown.contains(Field::SwapPss),
        "{:?}",
        scan.report()
    );
    // How much of a file is swapped out is known of the whole alone.
    let part = Target::new(|| {
        // SAFETY: the name outlives the call.
        let file = unsafe { libc::memfd_create(c"part".as_ptr(), 0) };
        truncate(file, 200);
        let whole = map_file(200, RW, libc::MAP_SHARED, file, 0);
        write(whole, 200, 1);
        map_file(50, RW, libc::MAP_SHARED, file, 20);
        map_file(200, RW, libc::MAP_PRIVATE, file, 0);
        advise(whole, 200, PAGEOUT);
    });
    let scan = assert_equal(&mut scanner, part.pid());
    let unknown = scan
        .records()
        .filter(|record| record.mapping.stats.unknown.contains(Field::Swap))
        .count();
    // Pages of this program's file may be there too, where it lies on a tmpfs.
    assert!(unknown >= 2 && stats(&scan).unknown.contains(Field::Swap), "{unknown}");
    assert_eq!(said(&scan, Field::Swap), unknown, "{:?}", scan.report());
    assert_eq!(stats(&scan).bytes(Field::Swap), None);
    eprintln!("{}", scan.report());
}

/// Returns of how many mappings a scan reports that it lacks a field.
fn said(scan: &Scan, field: Field) -> usize {
    let left_out = scan.report().left_out.iter();
    let mut of_field = left_out.filter(|left_out| left_out.field == Some(field));
    of_field.next().map_or(0, |left_out| left_out.mappings)
}
