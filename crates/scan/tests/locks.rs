//! A scan takes no lock of the process.
//!
//! The kernel's tracepoint counts none, and the program calls no function that could take one.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod targets;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use targets::{ANON, RW, Target, map, map_many, scanner_for, write};
use vmaple_scan::{Acquisitions, Process, Want};

/// A counter of this thread's acquisitions of any `mmap_lock`.
fn counter() -> Result<Counter, String> {
    let tracefs = openat(CWD, "/sys/kernel/tracing/events", OFlags::PATH, Mode::empty()).is_ok();
    let dir = if tracefs {
        openat(
            CWD,
            "/sys/kernel/tracing",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    } else {
        // The mount has no path.
        fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|fs| {
            fsconfig_create(&fs)?;
            fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        })
    };
    let dir: OwnedFd = dir.map_err(|e| format!("tracefs: {e}"))?;
    let id = openat(
        &dir,
        "events/mmap_lock/mmap_lock_acquire_returned/id",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let mut text = String::new();
    let read = id
        .map_err(std::io::Error::from)
        .and_then(|id| File::from(id).read_to_string(&mut text));
    read.map_err(|e| format!("the tracepoint: {e}"))?;
    let id = text
        .trim()
        .parse()
        .map_err(|e| format!("the tracepoint's number: {e}"))?;
    let counter = Builder::new(Tracepoint::with_id(id)).include_kernel().build();
    let mut counter = counter.map_err(|e| format!("counting: {e}"))?;
    counter.enable().map_err(|e| format!("counting: {e}"))?;
    Ok(counter)
}

#[test]
fn no_mmap_lock_is_acquired_not_even_our_own() {
    let mut counter = match counter() {
        Ok(counter) => counter,
        Err(why) => {
            eprintln!("skipped: {why}; run as root, on Linux 5.11 or later with tracefs");
            return;
        }
    };
    for want in [Want::Ranges, Want::Tables, Want::Pages] {
        let Some(mut scanner) = scanner_for(want) else { return };
        let target = Target::new(|| {
            map_many(3_000);
            write(map(20_000, RW, ANON), 20_000, 1);
        });
        // After some rounds the scanner's own memory is there. Before Linux 6.4 a page fault takes
        // the mmap_lock of this process.
        let mut rounds = (0..10).map(|_| {
            let before = counter.read().unwrap();
            for _ in 0..20 {
                let scan = scanner.scan(target.pid()).unwrap();
                assert!(scan.rollup().mappings >= 3_000);
                assert_eq!(scan.report().mmap_lock, Acquisitions::None);
                scanner.reuse(scan);
                let process = Process::open(target.pid()).unwrap();
                assert!(scanner.arguments(&process).unwrap().is_some());
            }
            counter.read().unwrap() - before
        });
        let scanning = rounds.find(|&acquired| acquired == 0);
        drop(rounds);
        // This file takes it on all kernels: smaps does not from 7.x on.
        let rollup = format!("/proc/{}/smaps_rollup", target.pid());
        let before = counter.read().unwrap();
        File::open(&rollup).unwrap().read_to_string(&mut String::new()).unwrap();
        let reading = counter.read().unwrap() - before;
        eprintln!("{want:?}: reading smaps_rollup once takes mmap_lock {reading} times");
        assert!(reading > 0, "the counter counts");
        assert_eq!(scanning, Some(0), "20 scans without an acquisition");
    }
}

/// Returns the numbers of the helper functions that the object's programs call.
///
/// It also returns whether they call other functions of the kernel.
fn calls(object: &[u8]) -> (Vec<u32>, bool) {
    const PROGBITS: u32 = 1;
    const EXECINSTR: u64 = 4;
    const CALL: u8 = 0x85;
    const WIDE_LOAD: u8 = 0x18;
    const KFUNC: u8 = 2;
    let number = |at: usize, bytes: usize| {
        object[at..at + bytes]
            .iter()
            .rev()
            .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
    };
    let (sections, section_bytes, count) = (number(40, 8), number(58, 2), number(60, 2));
    let (mut helpers, mut kfuncs) = (vec![], false);
    for section in 0..count {
        let header = (sections + section * section_bytes) as usize;
        if number(header + 4, 4) as u32 != PROGBITS || number(header + 8, 8) & EXECINSTR == 0 {
            continue;
        }
        let begin = number(header + 24, 8) as usize;
        let code = &object[begin..begin + number(header + 32, 8) as usize];
        let mut code = code.chunks_exact(8);
        while let Some(instruction) = code.next() {
            match (instruction[0], instruction[1] >> 4) {
                (CALL, 0) => helpers.push(u32::from_le_bytes(instruction[4..].try_into().unwrap())),
                (CALL, KFUNC) => kfuncs = true,
                (WIDE_LOAD, _) => drop(code.next()),
                _ => {}
            }
        }
    }
    helpers.sort_unstable();
    helpers.dedup();
    (helpers, kfuncs)
}

#[test]
fn the_program_calls_nothing_that_takes_a_lock_waits_or_writes_to_the_kernel() {
    // By the numbers in linux/bpf.h: the VMA locks have no tracepoint, so this stands for them.
    const MAP_LOOKUP_ELEM: u32 = 1;
    const KTIME_GET_NS: u32 = 5;
    const GET_CURRENT_TASK: u32 = 35;
    const PROBE_READ_KERNEL: u32 = 113;
    const PROBE_READ_KERNEL_STR: u32 = 115;
    const LOOP: u32 = 181;
    // Of kernel.h: the loader makes bpf_rdonly_cast() of it, which the verifier replaces by its
    // argument.
    const AS_WORDS: u32 = 0x766d_0001;
    let allowed = [
        MAP_LOOKUP_ELEM,
        KTIME_GET_NS,
        GET_CURRENT_TASK,
        PROBE_READ_KERNEL,
        PROBE_READ_KERNEL_STR,
        LOOP,
    ];
    let objects: [(&[u8], _); 2] = [
        (include_bytes!("../bpf/loads.bpf.o"), &[AS_WORDS][..]),
        (include_bytes!("../bpf/copies.bpf.o"), &[]),
    ];
    for (object, more) in objects {
        let (helpers, kfuncs) = calls(object);
        assert_eq!(helpers, [&allowed, more].concat());
        assert!(!kfuncs);
    }
}
