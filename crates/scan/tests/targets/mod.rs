//! The processes that tests scan, and the scanner.

#![allow(dead_code)] // each test file uses its own part
#![allow(unsafe_code)] // targets are made by fork(2), and map memory

use std::fs;
use std::io::Read;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmaple_scan::{Error, FieldSet, MemSizeStats, Method, Options, Partial, Scan, Scanner, Validation, Want, append};
use vmaple_smaps::walk::{Page, Walk};

pub(crate) const PAGE: usize = 4096;
pub(crate) const HUGE: usize = 2 << 20;
pub(crate) const RW: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
pub(crate) const ANON: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
pub(crate) const SHARED: libc::c_int = libc::MAP_SHARED | libc::MAP_ANONYMOUS;

/// A scanner, for one test at a time.
///
/// Targets of another test are copies of this process too, and would share its pages.
pub(crate) struct Alone {
    scanner: Scanner,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Scanner;

    fn deref(&self) -> &Scanner {
        &self.scanner
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Scanner {
        &mut self.scanner
    }
}

/// Returns a scanner by the BPF program; `None`, with a message, where that is unavailable.
pub(crate) fn scanner() -> Option<Alone> {
    scanner_for(Want::Pages)
}

pub(crate) fn scanner_for(want: Want) -> Option<Alone> {
    scanner_with(Options::new().want(want))
}

pub(crate) fn scanner_with(options: Options) -> Option<Alone> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match Scanner::with(options.method(Method::Bpf)) {
        Ok(scanner) => Some(Alone { scanner, _alone: alone }),
        Err(Error::NotPossible(why)) => {
            // SAFETY: asks for the user's number.
            let is_root = unsafe { libc::geteuid() } == 0;
            let may = is_root && fs::exists("/sys/kernel/btf/vmlinux").unwrap() && cfg!(target_arch = "x86_64");
            assert!(!may, "root, and a kernel that describes its types: {why}");
            eprintln!("skipped: {why}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// A process of its own, which ends when this is dropped.
pub(crate) struct Target(libc::pid_t);

impl Target {
    /// Starts a copy of this process that calls `make` and sleeps; returns once it sleeps.
    ///
    /// `make` must neither allocate nor print: another thread may have held a lock.
    pub(crate) fn new(make: impl FnOnce()) -> Self {
        Self::with_word(|tell| {
            make();
            tell();
            loop {
                // SAFETY: sleeps.
                unsafe { libc::pause() };
            }
        })
    }

    /// Starts a copy of this process that calls `run`; returns once `run` calls its argument.
    pub(crate) fn with_word(run: impl FnOnce(&dyn Fn())) -> Self {
        let (mut ready, tell) = std::io::pipe().unwrap();
        // SAFETY: the child does nothing that another thread could have locked.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: system calls alone.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let fd = tell.as_raw_fd();
                run(&|| {
                    // SAFETY: the byte outlives the call.
                    unsafe { libc::write(fd, [1_u8].as_ptr().cast(), 1) };
                });
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(0) }
            }
            pid => {
                assert!(pid > 0);
                drop(tell);
                let target = Self(pid);
                assert_eq!(ready.read(&mut [0]).unwrap(), 1, "the target ended");
                target
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.cast_unsigned()
    }

    pub(crate) fn kill(&self) {
        // SAFETY: a child that has not been waited for keeps its number.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
        // SAFETY: a null pointer, as the status is not wanted.
        unsafe { libc::waitpid(self.0, null_mut(), 0) };
    }
}

/// Maps `pages` pages anywhere. It is for targets: it ends the process if there is no memory.
pub(crate) fn map(pages: usize, prot: libc::c_int, flags: libc::c_int) -> *mut u8 {
    map_file(pages, prot, flags, -1, 0)
}

pub(crate) fn map_file(pages: usize, prot: libc::c_int, flags: libc::c_int, fd: libc::c_int, page: usize) -> *mut u8 {
    map_at(null_mut(), pages, prot, flags, fd, page)
}

pub(crate) fn map_at(
    at: *mut u8,
    pages: usize,
    prot: libc::c_int,
    flags: libc::c_int,
    fd: libc::c_int,
    page: usize,
) -> *mut u8 {
    // SAFETY: at an address of the kernel's choice, or at one that the test's target has for
    // itself.
    let at = unsafe { libc::mmap(at.cast(), pages * PAGE, prot, flags, fd, (page * PAGE) as libc::off_t) };
    if at == libc::MAP_FAILED {
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(3) }
    }
    at.cast()
}

pub(crate) fn unmap(at: *mut u8, pages: usize) {
    // SAFETY: memory of the test's target, which it does not use any more.
    unsafe { libc::munmap(at.cast(), pages * PAGE) };
}

pub(crate) fn protect(at: *mut u8, pages: usize, prot: libc::c_int) {
    // SAFETY: memory of the test's target.
    unsafe { libc::mprotect(at.cast(), pages * PAGE, prot) };
}

pub(crate) fn advise(at: *mut u8, pages: usize, advice: libc::c_int) -> libc::c_int {
    // SAFETY: memory of the test's target.
    unsafe { libc::madvise(at.cast(), pages * PAGE, advice) }
}

/// Writes one byte of every `step`th page.
pub(crate) fn write(at: *mut u8, pages: usize, step: usize) {
    for page in (0..pages).step_by(step) {
        // SAFETY: the caller has mapped these pages.
        let place = unsafe { at.add(page * PAGE) };
        // SAFETY: mapped and writable.
        unsafe { place.write_volatile(1) };
    }
}

/// Reads one byte of every page.
pub(crate) fn read(at: *mut u8, pages: usize) {
    for page in 0..pages {
        // SAFETY: the caller has mapped these pages.
        let place = unsafe { at.add(page * PAGE) };
        // SAFETY: mapped and readable.
        unsafe { place.read_volatile() };
    }
}

pub(crate) fn add(at: *mut u8, pages: usize) -> *mut u8 {
    at.wrapping_add(pages * PAGE)
}

/// Maps `pages` pages, none of which is merged with its neighbour.
pub(crate) fn map_many(mappings: usize) {
    for i in 0..mappings {
        let at = map(1, if i % 2 == 0 { libc::PROT_READ } else { RW }, ANON);
        if i % 2 == 1 {
            write(at, 1, 1);
        }
    }
}

pub(crate) fn truncate(fd: libc::c_int, pages: usize) {
    // SAFETY: a file of the target's.
    unsafe { libc::ftruncate(fd, (pages * PAGE) as libc::off_t) };
}

/// Starts a child of the target that calls `act` and sleeps; returns after a moment.
///
/// The target has one thread.
pub(crate) fn fork_and(run: impl FnOnce()) {
    // SAFETY: the target has one thread.
    if unsafe { libc::fork() } == 0 {
        // SAFETY: system calls alone.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        run();
        loop {
            // SAFETY: sleeps.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: sleeps.
    unsafe { libc::usleep(100_000) };
}

/// Scans a process that begins with `make`, and compares it with the kernel's files.
pub(crate) fn assert_equal_of(make: impl FnOnce()) -> Option<Scan> {
    let mut scanner = scanner()?;
    let target = Target::new(make);
    Some(assert_equal(&mut scanner, target.pid()))
}

pub(crate) fn stats(scan: &Scan) -> MemSizeStats {
    scan.rollup().stats
}

/// The text of smaps, maps and smaps_rollup.
#[derive(Default)]
struct Texts([Vec<u8>; 3]);

impl Texts {
    /// Writes those of a scan.
    fn write(&mut self, scanner: &Scanner, scan: &Scan) {
        let form = scanner.form();
        let [smaps, maps, rollup] = &mut self.0;
        for text in [&mut *smaps, &mut *maps, &mut *rollup] {
            text.clear();
        }
        for record in scan.records() {
            append(smaps, 1024, |to| form.write_smaps(&record.mapping, FieldSet::ALL, to));
            append(maps, 128, |to| record.mapping.vma.write_line(to));
        }
        let sum = scan.rollup();
        append(rollup, 1024, |to| {
            form.write_rollup(sum.start..sum.end, &sum.stats, FieldSet::ALL, to)
        });
    }

    /// Reads those of the kernel.
    fn read(&mut self, pid: u32) {
        for (text, file) in self.0.iter_mut().zip(["smaps", "maps", "smaps_rollup"]) {
            text.clear();
            let mut file = fs::File::open(format!("/proc/{pid}/{file}")).unwrap();
            file.read_to_end(text).unwrap();
        }
    }
}

/// Returns the first line that differs from the kernel's before and after, and its mapping.
///
/// Lines that begin with one of `unknown` are not compared. If the kernel's two numbers differ,
/// because another process has changed what both have, ours may lie between.
fn difference(before: &[u8], ours: &[u8], after: &[u8], unknown: &[String]) -> Option<String> {
    if ours == before || ours == after {
        return None;
    }
    let is_compared = |line: &String| !unknown.iter().any(|label| line.starts_with(label));
    // Paths are any bytes.
    let text = |line: &[u8]| line.escape_ascii().to_string();
    let lines = |whole: &[u8]| {
        whole
            .split(|&byte| byte == b'\n')
            .map(text)
            .filter(is_compared)
            .collect::<Vec<_>>()
    };
    let (before, ours, after) = (lines(before), lines(ours), lines(after));
    let number = |line: &str| line.strip_suffix(" kB")?.split(' ').next_back()?.parse::<u64>().ok();
    let mut lines = [before.iter(), ours.iter(), after.iter()];
    let mut mapping = "";
    loop {
        let [before, ours, after] = lines.each_mut().map(Iterator::next);
        before.or(ours).or(after)?;
        let [before, ours, after] = [before, ours, after].map(|line| line.map_or("", String::as_str));
        if !after.starts_with(|c: char| c.is_ascii_uppercase()) {
            mapping = after;
        }
        let is_between = || {
            let [before, ours, after] = [before, ours, after].map(number);
            before.min(after) <= ours && ours <= before.max(after) && before.is_some() && after.is_some()
        };
        if ours != before && ours != after && !is_between() {
            return Some(format!("\"{ours}\" instead of \"{after}\", in {mapping}"));
        }
    }
}

/// Checks that a scan keeps the contract of a walk, for the pages of `region`.
pub(crate) fn assert_walks(scan: &Scan, region: Range<u64>, mut known: impl FnMut(u64) -> Option<Page>) {
    let mut walk = Walk::new(region, PAGE as u64);
    for record in scan.records() {
        let vma = &record.mapping.vma;
        assert!(vma.start <= vma.new_from, "{record:?}");
        walk.line(vma.new_from..vma.end, &mut known);
    }
    let below = scan.report().partial.map_or(u64::MAX, Partial::below);
    walk.pass(below, Page::Unmapped, &mut known);
    assert_eq!(walk.findings().first, None, "{}", scan.report());
}

/// Checks that the lines of a scan ascend, whatever the process did.
pub(crate) fn assert_ascends(scan: &Scan) {
    assert_walks(scan, 0..0, |_| None);
}

/// Returns whether this kernel numbers the states of an address space.
///
/// Then lines can be validated (Linux 6.4 and later).
pub(crate) fn is_numbered(scan: &Scan) -> bool {
    scan.report().validation != Validation::Structure
}

/// Checks that a scan of a sleeping process equals its files byte for byte.
///
/// Other processes come and go and map the same libraries, and the kernel collapses and moves
/// pages: what differs once is looked at again.
pub(crate) fn assert_equal(scanner: &mut Scanner, pid: u32) -> Scan {
    let mut differs = String::new();
    let [mut before, mut ours, mut after] = [(); 3].map(|()| Texts::default());
    for _ in 0..10 {
        before.read(pid);
        let scan = scanner.scan(pid).unwrap();
        after.read(pid);
        ours.write(scanner, &scan);
        // The report names what is left out: the kernel's rule may be unknown, or what of a file
        // was swapped out, or who shares it.
        let report = scan.report();
        let unknown: Vec<_> = report
            .left_out
            .iter()
            .map(|left_out| format!("{}:", left_out.line))
            .collect();
        let found = (0..3).find_map(|i| difference(&before.0[i], &ours.0[i], &after.0[i], &unknown));
        let Some(found) = found else {
            let unvalidated = if is_numbered(&scan) { Some(0) } else { report.mappings };
            assert_eq!((report.unvalidated, report.partial), (unvalidated, None), "{report}");
            return scan;
        };
        differs = found;
        scanner.reuse(scan);
    }
    panic!("{differs}");
}

/// Copies a program, to execute the copy.
///
/// By a process of its own: this one's other threads start processes, which have all files open for
/// a moment. A program that is open for writing cannot be executed.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").args([from, to]).status().unwrap();
    assert!(status.success(), "cp {from:?} {to:?}");
}
