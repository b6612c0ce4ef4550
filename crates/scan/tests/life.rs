//! Processes that end, execute other programs, or whose number becomes another's, while they are
//! scanned.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets map memory

mod targets;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use targets::{ANON, RW, Target, assert_ascends, assert_equal, map, scanner, scanner_for, write};
use vmaple_scan::{Counter, Counters, Error, Method, Options, Process, Scanner, Want};

#[test]
fn a_number_that_is_nobodys_and_a_kernel_thread_are_errors() {
    let Some(mut scanner) = scanner() else { return };
    assert!(matches!(scanner.scan(u32::MAX), Err(Error::NoProcess(_))));
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    // A zombie has no memory map.
    while !std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") Z ")
    {
        std::thread::yield_now();
    }
    assert!(matches!(scanner.scan(pid), Err(Error::Zombie(p)) if p == pid));
    assert!(matches!(Process::open(pid), Err(Error::NoProcess(p)) if p == pid));
    child.wait().unwrap();
    assert!(matches!(scanner.scan(pid), Err(Error::NoProcess(p)) if p == pid));
    let kernel_thread = 2;
    if std::fs::read(format!("/proc/{kernel_thread}/maps")).is_ok_and(|maps| maps.is_empty()) {
        assert!(matches!(scanner.scan(kernel_thread), Err(Error::KernelThread(2))));
    }
    // The scanner is as good as before.
    assert_equal(&mut scanner, Target::new(|| {}).pid());
}

#[test]
fn a_process_that_is_killed_during_a_scan_leaves_a_whole_result_or_none() {
    let Some(mut scanner) = scanner() else { return };
    let mut none = 0;
    for round in 0..30 {
        let target = Target::new(|| {
            for i in 0..5_000 {
                write(map(2, RW, ANON), 1 + i % 2, 1);
                map(1, 0, ANON);
            }
        });
        let pid = target.pid();
        let whole = scanner.scan(pid).unwrap();
        let elapsed = whole.report().elapsed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(elapsed * round / 30);
                target.kill();
            });
            match scanner.scan(pid) {
                Ok(scan) => {
                    assert_ascends(&scan);
                    let report = scan.report();
                    assert_eq!(report.partial, None);
                    assert_eq!(scan.rollup().mappings, whole.rollup().mappings, "{report}");
                }
                Err(e) if e.is_gone() => none += 1,
                Err(e) => panic!("{e}"),
            }
        });
    }
    eprintln!("{none} none of 30");
}

#[test]
fn a_scan_is_of_one_program_though_the_process_executes_others() {
    let Some(mut scanner) = scanner_for(Want::Ranges) else {
        return;
    };
    // It executes itself again and again: with dash, then with bash, which are mapped differently.
    let script = "n=$1; [ $n -gt 0 ] || exit 0; exec $2 -c \"$0\" \"$0\" $((n-1)) $3 $2";
    let mut child = Command::new("sh")
        .args(["-c", script, script, "400", "bash", "sh"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut scans, mut executed) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        match scanner.scan(child.id()) {
            Ok(scan) => {
                assert_ascends(&scan);
                assert!(scan.rollup().mappings > 0, "{:?}", scan.report());
                let count = |what: &str| {
                    scan.records()
                        .filter(|r| r.mapping.vma.name.to_string().contains(what))
                        .count()
                };
                assert!(count("[stack]") <= 1 && count("[vdso]") <= 1, "{:?}", scan.report());
                // While a program is being set up it has no mapping of its file yet.
                assert!(
                    count("/bin/bash") == 0 || count("/bin/dash") == 0,
                    "two programs in one scan"
                );
                scans += 1;
            }
            Err(Error::Executed(_)) => executed += 1,
            Err(e) if e.is_gone() => {}
            Err(e) => panic!("{e}"),
        }
    }
    eprintln!("{scans} scans, {executed} of a process that executed another program during them");
    assert!(scans > 0);
}

#[test]
fn the_next_process_of_a_number_is_another() {
    let Some(mut scanner) = scanner() else { return };
    let last = "/proc/sys/kernel/ns_last_pid";
    let first = Target::new(|| write(map(100, RW, ANON), 100, 1));
    let pid = first.pid();
    let before = scanner.scan(pid).unwrap().rollup().stats.rss;
    drop(first);
    for _ in 0..1_000 {
        if std::fs::write(last, (pid - 1).to_string()).is_err() {
            eprintln!("skipped: {last} is not to be written");
            return;
        }
        let second = Target::new(|| write(map(5_000, RW, ANON), 5_000, 1));
        if second.pid() == pid {
            let scan = assert_equal(&mut scanner, pid);
            assert!(scan.rollup().stats.rss > before + (4_000 << 12));
            return;
        }
    }
    eprintln!("skipped: the number was not given again");
}

#[test]
fn a_process_that_is_held_open_is_never_the_next_of_its_number_by_any_method() {
    let last = "/proc/sys/kernel/ns_last_pid";
    let _alone = scanner();
    let mut scanners: Vec<_> = Method::ALL
        .iter()
        .filter_map(|&method| {
            Scanner::with(Options::new().method(method))
                .inspect_err(|why| eprintln!("{why}"))
                .ok()
        })
        .collect();
    let first = Target::new(|| {});
    let pid = first.pid();
    let process = Process::open(pid).unwrap();
    assert!(!process.has_ended());
    for scanner in &mut scanners {
        let scan = scanner.scan_process(&process).unwrap();
        assert_eq!(scan.pid(), pid);
    }
    // Until its parent has waited for it the process keeps its number, and has no memory.
    first.kill();
    while !process.has_ended() {
        std::thread::yield_now();
    }
    let ended = |scanners: &mut [Scanner]| {
        for scanner in scanners {
            let method = scanner.method();
            let scan = scanner.scan_process(&process);
            let error = scan.expect_err(method.name());
            assert!(error.is_gone() && error.pid() == Some(pid), "{method}: {error}");
        }
        assert!(process.has_ended());
    };
    ended(&mut scanners);
    drop(first);
    ended(&mut scanners);
    assert!(process.read_file("stat").is_err());
    for _ in 0..1_000 {
        if std::fs::write(last, (pid - 1).to_string()).is_err() {
            eprintln!("skipped in part: {last} is not to be written");
            return;
        }
        let second = Target::new(|| {});
        if second.pid() == pid {
            ended(&mut scanners);
            assert!(process.read_file("stat").is_err());
            assert!(!Process::open(pid).unwrap().has_ended());
            return;
        }
    }
    eprintln!("skipped in part: the number was not given again");
}

#[test]
fn a_thread_is_scanned_by_its_own_number_while_it_runs() {
    let Some(mut scanner) = scanner() else { return };
    let (tell, number) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        tell.send(own_number()).unwrap();
        let _ = ended.recv();
    });
    let tid = number.recv().unwrap();
    assert_ne!(tid, std::process::id());
    let process = Process::open(tid).unwrap();
    assert!(scanner.scan_process(&process).unwrap().rollup().mappings > 5);
    drop(end);
    thread.join().unwrap();
    while !process.has_ended() {
        std::thread::yield_now();
    }
    assert!(matches!(scanner.scan_process(&process), Err(Error::NoProcess(_))));
}

fn own_number() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

#[test]
fn a_thousand_processes_one_after_the_other_leave_nothing_behind() {
    let Some(mut scanner) = scanner_for(Want::Tables) else {
        return;
    };
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let anonymous = || Counters::of(std::process::id()).unwrap().get(Counter::RssAnon).unwrap();
    let (mut fds_before, mut bytes_before) = (0, 0);
    for i in 0..1_000 {
        if i == 100 {
            (fds_before, bytes_before) = (fds(), anonymous());
        }
        let target = Target::new(|| write(map(10, RW, ANON), 10, 1));
        let scan = scanner.scan(target.pid()).unwrap();
        assert!(scan.rollup().mappings > 5, "process {i}");
        assert_ascends(&scan);
        // With and without its memory for the next.
        if i % 2 == 0 {
            scanner.reuse(scan);
        }
    }
    assert_eq!(fds(), fds_before);
    let more = anonymous().saturating_sub(bytes_before);
    assert!(more < 1 << 20, "{more} bytes more after 900 scans");
}

#[test]
fn a_copy_of_the_process_is_told_to_make_a_scanner_of_its_own() {
    let Some(mut scanner) = scanner() else {
        return;
    };
    let scanned = Target::new(|| {});
    // SAFETY: the child allocates, which no other thread does while this test is alone.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let is_told = matches!(scanner.scan(scanned.pid()), Err(Error::Failed { why, .. }) if why.contains("fork"));
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(if is_told { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's, and the status has a place.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    assert_equal(&mut scanner, scanned.pid());
}

#[test]
fn a_scan_of_a_process_with_many_threads_and_of_ourselves() {
    let Some(mut scanner) = scanner() else { return };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    std::hint::black_box(vec![1_u8; 1 << 20]);
                }
            });
        }
        for _ in 0..50 {
            let scan = scanner.scan(std::process::id()).unwrap();
            assert_ascends(&scan);
            let here = std::ptr::from_ref(&stop).addr() as u64;
            assert_eq!(
                scan.records()
                    .filter(|r| (r.mapping.vma.new_from..r.mapping.vma.end).contains(&here))
                    .count(),
                1
            );
            scanner.reuse(scan);
        }
        stop.store(true, Relaxed);
    });
}

/// A process that is executing or ending may exist while its memory is gone.
///
/// The kernel's text then ends where it was.
#[test]
fn a_text_of_memory_that_is_gone_is_not_whole() {
    // Another test counts this process's descriptors.
    let _alone = scanner();
    let options = Options::new().method(Method::Plain).want(Want::Ranges);
    let mut scanner = Scanner::with(options).unwrap();
    // Longer than what is read at once.
    let target = Target::new(|| targets::map_many(6_000));
    let mut whole = 0;
    let mut none = 0;
    let elapsed = scanner.scan(target.pid()).unwrap().report().elapsed;
    for round in 0..40 {
        let target = Target::new(|| targets::map_many(6_000));
        let pid = target.pid();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(elapsed * round / 40);
                target.kill();
            });
            match scanner.scan(pid) {
                Ok(scan) => {
                    whole += 1;
                    assert!(scan.rollup().mappings >= 6_000, "{:?}", scan.report());
                }
                Err(Error::Executed(_)) => none += 1,
                Err(e) if e.is_gone() => none += 1,
                Err(e) => panic!("{e}"),
            }
        });
    }
    eprintln!("{whole} whole, {none} none of 40");
}
