//! What stat(2) says of a file, for the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::fs::Stat;

/// Returns the type of a file; `None` for one that the kernel does not know.
pub(super) fn file_type(of: rustix::fs::FileType) -> Option<FileType> {
    Some(match of {
        rustix::fs::FileType::RegularFile => FileType::RegularFile,
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        rustix::fs::FileType::Unknown => return None,
    })
}

/// Returns the attributes of a file with this number.
pub(super) fn attributes(number: INodeNo, stat: &Stat) -> FileAttr {
    let mode = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    FileAttr {
        ino: number,
        size: stat.st_size.cast_unsigned(),
        blocks: stat.st_blocks.cast_unsigned(),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: file_type(mode).unwrap_or(FileType::RegularFile),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        // The lower half is how the kernel's protocol has it.
        rdev: stat.st_rdev as u32,
        blksize: stat.st_blksize as u32,
        flags: 0,
    }
}

fn time(seconds: i64, nanoseconds: impl Into<i128>) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds.into()).unwrap_or(0));
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH + seconds + nanoseconds
}
