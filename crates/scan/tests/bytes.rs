//! Names of processes and paths are any bytes, and no obstacle.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets name themselves

mod targets;

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use targets::{ANON, RW, Target, advise, assert_equal, copy_program, map, scanner, write};
use vmaple_scan::{Counter, Counters, Method, Options, Scanner, Want};

/// Names as the kernel has them. They are cut within a letter, have bytes that begin none, and ends
/// of lines.
const NAMES: [&CStr; 4] = [
    c"\xd0\xbf\xd1\x80\xd0\xb8\xd0\xbb\xd0\xbe\xd0\xb6\xd0\xb5\xd0",
    c"\xff\xfe\x80",
    c"a) R 1 (b\n\xc3",
    c"State:\tZ\nVmRSS",
];

#[test]
fn a_process_with_a_name_of_any_bytes_is_scanned_by_every_method() {
    let mut bpf = scanner();
    for name in NAMES {
        let target = Target::new(|| {
            // SAFETY: the name outlives the call.
            unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
            write(map(50, RW, ANON), 50, 1);
            // A scan of huge pages reads status.
            let huge = map(1024, RW, ANON);
            advise(huge, 1024, libc::MADV_HUGEPAGE);
        });
        let pid = target.pid();
        if let Some(bpf) = &mut bpf {
            assert_equal(bpf, pid);
        }
        let rss = Counters::of(pid).unwrap().get(Counter::Rss).unwrap();
        assert!(rss >= 50 << 12, "{name:?}: {rss}");
        for &method in Method::ALL {
            for want in [Want::Counters, Want::Ranges, Want::Pages] {
                let Ok(mut scanner) = Scanner::with(Options::new().method(method).want(want)) else {
                    continue;
                };
                scanner.scan(pid).unwrap_or_else(|e| panic!("{method}, {name:?}: {e}"));
            }
        }
    }
}

const AGAIN: &str = "VMAPLE_TEST_AGAIN";

#[test]
fn a_scanner_whose_own_name_and_path_are_any_bytes_is_none_the_worse() {
    if std::env::var_os(AGAIN).is_some() {
        // The name of the main thread is the process's.
        fs::write("/proc/self/comm", b"\xff\xd0").unwrap();
        let Some(mut scanner) = scanner() else { return };
        let scan = assert_equal(&mut scanner, Target::new(|| {}).pid());
        let path = std::env::current_exe().unwrap();
        let is_ours = |name: &vmaple_scan::Name<'_>| *name == vmaple_scan::Name::Path(path.as_os_str().as_bytes());
        assert!(scan.records().any(|record| is_ours(&record.mapping.vma.name)));
        return;
    }
    let _alone = scanner();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(OsStr::from_bytes(b"caf\xe9 \xff"));
    copy_program(&std::env::current_exe().unwrap(), &path);
    let output = Command::new(&path)
        .arg0("test") // which the test harness takes for UTF-8
        .args([
            "--exact",
            "a_scanner_whose_own_name_and_path_are_any_bytes_is_none_the_worse",
            "--nocapture",
        ])
        .env(AGAIN, "")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    eprint!("{text}");
}
