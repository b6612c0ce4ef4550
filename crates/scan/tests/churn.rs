//! A scan of a process that maps at full speed keeps the contract of a walk.
//!
//! Each page of a region has a rule that its process keeps to, so that what a scan may say is known
//! without a log. `vmaple repro --scanner bpf` also compares scans with the mapper's log.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets map memory

mod targets;

use std::time::Duration;

use libc::{MAP_FIXED, MAP_NORESERVE, PROT_NONE, PROT_READ};
use targets::{
    ANON, Alone, PAGE, RW, Target, add, assert_walks, is_numbered, map, map_at, protect, scanner_with, unmap, write,
};
use vmaple_scan::{Options, Partial, Scan, Want};
use vmaple_smaps::walk::Page;

const PAGES: usize = 4096;
const NEVER: libc::c_int = libc::PROT_WRITE | libc::PROT_EXEC;

/// The rule of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// `rw-p`, always.
    Mapped,
    /// `rw-p` or nothing.
    ComesAndGoes,
    /// `r--p` or `rw-p`.
    Changes,
    /// Nothing.
    Empty,
}

fn rule(page: usize) -> Rule {
    match page % 8 {
        0 | 3 => Rule::Mapped,
        1 | 4 | 5 => Rule::ComesAndGoes,
        2 | 6 => Rule::Changes,
        _ => Rule::Empty,
    }
}

/// A process that maps, unmaps and protects pages of a region, and the region.
fn mapper() -> (Target, u64) {
    let region = map(PAGES, PROT_NONE, ANON | MAP_NORESERVE);
    let target = Target::with_word(|ready| {
        for page in 0..PAGES {
            let at = add(region, page);
            match rule(page) {
                Rule::Mapped | Rule::Changes => {
                    map_at(at, 1, RW, ANON | MAP_FIXED, -1, 0);
                    write(at, 1, 1);
                }
                Rule::ComesAndGoes | Rule::Empty => unmap(at, 1),
            }
        }
        ready();
        let mut seed = 1_u64;
        loop {
            seed = next(seed);
            let page = (seed >> 33) as usize % PAGES;
            let at = add(region, page);
            match rule(page) {
                Rule::ComesAndGoes if seed & 1 << 20 == 0 => {
                    map_at(at, 1, RW, ANON | MAP_FIXED, -1, 0);
                }
                Rule::ComesAndGoes => unmap(at, 1),
                Rule::Changes => protect(at, 1, if seed & 1 << 20 == 0 { PROT_READ } else { RW }),
                Rule::Mapped | Rule::Empty => {}
            }
        }
    });
    unmap(region, PAGES);
    (target, region.addr() as u64)
}

/// Returns the next of a mapper's random numbers, of which the upper bits are good.
fn next(seed: u64) -> u64 {
    seed.wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

/// Checks a scan by the rules; returns how many lines it has in the region.
fn check(scan: &Scan, region: u64) -> usize {
    let rule_at = |at: u64| {
        let page = at.wrapping_sub(region) as usize / PAGE;
        (page < PAGES).then(|| rule(page))
    };
    assert_walks(scan, region..region + (PAGES * PAGE) as u64, |at| match rule_at(at)? {
        Rule::Mapped | Rule::Changes => Some(Page::Mapped),
        Rule::ComesAndGoes => None,
        Rule::Empty => Some(Page::Unmapped),
    });
    let mut lines = 0;
    for record in scan.records() {
        let vma = &record.mapping.vma;
        for at in (vma.new_from..vma.end).step_by(PAGE) {
            let Some(rule) = rule_at(at) else { continue };
            let allowed: &[_] = match rule {
                Rule::Mapped | Rule::ComesAndGoes => &["rw-p"],
                Rule::Changes => &["r--p", "rw-p"],
                Rule::Empty => &[],
            };
            let perms = vma.perms.to_string();
            assert!(allowed.contains(&perms.as_str()), "{rule:?} at {at:x}: {record:?}");
            lines += usize::from(at == vma.new_from);
        }
        let size = vma.end - vma.new_from;
        assert!(
            record.mapping.stats.rss <= size && record.mapping.stats.pss >> 12 <= size,
            "{record:?}"
        );
    }
    lines
}

fn scanner(want: Want, budget: Duration) -> Option<Alone> {
    scanner_with(Options::new().want(want).budget(budget))
}

#[test]
fn lines_ascend_and_what_is_mapped_all_the_time_is_covered() {
    for (want, budget_us) in [
        (Want::Ranges, 200),
        (Want::Pages, 200),
        (Want::Ranges, 20),
        (Want::Pages, 20),
    ] {
        let options = Options::new()
            .want(want)
            .budget(Duration::from_micros(budget_us))
            // A scan waits at most a tenth of its limit for a mapper that leaves no time between
            // its calls.
            .limit(Duration::from_secs(2));
        let Some(mut scanner) = scanner_with(options) else {
            return;
        };
        let (target, region) = mapper();
        let (mut rejected, mut unvalidated, mut lines) = (0, 0, 0);
        for _ in 0..20 {
            let scan = scanner.scan(target.pid()).unwrap();
            lines += check(&scan, region);
            let report = scan.report();
            rejected += report.rejected.unwrap();
            unvalidated += report.unvalidated.unwrap();
            scanner.reuse(scan);
        }
        eprintln!(
            "{want:?}, {budget_us} us: {lines} lines, {rejected} attempts rejected, {unvalidated} lines not validated"
        );
        assert!(lines > 20 * 500);
    }
}

#[test]
fn each_line_is_of_some_instant() {
    // Groups of three pages, each of which is one mapping at an instant, or three.
    const GROUPS: usize = 500;
    // A scan may wait for a second where the mapper leaves no time between its calls.
    const SCANS: u64 = 30;
    let Some(mut scanner) = scanner(Want::Tables, Duration::from_micros(200)) else {
        return;
    };
    let region = map(GROUPS * 4, PROT_NONE, ANON | MAP_NORESERVE);
    let target = Target::with_word(|ready| {
        unmap(region, GROUPS * 4);
        for group in 0..GROUPS {
            map_at(add(region, group * 4), 3, RW, ANON | MAP_FIXED, -1, 0);
        }
        ready();
        let mut seed = 1_u64;
        loop {
            seed = next(seed);
            let middle = add(region, (seed >> 33) as usize % GROUPS * 4 + 1);
            protect(middle, 1, if seed & 1 << 20 == 0 { PROT_READ } else { RW });
        }
    });
    unmap(region, GROUPS * 4);
    let begin = region.addr() as u64;
    let (mut lines, mut unvalidated, mut rejected, mut numbered) = (0, 0, 0, false);
    for _ in 0..SCANS {
        let scan = scanner.scan(target.pid()).unwrap();
        check_covers(&scan, |page| page % 4 != 3, begin, GROUPS * 4);
        for record in scan.records() {
            let vma = &record.mapping.vma;
            let page = vma.start.wrapping_sub(begin) / PAGE as u64;
            if vma.start < begin || page >= GROUPS as u64 * 4 {
                continue;
            }
            let pages = (vma.end - vma.start) / PAGE as u64;
            let is_of_an_instant = match (page % 4, pages, vma.perms.to_string().as_str()) {
                (0, 3, "rw-p") | (0 | 2, 1, "rw-p") | (1, 1, "r--p") => true,
                // The mapping was cut off where the scan was when it was replaced, or shown from
                // there on.
                _ => vma.new_from > vma.start,
            };
            assert!(is_of_an_instant || !record.is_validated, "{record:?}");
            lines += 1;
        }
        let report = scan.report();
        rejected += report.rejected.unwrap();
        unvalidated += report.unvalidated.unwrap();
        numbered = is_numbered(&scan);
        scanner.reuse(scan);
    }
    eprintln!("{lines} lines, {rejected} attempts rejected, {unvalidated} lines not validated");
    assert!(lines > SCANS * GROUPS as u64 && (!numbered || unvalidated * 2 < lines as usize));
}

/// Checks that pages that are mapped all the time are covered, and others not.
fn check_covers(scan: &Scan, is_mapped: impl Fn(usize) -> bool, begin: u64, pages: usize) {
    assert_walks(scan, begin..begin + (pages * PAGE) as u64, |at| {
        let page = (at - begin) as usize / PAGE;
        Some(if is_mapped(page) { Page::Mapped } else { Page::Unmapped })
    });
}

#[test]
fn a_snapshot_is_of_one_instant() {
    // In several runs, and in one.
    for (budget_us, pages, pause_us) in [(20, 2_000, 500), (10_000, 14_000, 3_000)] {
        let Some(scanner) = scanner(Want::Ranges, Duration::from_micros(budget_us)) else {
            return;
        };
        assert_snapshots(scanner, pages, pause_us);
    }
}

/// Scans a process one of whose mappings moves between two places.
///
/// At each instant it is at one of them.
fn assert_snapshots(mut scanner: Alone, pages: usize, pause_us: u32) {
    let places = map(pages, PROT_NONE, ANON | MAP_NORESERVE);
    let (low, high) = (add(places, 10), add(places, pages - 10));
    let target = Target::with_word(|ready| {
        unmap(places, pages);
        for page in (20..pages - 20).step_by(4) {
            map_at(add(places, page), 1, RW, ANON | MAP_FIXED, -1, 0);
        }
        map_at(low, 1, NEVER, ANON | MAP_FIXED, -1, 0);
        ready();
        let (mut here, mut there) = (low, high);
        loop {
            // An odd number: afterwards it is at the other place.
            for _ in 0..21 {
                let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
                // SAFETY: memory of the target.
                unsafe { libc::mremap(here.cast(), PAGE, PAGE, flags, there) };
                std::mem::swap(&mut here, &mut there);
            }
            // SAFETY: sleeps, so that some scans meet no change.
            unsafe { libc::usleep(pause_us) };
        }
    });
    unmap(places, pages);
    let (mut snapshots, mut others, mut numbered) = (0, 0, false);
    for _ in 0..1_500 {
        let scan = scanner.scan(target.pid()).unwrap();
        let at = |place: *mut u8| {
            let here = place.addr() as u64;
            scan.records()
                .filter(|r| (r.mapping.vma.new_from..r.mapping.vma.end).contains(&here))
                .count()
        };
        let (low, high) = (at(low), at(high));
        if scan.report().snapshot.is_some() {
            assert_eq!(
                low + high,
                1,
                "a snapshot, and the mapping is at {low} and {high} places"
            );
            snapshots += 1;
        } else {
            others += 1;
        }
        numbered = is_numbered(&scan);
        scanner.reuse(scan);
    }
    eprintln!("{snapshots} snapshots, {others} others");
    assert_eq!(snapshots > 0, numbered);
}

#[test]
fn a_scan_that_is_out_of_time_says_how_far_it_came() {
    let (target, region) = mapper();
    let options = Options::new()
        .limit(Duration::from_nanos(1))
        .budget(Duration::from_micros(20));
    let Some(mut scanner) = scanner_with(options) else {
        return;
    };
    for _ in 0..20 {
        let scan = scanner.scan(target.pid()).unwrap();
        check(&scan, region);
        let report = scan.report();
        let Some(Partial::OutOfTime(below)) = report.partial else {
            panic!("{report}")
        };
        assert!(scan.records().all(|record| record.mapping.vma.end <= below), "{report}");
        assert_eq!(report.snapshot, None);
        assert!(report.to_string().contains("PARTIAL"), "{report}");
    }
}
