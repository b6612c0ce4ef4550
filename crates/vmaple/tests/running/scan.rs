//! Processes to scan, and `vmaple scan` of them.

#![allow(unsafe_code)] // maps memory

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

use super::{outcome, vmaple, wait_until};

/// A process that ends with this.
pub(crate) struct Killed(pub(crate) Child);

impl Killed {
    /// sleep(1), once it is that and no longer a copy of us, and sleeps.
    pub(crate) fn sleep(command: &mut Command) -> Self {
        let child = Self(command.arg("1000").stdin(Stdio::null()).spawn().unwrap());
        let call = format!("/proc/{}/syscall", child.0.id());
        // clock_nanosleep, nanosleep
        wait_until("sleep to sleep", || {
            fs::read_to_string(&call).is_ok_and(|text| text.starts_with("230 ") || text.starts_with("35 "))
        });
        child
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The file of a program on the path.
pub(crate) fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut files = std::env::split_paths(&path).map(|dir| dir.join(program));
    files.find(|file| file.exists()).unwrap()
}

/// Copies a program, to execute the copy.
///
/// By a process of its own: this one's other threads start processes, which have all files open for
/// a moment. A program that is open for writing cannot be executed.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").args([from, to]).status().unwrap();
    assert!(status.success(), "cp {from:?} {to:?}");
}

pub(crate) fn sleep() -> Killed {
    Killed::sleep(&mut Command::new("sleep"))
}

/// Runs `vmaple scan` with `args` after the PIDs of `processes`.
pub(crate) fn scan(processes: &[&Killed], args: &str) -> (i32, String, String) {
    let pids: Vec<_> = processes.iter().map(|process| process.pid().to_string()).collect();
    outcome(vmaple(&format!("scan {} {args}", pids.join(" "))))
}

/// The methods of mappings that this machine allows.
pub(crate) fn methods() -> Vec<&'static str> {
    let target = sleep();
    let mut methods = vec!["plain"];
    for method in ["bpf", "boosted"] {
        let (code, _, err) = scan(&[&target], &format!("--format maps --method {method}"));
        match code {
            0 => methods.push(method),
            77 => println!("skipped: {err}"),
            _ => panic!("{err}"),
        }
    }
    methods
}

pub(crate) fn proc_file(process: &Killed, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", process.pid())).unwrap()
}

const PAGE: usize = 4096;

/// Memory of this process, mapped until this is dropped, which nothing points into.
pub(crate) struct Mapped {
    start: *mut std::ffi::c_void,
    bytes: usize,
}

impl Mapped {
    /// Pages without access, of a file or of none.
    pub(crate) fn new(pages: usize, file: Option<&fs::File>) -> Self {
        let bytes = pages * PAGE;
        let (none, flags) = (ProtFlags::empty(), MapFlags::PRIVATE);
        let anywhere = std::ptr::null_mut();
        let start = match file {
            // SAFETY: an address of the kernel's choice.
            Some(file) => unsafe { mmap(anywhere, bytes, none, flags, file, 0) },
            // SAFETY: an address of the kernel's choice.
            None => unsafe { mmap_anonymous(anywhere, bytes, none, flags) },
        };
        Self {
            start: start.unwrap(),
            bytes,
        }
    }

    pub(crate) fn address(&self) -> usize {
        self.start.addr()
    }

    /// Makes it writable, and writes to each page.
    pub(crate) fn fill(&self) {
        // SAFETY: what was mapped, which nothing points into.
        unsafe { mprotect(self.start, self.bytes, MprotectFlags::READ | MprotectFlags::WRITE) }.unwrap();
        for page in 0..self.bytes / PAGE {
            let page = self.start.wrapping_byte_add(page * PAGE).cast::<u8>();
            // SAFETY: inside of what is mapped and writable, and no reference leads there.
            unsafe { page.write_volatile(1) };
        }
    }

    /// Makes each page a mapping of its own.
    pub(crate) fn split(&self) {
        for page in (0..self.bytes / PAGE).step_by(2) {
            let page = self.start.wrapping_byte_add(page * PAGE);
            // SAFETY: inside of what was mapped, which nothing points into.
            unsafe { mprotect(page, PAGE, MprotectFlags::READ) }.unwrap();
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nothing points into it.
        unsafe { munmap(self.start, self.bytes) }.unwrap();
    }
}
