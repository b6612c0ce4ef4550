//! Processes that make a scan hard on purpose. The scan ends, and reports what it is worth.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets map memory

mod targets;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use libc::{MAP_FIXED, MAP_NORESERVE, MAP_SHARED, PROT_NONE, PROT_READ};
use targets::{
    ANON, PAGE, RW, Target, add, assert_ascends, map, map_at, map_file, scanner_for, scanner_with, truncate, unmap,
    write,
};
use vmaple_scan::{Name, Options, Partial, Want};

/// Directories in each other. The last has no path: it would be too long.
struct Deep {
    dir: tempfile::TempDir,
    component: CString,
    depth: usize,
}

impl Deep {
    /// Makes them, with a file in the innermost, which is opened.
    fn new(depth: usize, length: usize) -> (Self, libc::c_int) {
        let dir = tempfile::tempdir().unwrap();
        let component = CString::new("d".repeat(length)).unwrap();
        let top = CString::new(dir.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: the path outlives the call.
        let mut fd = unsafe { libc::open(top.as_ptr(), libc::O_RDONLY) };
        for _ in 0..depth {
            // SAFETY: the name outlives the call.
            unsafe { libc::mkdirat(fd, component.as_ptr(), 0o700) };
            // SAFETY: as above.
            let inner = unsafe { libc::openat(fd, component.as_ptr(), libc::O_RDONLY) };
            assert!(inner >= 0);
            // SAFETY: the descriptor was opened above.
            unsafe { libc::close(fd) };
            fd = inner;
        }
        // SAFETY: the name outlives the call.
        let file = unsafe { libc::openat(fd, c"file".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) };
        assert!(file >= 0);
        truncate(file, 1);
        // SAFETY: the descriptor was opened above.
        unsafe { libc::close(fd) };
        (Self { dir, component, depth }, file)
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        // From the top, as the last cannot be reached: each directory's only child is moved up next
        // to it.
        let top = CString::new(self.dir.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: the path outlives the call.
        let fd = unsafe { libc::open(top.as_ptr(), libc::O_RDONLY) };
        let [old, new] = [c"old", c"new"];
        for _ in 0..self.depth {
            // SAFETY: the names outlive the calls.
            unsafe { libc::renameat(fd, self.component.as_ptr(), fd, old.as_ptr()) };
            // SAFETY: as above.
            let inner = unsafe { libc::openat(fd, old.as_ptr(), libc::O_RDONLY) };
            // SAFETY: as above.
            unsafe { libc::renameat(inner, self.component.as_ptr(), fd, new.as_ptr()) };
            // SAFETY: as above.
            unsafe { libc::unlinkat(inner, c"file".as_ptr(), 0) };
            // SAFETY: as above.
            unsafe { libc::unlinkat(fd, old.as_ptr(), libc::AT_REMOVEDIR) };
            // SAFETY: as above.
            unsafe { libc::renameat(fd, new.as_ptr(), fd, self.component.as_ptr()) };
            // SAFETY: the descriptor was opened above.
            unsafe { libc::close(inner) };
        }
        // SAFETY: the descriptor was opened above.
        unsafe { libc::close(fd) };
    }
}

#[test]
fn paths_that_are_too_long_are_cut_which_is_said_and_are_kept_once() {
    for (depth, length) in [(600, 5), (100, 250)] {
        let (deep, file) = Deep::new(depth, length);
        let top = CString::new(deep.dir.path().join("other").as_os_str().as_bytes()).unwrap();
        let Some(mut scanner) = scanner_for(Want::Ranges) else {
            return;
        };
        let target = Target::new(|| {
            // SAFETY: the path outlives the call.
            let other = unsafe { libc::open(top.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600) };
            truncate(other, 1);
            for i in 0..3_000 {
                map_file(1, PROT_READ, MAP_SHARED, if i % 2 == 0 { file } else { other }, 0);
            }
        });
        let scan = scanner.scan(target.pid()).unwrap();
        let (mut cut, mut whole) = (0, 0);
        let mut places = vec![];
        for record in scan.records() {
            let Name::Path(path) = record.mapping.vma.name else {
                continue;
            };
            if path.starts_with(b"(cut)") && path.ends_with(b"/file") {
                assert!(path.len() <= 4096 + 300, "{} bytes", path.len());
                places.push(path.as_ptr());
                cut += 1;
            } else if path.ends_with(b"/other") {
                whole += 1;
            }
        }
        let report = scan.report();
        assert_eq!(report.cut_names, Some(cut), "{report}");
        places.dedup();
        assert_eq!((cut, whole, places.len()), (1_500, 1_500, 1));
        // SAFETY: the descriptor was opened above.
        unsafe { libc::close(file) };
    }
}

#[test]
fn a_process_that_maps_and_unmaps_with_all_its_threads_is_scanned_to_the_end() {
    const PAGES: usize = 20_000;
    let options = Options::new().want(Want::Tables).limit(Duration::from_secs(60));
    let Some(mut scanner) = scanner_with(options) else {
        return;
    };
    let region = map(PAGES, PROT_NONE, ANON | MAP_NORESERVE);
    let target = Target::with_word(|ready| {
        for page in (0..PAGES).step_by(3) {
            map_at(add(region, page), 1, RW, ANON | MAP_FIXED, -1, 0);
        }
        for seed in 0..3_usize {
            let stack = add(map(16, RW, ANON), 16);
            let flags = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
            // SAFETY: on a stack of its own, with a number for a pointer.
            unsafe { libc::clone(churn, stack.cast(), flags, add(region, seed).cast()) };
        }
        ready();
        churn(region.cast());
    });
    unmap(region, PAGES);
    for _ in 0..5 {
        let scan = scanner.scan(target.pid()).unwrap();
        let report = scan.report();
        assert_ascends(&scan);
        assert_eq!(report.partial, None, "{report}");
        assert!(scan.rollup().mappings > PAGES as u64 / 10, "{report}");
        // What was not read at one instant is reported.
        assert_eq!(
            report.unvalidated,
            Some(scan.records().filter(|record| !record.is_validated).count())
        );
        eprintln!("{report}");
        scanner.reuse(scan);
    }
}

/// Maps and unmaps pages from here on, forever.
extern "C" fn churn(from: *mut libc::c_void) -> libc::c_int {
    let mut seed = from.addr() as u64 | 1;
    loop {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = add(from.cast(), (seed >> 33) as usize % 5_000 * 3);
        if seed & 1 << 20 == 0 {
            map_at(at, 1, RW, ANON | MAP_FIXED, -1, 0);
        } else {
            unmap(at, 1);
        }
    }
}

#[test]
fn a_sparse_terabyte_is_scanned_in_parts_each_of_which_is_true() {
    let target = Target::new(|| {
        let sparse = map(1 << 28, RW, ANON | MAP_NORESERVE);
        for gib in 0..1024 {
            write(add(sparse, gib << 18), 2, 1);
        }
    });
    let with = |limit| scanner_with(Options::new().limit(limit).budget(Duration::from_micros(20)));
    let whole = {
        let Some(mut scanner) = with(Duration::MAX) else { return };
        let scan = scanner.scan(target.pid()).unwrap();
        assert_eq!(scan.report().partial, None);
        assert!(scan.report().runs > 1);
        scan.rollup()
    };
    assert!(whole.stats.rss >= (2048 * PAGE) as u64);
    let Some(mut scanner) = with(Duration::from_nanos(1)) else {
        return;
    };
    let scan = scanner.scan(target.pid()).unwrap();
    let Some(Partial::OutOfTime(below)) = scan.report().partial else {
        panic!("{}", scan.report())
    };
    assert!(scan.records().all(|record| record.mapping.vma.end <= below));
    assert!(scan.rollup().stats.rss <= whole.stats.rss);
}
