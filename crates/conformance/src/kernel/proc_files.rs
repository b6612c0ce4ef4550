//! The child's files in /proc.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;

use super::text::range;

/// The open /proc/PID files of a child.
pub struct ProcFiles {
    maps: File,
    smaps: File,
    pagemap: File,
    mem: File,
    statm: File,
    status: File,
}

impl ProcFiles {
    pub(super) fn open(pid: libc::pid_t) -> Self {
        let open = |name| File::open(format!("/proc/{pid}/{name}")).unwrap();
        Self {
            maps: open("maps"),
            smaps: open("smaps"),
            pagemap: open("pagemap"),
            mem: open("mem"),
            statm: open("statm"),
            status: open("status"),
        }
    }

    /// Reads the text of maps, at least to the first mapping that begins at or above `until`.
    pub fn maps(&mut self, until: u64, text: &mut Vec<u8>) {
        read_until(&mut self.maps, until, text);
    }

    /// Reads the text of smaps, to the same place.
    pub fn smaps(&mut self, until: u64, text: &mut Vec<u8>) {
        read_until(&mut self.smaps, until, text);
    }

    /// Reads pagemap from an offset on.
    pub fn pagemap(&self, offset: u64, entries: &mut [u8]) {
        self.pagemap.read_exact_at(entries, offset).unwrap();
    }

    /// Reads memory of pages that exist, whatever their protection. (The read would bring other
    /// pages in.)
    pub fn memory(&self, addr: u64, to: &mut [u8]) {
        self.mem.read_exact_at(to, addr).unwrap();
    }

    /// Returns the pages of address space.
    pub fn total_vm(&mut self) -> u64 {
        let text = read(&mut self.statm);
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// Returns the bytes of private writable memory that is no stack, of stacks, and of memory that
    /// is executable and not writable.
    pub fn vm_stat(&mut self) -> [u64; 3] {
        let text = read(&mut self.status);
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
        };
        [bytes("VmData:"), bytes("VmStk:"), bytes("VmExe:") + bytes("VmLib:")]
    }
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn read_until(file: &mut File, until: u64, text: &mut Vec<u8>) {
    let mut buffer = [0; 8192];
    text.clear();
    file.rewind().unwrap();
    loop {
        let read = file.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..read]);
        let last = buffer[..read].rsplit(|&byte| byte == b'\n').find_map(range);
        if read == 0 || last.is_some_and(|range| range.start >= until) {
            return;
        }
    }
}
