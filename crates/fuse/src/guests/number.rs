//! The numbers of files: each says whose it is, and which.

use std::ffi::OsStr;

use fuser::{FileType, INodeNo};

/// A file of a guest, or of its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    Maps,
    Smaps,
    Rollup,
    Pagemap,
    Statm,
    Status,
    Stat,
    Cmdline,
    Comm,
    Environ,
    Exe,
    Cwd,
    Root,
    Fd,
    Task,
}

impl File {
    pub(super) const ALL: [Self; 15] = [
        Self::Maps,
        Self::Smaps,
        Self::Rollup,
        Self::Pagemap,
        Self::Statm,
        Self::Status,
        Self::Stat,
        Self::Cmdline,
        Self::Comm,
        Self::Environ,
        Self::Exe,
        Self::Cwd,
        Self::Root,
        Self::Fd,
        Self::Task,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Smaps => "smaps",
            Self::Rollup => "smaps_rollup",
            Self::Pagemap => "pagemap",
            Self::Statm => "statm",
            Self::Status => "status",
            Self::Stat => "stat",
            Self::Cmdline => "cmdline",
            Self::Comm => "comm",
            Self::Environ => "environ",
            Self::Exe => "exe",
            Self::Cwd => "cwd",
            Self::Root => "root",
            Self::Fd => "fd",
            Self::Task => "task",
        }
    }

    pub(super) fn kind(self) -> FileType {
        match self {
            Self::Exe | Self::Cwd | Self::Root => FileType::Symlink,
            Self::Fd | Self::Task => FileType::Directory,
            _ => FileType::RegularFile,
        }
    }

    /// Returns the permissions that the kernel's file has.
    pub(super) fn mode(self) -> u16 {
        match self {
            Self::Exe | Self::Cwd | Self::Root => 0o777,
            Self::Fd => 0o500,
            Self::Task => 0o555,
            Self::Pagemap | Self::Environ => 0o400,
            _ => 0o444,
        }
    }

    /// Returns whether it says what only its owner and root may know.
    pub(super) fn is_private(self) -> bool {
        matches!(
            self,
            Self::Maps
                | Self::Smaps
                | Self::Rollup
                | Self::Pagemap
                | Self::Environ
                | Self::Exe
                | Self::Cwd
                | Self::Root
                | Self::Fd
        )
    }
}

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Root,
    /// A file of the running machine's /proc, by its place in [`MACHINE`].
    Machine(usize),
    /// The directory of a guest, or of its thread.
    Directory {
        pid: u32,
        of_thread: bool,
    },
    File {
        pid: u32,
        of_thread: bool,
        file: File,
    },
}

/// Files of the machine that programs read first; they are the running kernel's.
pub(super) const MACHINE: [&str; 8] = [
    "stat",
    "meminfo",
    "uptime",
    "version",
    "loadavg",
    "cpuinfo",
    "filesystems",
    "vmstat",
];

/// Of the machine's files.
const OF_MACHINE: u64 = 0x100;
/// Of directories, in the place where files have theirs.
const DIRECTORY: u64 = 0xff;

impl Number {
    /// Returns the number of the inode.
    pub(super) fn encode(self) -> INodeNo {
        let of = |pid: u32, of_thread: bool, which: u64| u64::from(pid) << 32 | u64::from(of_thread) << 16 | which;
        INodeNo(match self {
            Self::Root => INodeNo::ROOT.0,
            Self::Machine(place) => OF_MACHINE + place as u64,
            Self::Directory { pid, of_thread } => of(pid, of_thread, DIRECTORY),
            Self::File { pid, of_thread, file } => of(pid, of_thread, file as u64),
        })
    }

    /// Returns what an inode's number stands for.
    pub(super) fn decode(number: INodeNo) -> Option<Self> {
        let (pid, of_thread, which) = ((number.0 >> 32) as u32, number.0 >> 16 & 1 != 0, number.0 & 0xffff);
        Some(match (pid, which) {
            (0, 1) => Self::Root,
            (0, OF_MACHINE..) => Self::Machine((which - OF_MACHINE) as usize),
            (0, _) => return None,
            (_, DIRECTORY) => Self::Directory { pid, of_thread },
            _ => Self::File {
                pid,
                of_thread,
                file: *File::ALL.get(which as usize)?,
            },
        })
    }

    /// Returns what a name stands for in this directory.
    pub(super) fn find(self, name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        match self {
            Self::Root => match name.parse() {
                Ok(pid) if pid > 0 => Some(Self::Directory { pid, of_thread: false }),
                _ => MACHINE.iter().position(|&file| file == name).map(Self::Machine),
            },
            Self::Directory { pid, of_thread } => File::ALL
                .into_iter()
                .find(|file| file.name() == name && !(of_thread && *file == File::Task))
                .map(|file| Self::File { pid, of_thread, file }),
            // It has the one thread.
            Self::File {
                pid, file: File::Task, ..
            } => (name == pid.to_string()).then_some(Self::Directory { pid, of_thread: true }),
            _ => None,
        }
    }

    /// Returns the guest that it is of.
    pub(super) fn pid(self) -> Option<u32> {
        match self {
            Self::Root | Self::Machine(_) => None,
            Self::Directory { pid, .. } | Self::File { pid, .. } => Some(pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_what_it_was_made_of() {
        let mut all = vec![Number::Root];
        all.extend((0..MACHINE.len()).map(Number::Machine));
        for (pid, of_thread) in [(1, false), (1, true), (u32::MAX, true)] {
            all.push(Number::Directory { pid, of_thread });
            all.extend(File::ALL.map(|file| Number::File { pid, of_thread, file }));
        }
        for (i, number) in all.iter().enumerate() {
            assert_eq!(Number::decode(number.encode()), Some(*number));
            assert!(
                all[..i].iter().all(|other| other.encode() != number.encode()),
                "{number:?}"
            );
        }
        assert_eq!(Number::decode(INodeNo(2)), None);
        assert_eq!(Number::decode(INodeNo(1 << 32 | 0x7f)), None);
    }

    #[test]
    fn names_lead_to_files_and_a_thread_has_no_threads() {
        let find = |path: &str| {
            path.split('/')
                .try_fold(Number::Root, |at, name| at.find(OsStr::new(name)))
        };
        assert_eq!(find("meminfo"), Some(Number::Machine(1)));
        let maps = |of_thread| Number::File {
            pid: 7,
            of_thread,
            file: File::Maps,
        };
        assert_eq!(find("7/maps"), Some(maps(false)));
        assert_eq!(find("7/task/7/maps"), Some(maps(true)));
        for path in ["0", "-1", "x", "7/task/8", "7/task/7/task", "7/maps/x", "7/x"] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
