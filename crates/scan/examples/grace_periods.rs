//! Measures RCU's grace periods next to a scan that shares its CPU with busy tasks.
//!
//! `grace_periods SECONDS BUSY`.
//!
//! Where the kernel is preemptible (boot with `preempt=full`) a run that loses its CPU holds them
//! back. The scanner runs at nice 15 on CPU 1 next to BUSY tasks; CPU 0 asks for grace periods by
//! membarrier(2). It is measured once without a scan, once with one, and once with one that may not
//! raise its priority (without CAP_SYS_NICE). It needs root and two CPUs.

#![allow(unsafe_code)] // system calls that have no safe form here

use std::io::{PipeWriter, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vmaple_scan::{Method, Options, Scanner};

const MAPPINGS: usize = 20_000;
const SYS_NICE: u32 = 1 << 23;

#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Scan,
    ScanWithoutSysNice,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().unwrap_or(0_u64));
    let seconds = arguments.next().unwrap_or(10).max(1);
    let busy = arguments.next().unwrap_or(20);
    pin(0);
    let target = child(|| {
        for i in 0..MAPPINGS {
            let prot = if i % 2 == 0 {
                libc::PROT_READ
            } else {
                libc::PROT_READ | libc::PROT_WRITE
            };
            // SAFETY: new memory at an address of the kernel's choice.
            unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    prot,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
        }
        loop {
            // SAFETY: sleeps.
            unsafe { libc::pause() };
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let busy: Vec<_> = (0..busy)
        .map(|_| {
            child(|| {
                pin(1);
                loop {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    println!("| beside | grace periods | p50 ms | p99 ms | longest ms |\n|---|--:|--:|--:|--:|");
    for round in 1..=2 {
        for beside in [Beside::Nothing, Beside::Scan, Beside::ScanWithoutSysNice] {
            let scanner = (beside != Beside::Nothing).then(|| {
                let (mut ready, tell) = std::io::pipe().expect("a pipe");
                let scanner = child(|| scan(target, beside, tell));
                let _ = ready.read(&mut [0]);
                scanner
            });
            let mut lengths = vec![];
            let end = Instant::now() + Duration::from_secs(seconds);
            while Instant::now() < end {
                let begin = Instant::now();
                // SAFETY: `MEMBARRIER_CMD_GLOBAL`, which waits for a grace period.
                if unsafe { libc::syscall(libc::SYS_membarrier, 1, 0, 0) } != 0 {
                    eprintln!("membarrier: {}", std::io::Error::last_os_error());
                    return ExitCode::FAILURE;
                }
                lengths.push(begin.elapsed());
            }
            scanner.into_iter().for_each(end_child);
            lengths.sort();
            let at = |part: f64| lengths[((lengths.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
            let name = match beside {
                Beside::Nothing => "nothing",
                Beside::Scan => "scan",
                Beside::ScanWithoutSysNice => "scan without CAP_SYS_NICE",
            };
            println!(
                "| {round}: {name} | {} | {:.1} | {:.1} | {:.1} |",
                lengths.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
    }
    busy.into_iter().chain([target]).for_each(end_child);
    ExitCode::SUCCESS
}

/// Scans until it is killed.
///
/// It starts at normal priority, as the start costs more than many scans.
fn scan(target: libc::pid_t, beside: Beside, mut ready: PipeWriter) {
    if beside == Beside::ScanWithoutSysNice {
        const HEADER: [u32; 2] = [0x2008_0522, 0];
        let mut data = [0_u32; 6];
        // SAFETY: header and data live on, and have the form of version 3.
        unsafe { libc::syscall(libc::SYS_capget, HEADER.as_ptr(), data.as_mut_ptr()) };
        data[0] &= !SYS_NICE;
        data[1] &= !SYS_NICE;
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    }
    let options = Options::new().method(Method::Bpf);
    let mut scanner = match Scanner::with(options) {
        Ok(scanner) => scanner,
        Err(e) => {
            eprintln!("{e}");
            return;
        }
    };
    let _ = ready.write(&[1]);
    pin(1);
    // SAFETY: of this process alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 15) };
    while let Ok(scan) = scanner.scan(target.cast_unsigned()) {
        scanner.reuse(scan);
    }
}

fn child(run: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: of the child alone.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            run();
            std::process::exit(0)
        }
        pid => pid,
    }
}

fn end_child(pid: libc::pid_t) {
    // SAFETY: a child that was not waited for keeps its number.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    // SAFETY: a null pointer, as the status is not wanted.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

fn pin(cpu: usize) {
    // SAFETY: of this type zeros are a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a number below the set's size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: of the calling thread alone; a set that lives on.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}
