//! Loads and runs the BPF program.
//!
//! Reads of an iterator over one task run it, and its results are in shared memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya_obj::btf::Btf;

use crate::bpf::abi::{Control, MAX_RECORDS, NAME_BYTES, Record, Stop};
use crate::bpf::load::linked::{Array, Linked};
use crate::bpf::load::refusal::{chain, refused};
use crate::bpf::load::shared::Shared;
use crate::bpf::load::syscall::{self, Text};
use crate::error::{Error, Result};
use crate::kernel::release;

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Scan,
    Calibrate,
    Strings,
}

impl Entry {
    fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Calibrate => "calibrate",
            Self::Strings => "strings",
        }
    }
}

/// The programs in the kernel, and the memory that they share with this process.
///
/// There is one run at a time: `run` takes it mutably. A copy of this process has neither the
/// memory nor the right to run it, as both would write to the same.
pub(crate) struct Program {
    linked: Linked,
    btf: OwnedFd,
    /// In the order of `linked.maps`.
    maps: Vec<OwnedFd>,
    scan: OwnedFd,
    /// These are loaded when they are first needed.
    calibrate: Option<OwnedFd>,
    strings: Option<OwnedFd>,
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
        Self::load_linked(Linked::new(btf)?)
    }

    /// Loads an object that was linked for this kernel.
    pub(crate) fn load_linked(linked: Linked) -> Result<Self> {
        let maps: Result<Vec<_>, _> = linked.maps.iter().map(Array::create).collect();
        let maps = maps.map_err(|e| refused(&e))?;
        let btf = syscall::load_btf(&linked.btf).map_err(|e| refused(&e))?;
        let array = |name: &str| {
            let place = linked.maps.iter().position(|map| map.name == name);
            let place =
                place.ok_or_else(|| Error::failed(format!("finding the BPF map {name}"), "not in the object"))?;
            Ok((&linked.maps[place], maps[place].as_fd()))
        };
        let control = Shared::map(array("CONTROL")?, 1)?;
        let records = Shared::map(array("RECORDS")?, MAX_RECORDS)?;
        let names = Shared::map(array("NAMES")?, NAME_BYTES)?;
        Ok(Self {
            scan: load(&linked, Entry::Scan, &maps, btf.as_fd())?,
            calibrate: None,
            strings: None,
            control,
            records,
            names,
            btf,
            maps,
            linked,
        })
    }

    /// Returns the object that was loaded.
    pub(crate) fn linked(&self) -> &Linked {
        &self.linked
    }

    /// Attaches a program to the process `pid`, of the caller's PID namespace.
    ///
    /// # Errors
    /// [`Error::Failed`]: kernels below 6.1 have no iterator over one task.
    pub(crate) fn link(&mut self, entry: Entry, pid: u32) -> Result<Link> {
        if !self.control.is_here() {
            return Err(Error::failed(
                "running the BPF program",
                "it was loaded before fork(2); make a scanner in each process",
            ));
        }
        let lazy = match entry {
            Entry::Scan => None,
            Entry::Calibrate => Some(&mut self.calibrate),
            Entry::Strings => Some(&mut self.strings),
        };
        let program = match lazy {
            None => &self.scan,
            Some(Some(loaded)) => loaded,
            Some(none) => none.insert(load(&self.linked, entry, &self.maps, self.btf.as_fd())?),
        };
        syscall::link(program.as_fd(), pid)
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
        const NOTHING: u32 = u32::MAX;

        let failed = |e: std::io::Error| Error::failed("running the BPF program", e);
        let fd = syscall::iterator(link.0.as_fd()).map_err(failed)?;
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
        let place = self.linked.maps.iter().position(|map| map.name == "CONTROL")?;
        self.maps.get(place).map(AsFd::as_fd)
    }

    /// Returns the records of the last run.
    pub(crate) fn records(&self, control: &Control) -> &[Record] {
        self.records.first(control.records as usize)
    }

    /// Returns the names of the last run.
    pub(crate) fn names(&self, control: &Control) -> &[u8] {
        self.names.first(control.name_bytes as usize)
    }
}

/// Loads a program of the object.
fn load(linked: &Linked, entry: Entry, maps: &[OwnedFd], btf: BorrowedFd<'_>) -> Result<OwnedFd> {
    let name = entry.name();
    let code = linked.programs.iter().find(|code| code.name == name);
    let code = code.ok_or_else(|| Error::failed(format!("finding the BPF program {name}"), "not in the object"))?;
    syscall::load(&Text {
        name,
        instructions: &code.with_maps(maps),
        functions: &code.functions,
        function_bytes: code.function_bytes,
        btf,
        attaches_to: linked.attaches_to,
    })
    .map_err(|e| refused(&e))
}
