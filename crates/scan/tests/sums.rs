//! Sums of the kernel's files are exact, or reported as rounded.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets map memory

mod targets;

use std::fs;

use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ};
use targets::{ANON, RW, SHARED, Target, advise, fork_and, map, map_file, read, scanner, truncate, write};
use vmaple_scan::{Field, Method, Options, Scan, Scanner, Want, Why, append};

/// Starts a process that shares many of its pages with three others.
fn sharing() -> Target {
    Target::new(|| {
        for pages in 1..40 {
            write(map(pages, RW, ANON), pages, 1);
            write(map(pages, RW, SHARED), pages, 1);
        }
        // SAFETY: the name outlives the call.
        let file = unsafe { libc::memfd_create(c"shared".as_ptr(), 0) };
        truncate(file, 20);
        write(map_file(20, RW, MAP_SHARED, file, 0), 20, 1);
        read(map_file(20, PROT_READ, MAP_PRIVATE, file, 0), 20);
        let lazy = map(10, RW, ANON);
        write(lazy, 10, 1);
        advise(lazy, 10, libc::MADV_FREE);
        fork_and(|| fork_and(|| fork_and(|| {})));
        // SAFETY: sleeps, until they have begun.
        unsafe { libc::usleep(300_000) };
    })
}

/// Returns a scan that `agrees` with the kernel's sum, and that sum.
///
/// A process that starts or ends shares pages of its files with this one, and so changes the sum
/// for a moment. What is wrong does not agree the next time.
fn agreeing(scanner: &mut Scanner, pid: u32, agrees: impl Fn(&Scanner, &Scan, &str) -> bool) -> (Scan, String) {
    for attempt in 1.. {
        let scan = scanner.scan(pid).unwrap();
        let kernels = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        if agrees(scanner, &scan, &kernels) {
            return (scan, kernels);
        }
        assert!(attempt < 50, "{kernels}, not {}{}", text(scanner, &scan), scan.report());
        scanner.reuse(scan);
    }
    unreachable!()
}

fn text(scanner: &Scanner, scan: &Scan) -> String {
    let mut text = vec![];
    let sum = scan.rollup();
    append(&mut text, 1024, |to| {
        scanner
            .form()
            .write_rollup(sum.start..sum.end, &sum.stats, scan.fields(), to)
    });
    String::from_utf8(text).unwrap()
}

#[test]
fn the_sum_by_plain_is_the_kernels_own_line_for_line() {
    let _alone = scanner();
    let target = sharing();
    for want in [Want::Tables, Want::Pages] {
        let options = Options::new().method(Method::Plain).want(want).sum_alone(true);
        let mut scanner = Scanner::with(options).unwrap();
        let (scan, _) = agreeing(&mut scanner, target.pid(), |scanner, scan, kernels| {
            text(scanner, scan) == kernels
        });
        let report = scan.report();
        assert_eq!(
            (report.rounded, report.left_out.as_slice()),
            (None, &[][..]),
            "{report}"
        );
        assert_eq!((scan.records().count(), scan.has(Field::Size)), (0, false));
        assert!(report.to_string().contains("the sum alone"), "{report}");
    }
}

#[test]
fn a_sum_of_rounded_values_is_said_to_be_one_and_is_off_by_no_more_than_is_said() {
    let _alone = scanner();
    let target = sharing();
    for method in [Method::Boosted, Method::Plain] {
        let mut scanner = match Scanner::with(Options::new().method(method)) {
            Ok(scanner) => scanner,
            Err(why) => {
                eprintln!("skipped: {why}");
                continue;
            }
        };
        let off_by = |scan: &Scan, kernels: &str| -> Vec<(Field, u64)> {
            let line = |line: &str| {
                let (label, value) = line.split_once(':')?;
                let field = Field::parse(label).filter(|&field| scan.has(field))?;
                let value: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
                let ours = scan.rollup().stats.bytes(field)? >> 10;
                // Below 0 it wraps, and is more than any bound.
                Some((field, value.wrapping_sub(ours)))
            };
            kernels.lines().filter_map(line).filter(|&(_, kb)| kb > 0).collect()
        };
        let (scan, kernels) = agreeing(&mut scanner, target.pid(), |_, scan, kernels| {
            let at_most = scan.report().rounded.map_or(0, |rounded| rounded.at_most_bytes >> 10);
            off_by(scan, kernels)
                .iter()
                .all(|(field, kb)| [Field::Pss, Field::PssDirty].contains(field) && *kb <= at_most)
        });
        let report = scan.report();
        let rounded = report.rounded.unwrap();
        let off = off_by(&scan, &kernels);
        // Of four processes' pages there are 39 mappings and more whose share is no whole number of
        // kilobytes.
        assert!(off.iter().any(|&(field, _)| field == Field::Pss), "{off:?}: {report}");
        assert!(Some(rounded.mappings) <= report.mappings);
        // The lines that smaps lacks.
        let lacks: Vec<_> = report.left_out.iter().filter_map(|left_out| left_out.field).collect();
        assert_eq!(lacks, [Field::PssAnon, Field::PssFile, Field::PssShmem], "{report}");
        assert!(
            report
                .left_out
                .iter()
                .all(|l| l.why == Why::SumAlone && l.mappings == 0 && l.of_sum)
        );
        let said = report.to_string();
        assert!(
            said.contains("LEFT OUT: Pss_Anon, Pss_File, Pss_Shmem of the sum (") && said.contains("ROUNDED: "),
            "{said}"
        );
        eprintln!("{said}");
    }
}

#[test]
fn sums_of_whole_pages_are_not_said_to_be_rounded() {
    let bpf = scanner();
    let target = sharing();
    let mut scanner = Scanner::with(Options::new().method(Method::Plain).want(Want::Ranges)).unwrap();
    let scan = scanner.scan(target.pid()).unwrap();
    let report = scan.report();
    assert!(report.rounded.is_none() && report.left_out.is_empty(), "{report}");
    let Some(mut bpf) = bpf else { return };
    let scan = bpf.scan(target.pid()).unwrap();
    let report = scan.report();
    assert!(report.rounded.is_none(), "{report}");
    // Where the machine swaps it may have swapped the target's shared memory out.
    let swaps = fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    assert!(
        report
            .left_out
            .iter()
            .all(|left| swaps && left.line.starts_with("Swap")),
        "nothing is swapped out here, and all lines are known: {report}"
    );
}
