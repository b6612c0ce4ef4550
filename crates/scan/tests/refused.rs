//! Processes without a memory map are told apart.
//!
//! One whose first thread has ended is read by another.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // targets end threads

mod targets;

use std::fs;
use std::process::Command;

use targets::{ANON, RW, Target, map, map_many, scanner, write};
use vmaple_scan::{Counter, Counters, Error, Method, Options, Scanner, Want};

/// Returns a scanner by each method that is possible here.
fn scanners() -> impl Iterator<Item = Scanner> {
    let with = |method| Scanner::with(Options::new().method(method));
    Method::ALL.iter().filter_map(move |&method| with(method).ok())
}

#[test]
fn a_kernel_thread_is_called_one_by_every_method() {
    let is_kernel_thread = |stat: &str| stat.split_whitespace().nth(8).and_then(|flags| flags.parse().ok());
    let stat = fs::read_to_string("/proc/2/stat").unwrap_or_default();
    if is_kernel_thread(&stat).is_none_or(|flags: u64| flags & 0x0020_0000 == 0) {
        eprintln!("skipped: process 2 is no kernel thread here");
        return;
    }
    for mut scanner in scanners() {
        let error = scanner.scan(2).unwrap_err();
        assert!(matches!(error, Error::KernelThread(2)), "{}: {error}", scanner.method());
        assert!(!error.is_gone() && error.pid() == Some(2));
    }
    assert!(matches!(Counters::of(2), Err(Error::KernelThread(2))));
}

#[test]
fn a_process_that_nobody_waited_for_is_a_zombie_by_every_method() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    while !fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") Z ")
    {
        std::thread::yield_now();
    }
    for mut scanner in scanners() {
        let error = scanner.scan(pid).unwrap_err();
        assert!(
            matches!(error, Error::Zombie(p) if p == pid),
            "{}: {error}",
            scanner.method()
        );
    }
    assert!(matches!(Counters::of(pid), Err(Error::Zombie(p)) if p == pid));
    child.wait().unwrap();
    for mut scanner in scanners() {
        assert!(matches!(scanner.scan(pid), Err(Error::NoProcess(p)) if p == pid));
    }
}

#[test]
fn a_process_that_is_being_killed_is_never_called_a_kernel_thread() {
    let Some(mut scanner) = scanner() else { return };
    let mut exiting = 0;
    for _ in 0..10 {
        // Freeing them takes a while.
        let target = Target::new(|| map_many(20_000));
        target.kill();
        loop {
            match scanner.scan(target.pid()) {
                // The signal has not come yet, or the process executed nothing.
                Ok(_) => {}
                Err(Error::Exiting(pid)) => {
                    assert_eq!(pid, target.pid());
                    exiting += 1;
                }
                Err(Error::Zombie(_)) => break,
                Err(error) => assert!(error.is_gone(), "{error}"),
            }
        }
    }
    eprintln!("{exiting} scans of a process whose memory was gone already");
}

/// Ends the calling thread of a target, which has one, and leaves another that sleeps.
fn end_first_thread(tell: &dyn Fn()) -> ! {
    extern "C" fn sleep(_: *mut libc::c_void) -> libc::c_int {
        loop {
            // SAFETY: sleeps.
            unsafe { libc::pause() };
        }
    }
    const PAGES: usize = 16;
    let stack = targets::add(map(PAGES, RW, ANON), PAGES);
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    // SAFETY: the stack is the new thread's own, and it makes system calls alone.
    let thread = unsafe { libc::clone(sleep, stack.cast(), flags, std::ptr::null_mut()) };
    if thread > 0 {
        tell();
    }
    // SAFETY: ends this thread.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

#[test]
fn a_process_whose_first_thread_has_ended_is_read_by_another() {
    let _alone = scanner();
    let target = Target::with_word(|tell| {
        write(map(300, RW, ANON), 300, 1);
        end_first_thread(tell);
    });
    let pid = target.pid();
    while !fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") Z ")
    {
        std::thread::yield_now();
    }
    let threads: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .filter(|&thread| thread != pid)
        .collect();
    for want in [Want::Ranges, Want::Tables, Want::Pages] {
        for method in [Method::Bpf, Method::Boosted, Method::Plain] {
            let Ok(mut scanner) = Scanner::with(Options::new().method(method).want(want)) else {
                continue;
            };
            let scan = scanner.scan(pid).unwrap();
            let report = scan.report();
            assert_eq!(scan.pid(), pid);
            assert_eq!(report.thread.as_slice(), threads, "{report}");
            assert!(report.to_string().contains("the first thread has ended"), "{report}");
            assert!(scan.records().count() > 3);
            assert!(want == Want::Ranges || scan.rollup().stats.rss >= 300 << 12);
        }
    }
    let counters = Counters::of(pid).unwrap();
    assert!(counters.get(Counter::Rss).unwrap() > 0);
}
