//! The kernel's requests for files of guests.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};
use rustix::process::{getegid, geteuid};

use crate::guests::number::{File, MACHINE, Number};
use crate::guests::open::{Open, of_io};
use crate::guests::{Guest, Guests};
use crate::handles::Handles;

/// Nothing is remembered by the kernel: guests come and go.
const NO_TIME: Duration = Duration::ZERO;

/// The tree of guests.
pub(crate) struct GuestTree {
    guests: Guests,
    open: Handles<Mutex<Open>>,
}

impl GuestTree {
    pub(crate) fn of(guests: &Guests) -> Self {
        Self {
            guests: guests.clone(),
            open: Handles::default(),
        }
    }

    /// Returns the guest that something is of, if it is of one.
    fn guest(&self, number: Number) -> Result<Option<Arc<Guest>>, Errno> {
        number
            .pid()
            .map(|pid| self.guests.get(pid).ok_or(Errno::ENOENT))
            .transpose()
    }

    fn attributes(&self, number: Number) -> Result<FileAttr, Errno> {
        let guest = self.guest(number)?;
        let (kind, perm) = match number {
            Number::Root | Number::Directory { .. } => (FileType::Directory, 0o555),
            Number::Machine(_) => (FileType::RegularFile, 0o444),
            Number::File { file, .. } => (file.kind(), file.mode()),
        };
        let began = guest.as_ref().map_or(UNIX_EPOCH, |guest| guest.began());
        Ok(FileAttr {
            ino: number.encode(),
            size: 0,
            blocks: 0,
            atime: began,
            mtime: began,
            ctime: began,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: guest.as_ref().map_or(geteuid().as_raw(), |guest| guest.uid()),
            gid: guest.as_ref().map_or(getegid().as_raw(), |guest| guest.gid()),
            rdev: 0,
            blksize: 1024,
            flags: 0,
        })
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let number = number(parent)?.find(name).ok_or(Errno::ENOENT)?;
        self.attributes(number)
    }

    fn link(&self, request: &Request, inode: INodeNo) -> Result<Vec<u8>, Errno> {
        let number = number(inode)?;
        let guest = self.guest(number)?.ok_or(Errno::EINVAL)?;
        may_read(request, &guest, number)?;
        match number {
            Number::File { file: File::Exe, .. } if guest.exe().as_os_str().is_empty() => Err(Errno::ENOENT),
            Number::File { file: File::Exe, .. } => Ok(guest.exe().as_os_str().as_bytes().to_vec()),
            Number::File {
                file: File::Cwd | File::Root,
                ..
            } => Ok(b"/".to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open_file(&self, request: &Request, inode: INodeNo) -> Result<FileHandle, Errno> {
        let number = number(inode)?;
        let open = match (number, self.guest(number)?) {
            (Number::File { file, .. }, Some(guest)) => {
                may_read(request, &guest, number)?;
                Open::new(&guest, file)?
            }
            (Number::Machine(place), _) => {
                let name = MACHINE.get(place).ok_or(Errno::ESTALE)?;
                let text = fs::read(format!("/proc/{name}"));
                Open::Whole(text.map_err(|e| of_io(&e))?)
            }
            _ => return Err(Errno::EISDIR),
        };
        Ok(self.open.add(Mutex::new(open)))
    }

    fn read_file(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let open = self.open.get(handle)?;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.read(offset, size as usize)
    }

    /// Returns what is in a directory.
    fn list(&self, request: &Request, inode: INodeNo) -> Result<Vec<(Number, String, FileType)>, Errno> {
        let number = number(inode)?;
        if let Some(guest) = self.guest(number)? {
            may_read(request, &guest, number)?;
        }
        let directory = |number, name: String| (number, name, FileType::Directory);
        let guests = |pids: Vec<u32>, of_thread| {
            pids.into_iter()
                .map(move |pid| directory(Number::Directory { pid, of_thread }, pid.to_string()))
        };
        Ok(match number {
            Number::Root => {
                let machine = MACHINE.iter().enumerate();
                let machine =
                    machine.map(|(place, name)| (Number::Machine(place), (*name).to_owned(), FileType::RegularFile));
                machine.chain(guests(self.guests.pids(), false)).collect()
            }
            Number::Directory { pid, of_thread } => {
                let files = File::ALL.into_iter().filter(|&file| !(of_thread && file == File::Task));
                files
                    .map(|file| {
                        (
                            Number::File { pid, of_thread, file },
                            file.name().to_owned(),
                            file.kind(),
                        )
                    })
                    .collect()
            }
            Number::File {
                pid, file: File::Task, ..
            } => guests(vec![pid], true).collect(),
            Number::File { file: File::Fd, .. } => vec![],
            _ => return Err(Errno::ENOTDIR),
        })
    }
}

fn number(inode: INodeNo) -> Result<Number, Errno> {
    Number::decode(inode).ok_or(Errno::ESTALE)
}

/// Checks that the caller may read what only a guest's owner and root may.
fn may_read(request: &Request, guest: &Guest, number: Number) -> Result<(), Errno> {
    let is_private = matches!(number, Number::File { file, .. } if file.is_private());
    let is_owner = [0, guest.uid()].contains(&request.uid());
    if is_private && !is_owner {
        return Err(Errno::EACCES);
    }
    Ok(())
}

impl Filesystem for GuestTree {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Ok(attributes) => reply.entry(&NO_TIME, &attributes, Generation(0)),
            Err(e) => reply.error(e),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match number(inode).and_then(|number| self.attributes(number)) {
            Ok(attributes) => reply.attr(&NO_TIME, &attributes),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, request: &Request, inode: INodeNo, reply: ReplyData) {
        match self.link(request, inode) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(e),
        }
    }

    fn open(&self, request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(request, inode) {
            Ok(handle) => reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO),
            Err(e) => reply.error(e),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_file(handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => reply.error(e),
        }
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.open.close(handle);
        reply.ok();
    }

    fn readdir(&self, request: &Request, inode: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.list(request, inode) {
            Ok(entries) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                for (place, (number, name, kind)) in (1..).zip(entries).skip(from) {
                    if reply.add(number.encode(), place, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(e) => reply.error(e),
        }
    }
}
