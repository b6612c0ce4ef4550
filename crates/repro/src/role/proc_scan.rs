//! The kernel target's scan: one reading of a file of /proc/PID, from open to close.

#![allow(unsafe_code)] // the PROCMAP_QUERY ioctl, which rustix does not have

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::ioctl::{Updater, opcode};
use vmaple_scan::{FieldSet, Method, Options, Scanner, Want, append};

use crate::error::{Error, Result};
use crate::plan::{Listing, ProcFile, Reading};

use super::scanner::{BUFFER_BYTES, Scan};

/// One way of reading a process's memory map, with its buffer.
///
/// A process that is gone is an error, also where the kernel shows it as an empty file.
pub(crate) struct ProcScan {
    pid: i32,
    path: String,
    file: Reading,
    region: (u64, u64),
    buffer: Vec<u8>,
    /// What reads it, where that is not read(2) alone.
    scanner: Option<Box<Scanner>>,
}

impl ProcScan {
    /// Prepares to read the process `pid`; `region` is the address and size in bytes of what a
    /// pagemap scan covers.
    ///
    /// # Errors
    /// [`Error::NotPossible`] if the kernel or the caller's rights do not allow the scanner.
    pub(crate) fn new(pid: i32, file: Reading, region: (u64, u64)) -> Result<Self> {
        let scanner = scanner(file)?.map(Box::new);
        Ok(Self {
            pid,
            path: format!("/proc/{pid}/{}", file.proc_name()),
            file,
            region,
            // Not zero, so that every page is touched now and not in a timed scan.
            buffer: vec![1; BUFFER_BYTES],
            scanner,
        })
    }
}

/// Returns what reads a file, where that is not read(2) alone.
///
/// # Errors
/// [`Error::NotPossible`] if the kernel or the caller's rights do not allow it.
pub(crate) fn scanner(file: Reading) -> Result<Option<Scanner>> {
    let (method, listing) = match file {
        Reading::Proc(_) | Reading::Control => return Ok(None),
        Reading::Bpf(listing) => (Method::Bpf, listing),
        Reading::Boosted(listing) => (Method::Boosted, listing),
    };
    let want = match listing {
        Listing::Maps => Want::Ranges,
        Listing::Smaps => Want::Pages,
    };
    // No limit: a scanner that is starved for the whole run is a result.
    let options = Options::new().method(method).want(want).limit(std::time::Duration::MAX);
    let scanner =
        Scanner::with(options).map_err(|e| Error::NotPossible(format!("{file}: {e}; or take --scanner proc")))?;
    Ok(Some(scanner))
}

impl Scan for ProcScan {
    fn once(&mut self, text: impl FnMut(&[u8])) -> Result<u64> {
        let what = || format!("scanning {}", self.path);
        if let Some(scanner) = &mut self.scanner {
            return by_scanner(scanner, self.pid.cast_unsigned(), self.file, &mut self.buffer, text)
                .map_err(|e| Error::failed(what(), e));
        }
        let mut file = File::open(&self.path).map_err(|e| Error::failed(what(), e))?;
        let read = match self.file {
            Reading::PAGEMAP => pagemap(&file, &mut self.buffer, self.region, text),
            Reading::Proc(ProcFile::ProcmapQuery) => procmap_query(&file),
            _ => to_the_end(&mut file, &mut self.buffer, text),
        };
        match read {
            Ok(0) => Err(Error::failed(what(), "the process is gone")),
            Ok(calls) => Ok(calls),
            Err(e) => Err(Error::failed(what(), e)),
        }
    }
}

/// Scans once and passes the text of the file that says the same to `text`; returns how many runs
/// there were.
fn by_scanner(
    scanner: &mut Scanner,
    pid: u32,
    file: Reading,
    buffer: &mut Vec<u8>,
    mut text: impl FnMut(&[u8]),
) -> vmaple_scan::Result<u64> {
    let scan = scanner.scan(pid)?;
    let form = scanner.form();
    buffer.clear();
    for record in scan.records() {
        match file.content() {
            Some(ProcFile::Maps) => append(buffer, 128, |to| record.mapping.vma.write_line(to)),
            _ => append(buffer, 1024, |to| form.write_smaps(&record.mapping, FieldSet::ALL, to)),
        }
        if buffer.len() >= BUFFER_BYTES {
            text(buffer);
            buffer.clear();
        }
    }
    text(buffer);
    let runs = scan.report().runs;
    scanner.reuse(scan);
    Ok(runs)
}

/// Reads the whole file; returns how many calls read something.
fn to_the_end(file: &mut File, buffer: &mut [u8], mut text: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let mut calls = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(calls),
            Ok(n) => {
                calls += 1;
                text(&buffer[..n]);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Reads the entries (8 bytes a page) of one region; returns how many calls read something.
fn pagemap(
    file: &File,
    buffer: &mut [u8],
    (start, len): (u64, u64),
    mut entries: impl FnMut(&[u8]),
) -> std::io::Result<u64> {
    let page = rustix::param::page_size() as u64;
    let (mut at, end) = (start / page * 8, (start + len) / page * 8);
    let mut calls = 0;
    while at < end {
        let want = buffer.len().min((end - at) as usize);
        match file.read_at(&mut buffer[..want], at)? {
            0 => break,
            n => {
                entries(&buffer[..n]);
                at += n as u64;
            }
        }
        calls += 1;
    }
    Ok(calls)
}

/// `struct procmap_query` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// Asks for the VMA at the address or, if there is none, the next one.
const PROCMAP_QUERY_COVERING_OR_NEXT_VMA: u64 = 0x10;

/// Asks for the first VMA at or above `addr`; `None` beyond the last.
fn query(file: impl AsFd, addr: u64) -> Result<Option<ProcmapQuery>, Errno> {
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
        query_addr: addr,
        ..ProcmapQuery::default()
    };
    // SAFETY: PROCMAP_QUERY is _IOWR('f', 17, struct procmap_query): the opcode carries the type's
    // size, and the kernel reads and writes no more than `size` bytes of the struct, since the two
    // addresses in it are null.
    let updater = unsafe { Updater::<{ opcode::read_write::<ProcmapQuery>(b'f', 17) }, _>::new(&mut query) };
    // SAFETY: the descriptor is an open file; on any but /proc/PID/maps the opcode is refused with
    // ENOTTY.
    match unsafe { rustix::ioctl::ioctl(file, updater) } {
        Ok(()) => Ok(Some(query)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Walks all VMAs, one ioctl each; returns how many there are.
fn procmap_query(file: &File) -> std::io::Result<u64> {
    let (mut addr, mut calls) = (0, 0);
    while let Some(found) = query(file, addr)? {
        calls += 1;
        addr = found.vma_end;
    }
    Ok(calls)
}

/// Says whether this kernel has `PROCMAP_QUERY` (Linux 6.11 and later).
pub(crate) fn procmap_query_supported() -> bool {
    File::open("/proc/self/maps").is_ok_and(|maps| query(&maps, 0).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_this_process_can_be_scanned() {
        let area = vec![0_u8; 1 << 20];
        let region = (area.as_ptr().addr() as u64 & !4095, 1 << 20);
        for file in Reading::ALL {
            if file == Reading::Proc(ProcFile::ProcmapQuery) && !procmap_query_supported() {
                continue;
            }
            if !std::path::Path::new("/proc/self").join(file.proc_name()).exists() {
                continue;
            }
            let mut scan = match ProcScan::new(std::process::id().cast_signed(), file, region) {
                Ok(scan) => scan,
                Err(Error::NotPossible(why)) => {
                    eprintln!("skipped: {why}");
                    continue;
                }
                Err(e) => panic!("{e}"),
            };
            assert!(scan.once(|_| {}).unwrap() > 0, "{file}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        child.wait().unwrap();
        for file in [Reading::MAPS, Reading::Control, Reading::Proc(ProcFile::ProcmapQuery)] {
            let mut scan = ProcScan::new(pid, file, (0, 4096)).unwrap();
            let error = scan.once(|_| {}).unwrap_err().to_string();
            assert!(error.contains(&format!("/proc/{pid}/")), "{error}");
        }
    }
}
