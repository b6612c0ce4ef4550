//! The BPF program: loaded by aya, run by the reads of an iterator over one task, its results in shared memory.

#![allow(unsafe_code)] // the bpf(2) commands that aya lacks, and the memory that is shared with the program

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use aya::maps::{Map, MapData, MapError};
use aya::programs::{Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::bpf::abi::{Control, MAX_RECORDS, NAME_BYTES, Record, Stop};
use crate::error::{Error, Result};
use crate::kernel::release;

/// Which program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Scan,
    Calibrate,
}

impl Entry {
    const ALL: [Self; 2] = [Self::Scan, Self::Calibrate];

    fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Calibrate => "calibrate",
        }
    }
}

/// The programs in the kernel, and the memory that they share with us.
///
/// One run at a time: `run` takes it mutably. A copy of the process has neither the memory nor the right to run it, as both would write
/// to the same.
pub(crate) struct Program {
    ebpf: Ebpf,
    control: Shared<Control>,
    records: Shared<Record>,
    names: Shared<u8>,
}

/// A program that will look at one task.
pub(crate) struct Link(OwnedFd);

impl Program {
    /// Loads the embedded object.
    ///
    /// # Errors
    /// [`Error::NotPossible`] without the rights or without BTF.
    pub(crate) fn load() -> Result<Self> {
        let (major, minor) = release();
        if (major, minor) < (6, 1) {
            return Err(Error::NotPossible(format!(
                "the BPF program needs Linux 6.1 or later, and this is {major}.{minor}"
            )));
        }
        let btf = Btf::from_sys_fs().map_err(|e| {
            Error::NotPossible(format!(
                "the kernel does not describe its types: {}; it has to be built with CONFIG_DEBUG_INFO_BTF",
                chain(&e)
            ))
        })?;
        Self::load_for(&btf)
    }

    /// Loads it for a kernel whose types are these.
    pub(crate) fn load_for(btf: &Btf) -> Result<Self> {
        let object = aya::include_bytes_aligned!("../../bpf/scan.bpf.o");
        let mut ebpf = EbpfLoader::new()
            .btf(Some(btf))
            .load(object)
            .map_err(|e| not_loaded(&e))?;
        for entry in Entry::ALL {
            let iter = iter(&mut ebpf, entry)?;
            iter.load("task", btf).map_err(|e| not_loaded(&e))?;
        }
        let control = Shared::map(&ebpf, "CONTROL", 1)?;
        let records = Shared::map(&ebpf, "RECORDS", MAX_RECORDS)?;
        let names = Shared::map(&ebpf, "NAMES", NAME_BYTES)?;
        Ok(Self {
            ebpf,
            control,
            records,
            names,
        })
    }

    /// Prepares a program for the process `pid`, of the caller's PID namespace.
    ///
    /// # Errors
    /// [`Error::Failed`]: kernels below 6.1 have no iterator over one task.
    pub(crate) fn link(&mut self, entry: Entry, pid: u32) -> Result<Link> {
        /// `BPF_LINK_CREATE` of bpf(2).
        const LINK_CREATE: libc::c_int = 28;
        /// `BPF_TRACE_ITER`.
        const TRACE_ITER: u32 = 28;
        /// `bpf_iter_link_info.task`.
        #[repr(C)]
        struct TaskInfo {
            tid: u32,
            pid: u32,
            pid_fd: u32,
            unused: u32,
        }
        /// `bpf_attr.link_create`, as far as it is used.
        #[repr(C)]
        struct LinkCreate {
            prog_fd: u32,
            target_fd: u32,
            attach_type: u32,
            flags: u32,
            iter_info: u64,
            iter_info_bytes: u32,
            unused: u32,
        }

        if !self.control.is_here() {
            return Err(Error::failed(
                "running the BPF program",
                "it was loaded before fork(2); make a scanner in each process",
            ));
        }
        let task = TaskInfo {
            tid: pid,
            pid: 0,
            pid_fd: 0,
            unused: 0,
        };
        let program = iter(&mut self.ebpf, entry)?;
        let program = program.fd().map_err(|e| Error::failed("finding a BPF program", e))?;
        let mut attr = LinkCreate {
            prog_fd: program.as_fd().as_raw_fd().cast_unsigned(),
            target_fd: 0,
            attach_type: TRACE_ITER,
            flags: 0,
            iter_info: std::ptr::from_ref(&task).expose_provenance() as u64,
            iter_info_bytes: size_of::<TaskInfo>() as u32,
            unused: 0,
        };
        bpf(LINK_CREATE, &mut attr)
            .map(Link)
            .map_err(|e| match e.raw_os_error() {
                Some(libc::ESRCH) => Error::NoProcess(pid),
                _ => Error::failed(format!("attaching a BPF iterator to process {pid}"), e),
            })
    }

    /// Runs a program once, and returns why it stopped.
    ///
    /// `control` says what is asked, and becomes what the run has left. Records and names are there until the next run.
    ///
    /// # Errors
    /// [`Error::Failed`] if the iterator is refused.
    pub(crate) fn run(&mut self, link: &Link, control: &mut Control) -> Result<Stop> {
        /// `BPF_ITER_CREATE` of bpf(2).
        const ITER_CREATE: libc::c_int = 33;
        /// `bpf_attr.iter_create`.
        #[repr(C)]
        struct IterCreate {
            link_fd: u32,
            flags: u32,
        }
        const NOTHING: u32 = u32::MAX;

        let failed = |e: io::Error| Error::failed("running the BPF program", e);
        let mut attr = IterCreate {
            link_fd: self.borrow(link).as_raw_fd().cast_unsigned(),
            flags: 0,
        };
        let fd = bpf(ITER_CREATE, &mut attr).map_err(failed)?;
        control.stop = NOTHING;
        self.control.store(*control);
        // The program writes no text: the first read does everything and says that this is the end.
        let mut text = [0; 8];
        loop {
            match rustix::io::read(&fd, &mut text) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(e) => return Err(failed(e.into())),
            }
        }
        *control = self.control.load();
        if control.stop == NOTHING {
            // The iterator has found no task.
            (control.records, control.name_bytes) = (0, 0);
            return Ok(Stop::NoMm);
        }
        Stop::of(control.stop).ok_or_else(|| {
            let why = format!("it stopped with {}", control.stop);
            Error::failed("running the BPF program", why)
        })
    }

    /// A file without a path, which can be mapped.
    pub(crate) fn anon_file(&self) -> Option<BorrowedFd<'_>> {
        match self.ebpf.map("CONTROL") {
            Some(Map::Array(map)) => Some(map.fd().as_fd()),
            _ => None,
        }
    }

    /// The records of the last run.
    pub(crate) fn records(&self, control: &Control) -> &[Record] {
        self.records.first(control.records as usize)
    }

    /// The names of the last run.
    pub(crate) fn names(&self, control: &Control) -> &[u8] {
        self.names.first(control.name_bytes as usize)
    }

    fn borrow<'a>(&self, link: &'a Link) -> BorrowedFd<'a> {
        link.0.as_fd()
    }
}

fn iter(ebpf: &mut Ebpf, entry: Entry) -> Result<&mut Iter> {
    let name = entry.name();
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| Error::failed(name, "not in the object"))?;
    program.try_into().map_err(|e| Error::failed(name, e))
}

/// Returns the error of an object that was not loaded, with what would help.
fn not_loaded(error: &(dyn std::error::Error + 'static)) -> Error {
    let help = match errno(error) {
        Some(libc::EPERM) => {
            "; it needs root, or CAP_BPF and CAP_PERFMON, and a kernel that is not locked down for confidentiality"
        }
        // The kernel then has no function for us that reads its memory, and calls that an invalid program.
        Some(libc::EINVAL) if is_locked_down() => "; this kernel is locked down for confidentiality",
        _ => "",
    };
    Error::NotPossible(format!("loading the BPF program: {}{help}", describe(error)))
}

/// Whether the kernel is locked down for confidentiality.
fn is_locked_down() -> bool {
    fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// Returns what an error of aya says, in one line that is the same for the same failure.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    // Which map is made first is chance.
    if let Some(MapError::CreateError { io_error, .. }) = find(error) {
        return format!("map error: failed to create its maps: {io_error}");
    }
    // The verifier's log is long, and ends with its reason.
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = find(error) {
        let reason = last_reason(&verifier_log.to_string());
        return format!("the BPF_PROG_LOAD syscall returned {io_error}{reason}");
    }
    chain(error)
}

/// Returns the reason in a log of the verifier, after a colon; nothing if there is none.
fn last_reason(log: &str) -> String {
    let is_statistic = |line: &str| {
        line.is_empty()
            || ["verification time ", "stack depth ", "processed ", "subprog "]
                .iter()
                .any(|s| line.starts_with(s))
    };
    let reason = log.lines().map(str::trim).rfind(|line| !is_statistic(line));
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

/// Returns the number of the system call's failure that an error comes from.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    find::<io::Error>(error)?.raw_os_error()
}

/// Returns the first error of this type among an error and its causes.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Returns an error with its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let more = cause.to_string();
        if text.is_empty() {
            text = more;
        } else if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    text
}

/// A command of bpf(2) that gives a file descriptor.
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    let bytes = size_of::<T>() as libc::c_uint;
    // SAFETY: `attr` is a prefix of `union bpf_attr`, of the length that is passed, and what it points to lives on; these
    // commands write nothing to it.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), bytes) };
    let fd = libc::c_int::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: bpf(2) has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An array of a map, in memory.
///
/// # Invariants
/// `memory` is `length` values of `T`, mapped until this is dropped, in the process `owner` alone. `T` is plain old data.
struct Shared<T> {
    memory: NonNull<T>,
    length: usize,
    owner: u32,
}

// SAFETY: the memory belongs to the value, which is accessed by `&mut`, or for reading alone.
unsafe impl<T: Send> Send for Shared<T> {}

/// What any bytes are a value of.
trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for Control {}
impl Plain for Record {}

impl<T: Plain> Shared<T> {
    fn map(ebpf: &Ebpf, name: &str, length: usize) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::failed(format!("mapping the BPF map {name}"), e);
        let map = match ebpf.map(name) {
            Some(Map::Array(map)) => map,
            _ => return Err(failed(&"not in the object")),
        };
        let value_bytes = value_bytes(map);
        let array_bytes = length * size_of::<T>();
        if value_bytes.is_none_or(|value| value != array_bytes && value != size_of::<T>() || value % 8 != 0) {
            return Err(failed(&"of another size"));
        }
        // SAFETY: a mapping at an address of the kernel's choice.
        let memory = unsafe {
            mmap(
                std::ptr::null_mut(),
                array_bytes.next_multiple_of(rustix::param::page_size()),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map.fd().as_fd(),
                0,
            )
        };
        let memory = memory.map_err(|e| failed(&e))?;
        let memory = NonNull::new(memory.cast()).ok_or_else(|| failed(&"at address 0"))?;
        // INVARIANT: the map was checked to be as long, and mmap(2) has mapped all of it.
        let shared = Self {
            memory,
            length,
            owner: std::process::id(),
        };
        // SAFETY: copies of this process do not get it, which changes nothing here.
        let kept = unsafe { madvise(memory.as_ptr().cast(), shared.bytes(), Advice::LinuxDontFork) };
        kept.map_err(|e| failed(&e))?;
        Ok(shared)
    }

    /// The first values, so many or as many as there are.
    fn first(&self, count: usize) -> &[T] {
        // SAFETY: mapped and aligned by the invariant, and any bytes are a `T`. The kernel writes there only during
        // `Program::run`, which takes the program mutably; a copy of this process does not run it.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), count.min(self.length)) }
    }

    fn load(&self) -> T {
        // SAFETY: mapped and aligned by the invariant, and any bytes are a `T`. Volatile: the kernel has written there since
        // the last access.
        unsafe { self.memory.read_volatile() }
    }

    fn store(&mut self, value: T) {
        // SAFETY: as in `load`.
        unsafe { self.memory.write_volatile(value) };
    }
}

impl<T> Shared<T> {
    /// Whether this is the process that has it mapped.
    fn is_here(&self) -> bool {
        self.owner == std::process::id()
    }

    fn bytes(&self) -> usize {
        (self.length * size_of::<T>()).next_multiple_of(rustix::param::page_size())
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: mapped with that length by `map`, and not used after this. Should it fail, it stays mapped.
            let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.bytes()) };
        }
    }
}

/// The bytes of a map's values.
fn value_bytes(map: &MapData) -> Option<usize> {
    map.info().ok().map(|info| info.value_size() as usize)
}

#[cfg(test)]
mod tests {
    use aya::EbpfError;

    use super::*;

    #[test]
    fn a_map_that_cannot_be_made_is_the_same_text_whichever_it_is() {
        let text = |map: &str| {
            describe(&EbpfError::MapError(MapError::CreateError {
                name: map.to_owned(),
                io_error: io::Error::from_raw_os_error(libc::EPERM),
            }))
        };
        assert_eq!(
            text("NAMES"),
            "map error: failed to create its maps: Operation not permitted (os error 1)"
        );
        assert_eq!(text("NAMES"), text("RECORDS"));
        let other = EbpfError::NoBTF;
        assert_eq!(describe(&other), other.to_string());
    }

    #[test]
    fn what_helps_is_told_by_the_number_of_the_failure_and_not_by_its_text() {
        let of = |number, name: &str| {
            let error = EbpfError::MapError(MapError::CreateError {
                name: name.to_owned(),
                io_error: io::Error::from_raw_os_error(number),
            });
            not_loaded(&error).to_string()
        };
        let denied = of(libc::EPERM, "NAMES");
        assert!(denied.ends_with("not locked down for confidentiality"), "{denied}");
        let too_large = of(libc::E2BIG, "(os error 1)");
        assert!(too_large.ends_with("(os error 7)"), "{too_large}");
    }

    #[test]
    fn of_a_log_of_the_verifier_the_reason_is_told() {
        let log = "0: R1=ctx\nprogram of this type cannot use helper bpf_probe_read_kernel#113\nprocessed 4 insns\n\n";
        assert_eq!(
            last_reason(log),
            ": program of this type cannot use helper bpf_probe_read_kernel#113"
        );
        assert_eq!(last_reason("processed 4 insns\n"), "");
    }
}
