//! A process of an emulator.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::process::{getegid, geteuid};
use vmaple_mm::pgtable::CountBy;
use vmaple_mm::{Error, Machine, MmRef, VmaStore};
use vmaple_proc::{Maps, Pagemap, Smaps, SmapsRollup, Statm, Status, StatusRecord};

/// A process of an emulator, as it is shown.
pub struct Guest {
    pid: u32,
    parent: u32,
    name: String,
    arguments: Vec<u8>,
    program: PathBuf,
    uid: u32,
    gid: u32,
    began: SystemTime,
    memory: Box<dyn Memory>,
}

impl Guest {
    /// Returns a process with a number, a name and an address space. It belongs to the user of this
    /// process, and has no parent, no arguments and no program.
    ///
    /// Keeps nothing of the address space mapped. Once that is gone the files of memory report
    /// `ESRCH`.
    #[must_use]
    pub fn new<S: VmaStore + 'static, M: Machine + 'static>(pid: u32, name: &str, mm: &MmRef<S, M>) -> Self
    where
        MmRef<S, M>: Send + Sync,
        Maps<vmaple_mm::MmReader<S, M>>: Send,
        Smaps<vmaple_mm::MmReader<S, M>>: Send,
        SmapsRollup<S, M>: Send,
        Statm<S, M>: Send,
        Pagemap<S, M>: Send,
    {
        Self {
            pid,
            parent: 0,
            name: name.to_owned(),
            arguments: vec![],
            program: PathBuf::new(),
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            began: SystemTime::now(),
            memory: Box::new(mm.clone()),
        }
    }

    /// Sets the number of its parent.
    #[must_use]
    pub fn parent(mut self, pid: u32) -> Self {
        self.parent = pid;
        self
    }

    /// Sets its arguments, the first of which is the program.
    #[must_use]
    pub fn arguments<A: AsRef<[u8]>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.clear();
        for argument in arguments {
            self.arguments.extend(argument.as_ref());
            self.arguments.push(0);
        }
        self
    }

    /// Sets its program, which `exe` leads to.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// Sets the user and the group that it belongs to. They, and root, may read its memory map.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Returns its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn parent_pid(&self) -> u32 {
        self.parent
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn cmdline(&self) -> &[u8] {
        &self.arguments
    }

    pub(super) fn exe(&self) -> &Path {
        &self.program
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    pub(super) fn gid(&self) -> u32 {
        self.gid
    }

    pub(super) fn began(&self) -> SystemTime {
        self.began
    }

    pub(super) fn memory(&self) -> &dyn Memory {
        &*self.memory
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("pid", &self.pid)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A file of text that is read from its beginning on.
pub(super) type TextFile = Box<dyn Read + Send>;

/// The files of an address space.
pub(super) trait Memory: Send + Sync {
    fn maps(&self) -> Result<TextFile, Error>;
    fn smaps(&self) -> Result<TextFile, Error>;
    fn rollup(&self) -> Result<TextFile, Error>;
    fn statm(&self) -> Result<TextFile, Error>;
    fn status(&self) -> Result<StatusRecord, Error>;
    fn pagemap(&self) -> Result<Box<dyn Entries>, Error>;
}

/// A file of numbers that is read at any place.
pub(super) trait Entries: Send {
    fn read_at(&mut self, offset: u64, to: &mut [u8]) -> io::Result<usize>;
}

impl<S: VmaStore + 'static, M: Machine + 'static> Memory for MmRef<S, M>
where
    Self: Send + Sync,
    Maps<vmaple_mm::MmReader<S, M>>: Send,
    Smaps<vmaple_mm::MmReader<S, M>>: Send,
    SmapsRollup<S, M>: Send,
    Statm<S, M>: Send,
    Pagemap<S, M>: Send,
{
    fn maps(&self) -> Result<TextFile, Error> {
        Ok(Box::new(Maps::open(self)?))
    }

    fn smaps(&self) -> Result<TextFile, Error> {
        Ok(Box::new(Smaps::open(self)?))
    }

    fn rollup(&self) -> Result<TextFile, Error> {
        Ok(Box::new(SmapsRollup::open(self, CountBy::Counters)?))
    }

    fn statm(&self) -> Result<TextFile, Error> {
        Ok(Box::new(Statm::open(self)?))
    }

    fn status(&self) -> Result<StatusRecord, Error> {
        Status::open(self)?.record()
    }

    fn pagemap(&self) -> Result<Box<dyn Entries>, Error> {
        Ok(Box::new(Pagemap::open(self)?))
    }
}

impl<S: VmaStore, M: Machine> Entries for Pagemap<S, M>
where
    Self: Send,
{
    fn read_at(&mut self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        Self::read_at(self, offset, to).map_err(|e| io::Error::from_raw_os_error(e.errno.code()))
    }
}
