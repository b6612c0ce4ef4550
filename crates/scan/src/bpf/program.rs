//! Loads and runs the BPF program.
//!
//! aya loads it, reads of an iterator over one task run it, and its results are in shared memory.

#![allow(unsafe_code)] // the bpf(2) commands that aya lacks

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya::maps::Map;
use aya::programs::Iter;
use aya::{Btf, Ebpf, EbpfLoader};

use crate::bpf::abi::{Control, MAX_RECORDS, NAME_BYTES, Record, Stop};
use crate::bpf::refusal::{chain, not_loaded};
use crate::bpf::shared::Shared;
use crate::error::{Error, Result};
use crate::kernel::release;

/// A program of the object.
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

/// The programs in the kernel, and the memory that they share with this process.
///
/// There is one run at a time: `run` takes it mutably. A copy of this process has neither the
/// memory nor the right to run it, as both would write to the same.
pub(crate) struct Program {
    ebpf: Ebpf,
    control: Shared<Control>,
    records: Shared<Record>,
    names: Shared<u8>,
}

/// A program that is attached to one task.
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

    /// Loads the embedded object for a kernel with these types.
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

    /// Attaches a program to the process `pid`, of the caller's PID namespace.
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
    /// `control` says what is asked, and becomes what the run has left. Records and names are there
    /// until the next run.
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

    /// Returns a file without a path, which can be mapped.
    pub(crate) fn anon_file(&self) -> Option<BorrowedFd<'_>> {
        match self.ebpf.map("CONTROL") {
            Some(Map::Array(map)) => Some(map.fd().as_fd()),
            _ => None,
        }
    }

    /// Returns the records of the last run.
    pub(crate) fn records(&self, control: &Control) -> &[Record] {
        self.records.first(control.records as usize)
    }

    /// Returns the names of the last run.
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

/// Calls a command of bpf(2) that returns a file descriptor.
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    let bytes = size_of::<T>() as libc::c_uint;
    // SAFETY: `attr` is a prefix of `union bpf_attr`, of the length that is passed, and what it
    // points to lives on; these commands write nothing to it.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), bytes) };
    let fd = libc::c_int::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: bpf(2) has just made it, and no other value owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
