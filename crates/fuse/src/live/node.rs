//! What the kernel has looked up and not forgotten.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use fuser::{Errno, INodeNo};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};

/// A directory of /proc, held open: it never is that of another process that has its number later.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) place: Place,
}

/// What a directory of /proc is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    /// Of a process or thread with this number.
    Task(u32),
    /// The threads of a process.
    Threads,
    /// /proc/sys, and all below it.
    Settings,
    Other,
}

impl Place {
    /// Returns what the directory `name` in this one is.
    fn inside(self, name: &OsStr) -> Self {
        let number = name.to_str().and_then(|name| name.parse().ok());
        match (self, number) {
            (Self::Root | Self::Threads, Some(number)) => Self::Task(number),
            (Self::Root, None) if name == "sys" => Self::Settings,
            (Self::Settings, _) => Self::Settings,
            (Self::Task(_), None) if name == "task" => Self::Threads,
            _ => Self::Other,
        }
    }
}

/// A file or directory that was looked up.
pub(super) struct Node {
    /// The directory that it is in.
    pub(super) parent: Arc<Directory>,
    pub(super) name: OsString,
    /// If it is a directory, that.
    pub(super) directory: Option<Arc<Directory>>,
}

impl Node {
    /// Opens what has this name in a directory, as far as it can be without the right to read it.
    ///
    /// # Errors
    /// `ENOENT`, `ESRCH` if the process is gone, `EACCES`.
    pub(super) fn find(parent: &Arc<Directory>, name: &OsStr) -> rustix::io::Result<(Self, Stat)> {
        let mut stat = statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut directory = None;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&parent.fd, name, flags, Mode::empty())?;
            stat = fstat(&fd)?;
            let place = parent.place.inside(name);
            directory = Some(Arc::new(Directory { fd, place }));
        }
        let node = Self {
            parent: Arc::clone(parent),
            name: name.to_owned(),
            directory,
        };
        Ok((node, stat))
    }

    /// Returns what stat(2) says of it.
    ///
    /// # Errors
    /// `ENOENT`, `ESRCH` if the process is gone, `EACCES`.
    pub(super) fn stat(&self) -> rustix::io::Result<Stat> {
        match &self.directory {
            Some(directory) => fstat(&directory.fd),
            None => statat(&self.parent.fd, &self.name, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Returns it as a directory.
    ///
    /// # Errors
    /// `ENOTDIR`.
    pub(super) fn directory(&self) -> Result<&Arc<Directory>, Errno> {
        self.directory.as_ref().ok_or(Errno::ENOTDIR)
    }
}

/// The nodes that the kernel knows, by number.
pub(super) struct Nodes {
    nodes: Mutex<HashMap<u64, Known>>,
    root: Arc<Directory>,
}

struct Known {
    node: Arc<Node>,
    /// How often the kernel has looked it up and not forgotten it.
    lookups: u64,
}

/// Numbers from here on are of nodes whose own another node has.
const SPARE: u64 = 1 << 63;

impl Nodes {
    pub(super) fn new(root: OwnedFd) -> Self {
        let root = Arc::new(Directory {
            fd: root,
            place: Place::Root,
        });
        let node = Arc::new(Node {
            parent: Arc::clone(&root),
            name: OsString::new(),
            directory: Some(Arc::clone(&root)),
        });
        let nodes = HashMap::from([(INodeNo::ROOT.0, Known { node, lookups: 1 })]);
        Self {
            nodes: Mutex::new(nodes),
            root,
        }
    }

    pub(super) fn root(&self) -> &Directory {
        &self.root
    }

    /// Returns the node of a number that the kernel knows.
    ///
    /// # Errors
    /// `ESTALE` if it does not.
    pub(super) fn get(&self, number: INodeNo) -> Result<Arc<Node>, Errno> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes
            .get(&number.0)
            .map(|known| Arc::clone(&known.node))
            .ok_or(Errno::ESTALE)
    }

    /// Counts a lookup, and returns the number of the node: that of its inode, unless another has
    /// that.
    pub(super) fn add(&self, node: Node, inode: u64) -> INodeNo {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &Known| Arc::ptr_eq(&known.node.parent, &node.parent) && known.node.name == node.name;
        let mut number = inode;
        while nodes.get(&number).is_some_and(|known| !is_same(known)) {
            number = (number | SPARE).wrapping_add(1) | SPARE;
        }
        let node = || Known {
            node: Arc::new(node),
            lookups: 0,
        };
        nodes.entry(number).or_insert_with(node).lookups += 1;
        INodeNo(number)
    }

    /// Takes back lookups.
    pub(super) fn forget(&self, number: INodeNo, lookups: u64) {
        if number == INodeNo::ROOT {
            return;
        }
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = nodes.get_mut(&number.0) {
            known.lookups = known.lookups.saturating_sub(lookups);
            if known.lookups == 0 {
                let gone = nodes.remove(&number.0);
                drop(nodes);
                drop(gone);
            }
        }
    }

    /// Returns how many nodes the kernel knows.
    pub(super) fn count(&self) -> usize {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
