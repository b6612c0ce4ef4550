//! The kernel's requests.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fuser::{
    AccessFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, Request,
};
use rustix::fs::{Access, AtFlags, Mode, OFlags, RawDir, SeekFrom, Stat, accessat, fstatvfs, openat, readlinkat, seek};

use crate::live::answer::Answer;
use crate::live::attributes::{attributes, file_type};
use crate::live::caller::Caller;
use crate::live::file::{Open, Scanned, read_at};
use crate::live::node::{Node, Place};
use crate::live::once;
use crate::live::{Files, Live};

/// Nothing is remembered by the kernel: processes come and go.
const NO_TIME: Duration = Duration::ZERO;

/// Files of a process that never wait for it.
const QUICK: [&str; 8] = [
    "stat",
    "status",
    "statm",
    "comm",
    "cgroup",
    "limits",
    "oom_score",
    "oom_score_adj",
];

impl Files {
    fn find(&self, caller: &Caller, parent: INodeNo, name: &OsStr) -> Result<(INodeNo, Stat), Errno> {
        let of = self.nodes.get(parent)?;
        let directory = of.directory()?;
        let (node, stat) = caller.act(|| Node::find(directory, parent, name))?;
        Ok((self.nodes.add(node, stat.st_ino), stat))
    }

    fn stat(&self, caller: &Caller, number: INodeNo) -> Result<Stat, Errno> {
        let node = self.nodes.get(number)?;
        caller.act(|| node.stat())
    }

    fn link(&self, caller: &Caller, number: INodeNo) -> Result<Vec<u8>, Errno> {
        let node = self.nodes.get(number)?;
        match (node.parent.place, node.name.as_bytes()) {
            // Of the caller, not of this process.
            (Place::Root, b"self") => Ok(caller.process.to_string().into_bytes()),
            (Place::Root, b"thread-self") => Ok(format!("{}/task/{}", caller.process, caller.thread).into_bytes()),
            _ => caller.act(|| Ok(readlinkat(&node.parent.fd, &node.name, vec![])?.into_bytes())),
        }
    }

    fn open_file(&self, caller: &Caller, number: INodeNo) -> Result<Open, Errno> {
        let node = self.nodes.get(number)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let kernels = caller.act(|| {
            may_read_setting(caller, &node)?;
            openat(&node.parent.fd, &node.name, flags, Mode::empty())
        })?;
        let kernels = File::from(kernels);
        if let (Place::Task(_), b"numa_maps", Some(_)) = (node.parent.place, node.name.as_bytes(), &self.scans) {
            once::warn("numa_maps: the kernel's own is read, under its locks: no scan has it".into());
        }
        match (node.parent.place, Answer::of(&node.name)) {
            (Place::Task(task), Some(answer)) if self.scans.is_some() => {
                Scanned::new(answer, task, &node.parent, kernels)
                    .map(Open::Scanned)
                    .map_err(|e| Errno::from_i32(e.raw_os_error()))
            }
            _ => Ok(Open::Kernel {
                file: kernels,
                may_wait: may_wait(&node),
            }),
        }
    }

    fn read(&self, caller: &Caller, open: &Open, offset: u64, size: usize) -> Result<Vec<u8>, Errno> {
        match (open, &self.scans) {
            (Open::Kernel { file, .. }, _) => read_at(file, caller, offset, size),
            (Open::Scanned(file), Some(scans)) => file.read(caller, scans, offset, size),
            _ => Err(Errno::EBADF),
        }
    }

    fn open_directory(&self, caller: &Caller, number: INodeNo) -> Result<Open, Errno> {
        let node = self.nodes.get(number)?;
        let directory = node.directory()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = caller.act(|| openat(&directory.fd, ".", flags, Mode::empty()))?;
        Ok(Open::Directory(Mutex::new(File::from(file))))
    }

    fn list(&self, caller: &Caller, handle: FileHandle, offset: u64, reply: &mut ReplyDirectory) -> Result<(), Errno> {
        let open = self.open.get(handle)?;
        let Open::Directory(file) = &*open else {
            return Err(Errno::EBADF);
        };
        let file = file.lock().unwrap_or_else(PoisonError::into_inner);
        caller.act(|| {
            seek(&*file, SeekFrom::Start(offset))?;
            let mut room = [MaybeUninit::uninit(); 8192];
            let mut entries = RawDir::new(file.as_fd(), &mut room);
            while let Some(entry) = entries.next() {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                let Some(kind) = file_type(entry.file_type()) else {
                    continue;
                };
                if reply.add(INodeNo(entry.ino()), entry.next_entry_cookie(), kind, name) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn may_access(&self, caller: &Caller, number: INodeNo, mask: AccessFlags) -> Result<(), Errno> {
        let node = self.nodes.get(number)?;
        let access = Access::from_bits_truncate(mask.bits().cast_unsigned());
        // The rights are those that the kernel looks at for access(2) already.
        let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
        caller.act(|| match &node.directory {
            Some(directory) => accessat(&directory.fd, ".", access, flags),
            None => accessat(&node.parent.fd, &node.name, access, flags),
        })
    }
}

/// Returns whether to open a file, or to read it, may wait for the process that it is of.
fn may_wait(node: &Node) -> bool {
    matches!(node.parent.place, Place::Task(_)) && !QUICK.iter().any(|quick| node.name == *quick)
}

/// Checks that the caller may read a file of /proc/sys.
///
/// The kernel gives them to the effective user of this thread, which is not the caller's.
fn may_read_setting(caller: &Caller, node: &Node) -> rustix::io::Result<()> {
    if node.parent.place != Place::Settings {
        return Ok(());
    }
    let stat = node.stat()?;
    let credentials = &caller.credentials;
    let bits = if credentials.uid() == stat.st_uid {
        stat.st_mode >> 6
    } else if credentials.is_in_group(stat.st_gid) {
        stat.st_mode >> 3
    } else {
        stat.st_mode
    };
    if bits & 4 == 0 {
        return Err(rustix::io::Errno::ACCESS);
    }
    Ok(())
}

impl Live {
    /// Does something now, or in another thread if it may wait for a process: this one answers the
    /// next request then.
    fn act(&self, may_wait: bool, act: impl FnOnce(&Files) + Send + 'static) {
        if may_wait {
            let files = Arc::clone(&self.0);
            blocking::unblock(move || act(&files)).detach();
        } else {
            act(&self.0);
        }
    }
}

impl Filesystem for Live {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Where the kernel has none of it, lookups in a directory wait for one another.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match Caller::of(request).and_then(|caller| self.0.find(&caller, parent, name)) {
            Ok((number, stat)) => reply.entry(&NO_TIME, &attributes(number, &stat), Generation(0)),
            Err(e) => reply.error(e),
        }
    }

    fn forget(&self, _request: &Request, number: INodeNo, lookups: u64) {
        self.0.nodes.forget(number, lookups);
    }

    fn getattr(&self, request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match Caller::of(request).and_then(|caller| self.0.stat(&caller, number)) {
            Ok(stat) => reply.attr(&NO_TIME, &attributes(number, &stat)),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, request: &Request, number: INodeNo, reply: ReplyData) {
        match Caller::of(request).and_then(|caller| self.0.link(&caller, number)) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(e),
        }
    }

    fn open(&self, request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let caller = match Caller::of(request) {
            Ok(caller) => caller,
            Err(e) => return reply.error(e),
        };
        let may_wait = self.0.nodes.get(number).is_ok_and(|node| may_wait(&node));
        self.act(may_wait, move |files| match files.open_file(&caller, number) {
            Ok(open) => reply.opened(files.open.add(open), FopenFlags::FOPEN_DIRECT_IO),
            Err(e) => reply.error(e),
        });
    }

    fn read(
        &self,
        request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (caller, open) = match Caller::of(request).and_then(|caller| Ok((caller, self.0.open.get(handle)?))) {
            Ok(known) => known,
            Err(e) => return reply.error(e),
        };
        self.act(open.may_wait(offset), move |files| {
            match files.read(&caller, &open, offset, size as usize) {
                Ok(bytes) => reply.data(&bytes),
                Err(e) => reply.error(e),
            }
        });
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.open.close(handle);
        reply.ok();
    }

    fn opendir(&self, request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match Caller::of(request).and_then(|caller| self.0.open_directory(&caller, number)) {
            Ok(open) => reply.opened(self.0.open.add(open), FopenFlags::empty()),
            Err(e) => reply.error(e),
        }
    }

    fn readdir(&self, request: &Request, _number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match Caller::of(request).and_then(|caller| self.0.list(&caller, handle, offset, &mut reply)) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.open.close(handle);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        match fstatvfs(&self.0.nodes.root().fd) {
            Ok(of) => reply.statfs(
                of.f_blocks,
                of.f_bfree,
                of.f_bavail,
                of.f_files,
                of.f_ffree,
                of.f_bsize as u32,
                of.f_namemax as u32,
                of.f_frsize as u32,
            ),
            Err(e) => reply.error(Errno::from_i32(e.raw_os_error())),
        }
    }

    fn access(&self, request: &Request, number: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        match Caller::of(request).and_then(|caller| self.0.may_access(&caller, number, mask)) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::fs::CWD;

    use super::*;
    use crate::live::node::Nodes;

    #[test]
    fn what_may_wait_for_a_process_is_not_done_by_the_threads_that_answer() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc: OwnedFd = openat(CWD, "/proc", flags, Mode::empty()).unwrap();
        let nodes = Nodes::new(proc);
        let own = std::process::id().to_string();
        let waits = |path: &str| {
            let mut number = INodeNo::ROOT;
            for name in path.split('/') {
                let of = nodes.get(number).unwrap();
                let (node, stat) = Node::find(of.directory().unwrap(), number, OsStr::new(name)).unwrap();
                number = nodes.add(node, stat.st_ino);
            }
            may_wait(&nodes.get(number).unwrap())
        };
        for name in ["maps", "smaps", "mem", "pagemap", "numa_maps", "environ", "io", "stack"] {
            assert!(waits(&format!("{own}/{name}")) && waits(&format!("{own}/task/{own}/{name}")));
        }
        for path in [
            "meminfo",
            "sys/kernel/ostype",
            &format!("{own}/stat"),
            &format!("{own}/status"),
        ] {
            assert!(!waits(path), "{path}");
        }
    }
}
