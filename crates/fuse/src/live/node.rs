//! What the kernel has looked up and not forgotten.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    parent_number: INodeNo,
    pub(super) name: OsString,
    /// If it is a directory, that.
    pub(super) directory: Option<Arc<Directory>>,
}

impl Node {
    /// Opens what has this name in a directory, as far as it can be without the right to read it.
    ///
    /// # Errors
    /// `ENOENT`, `ESRCH` if the process is gone, `EACCES`.
    pub(super) fn find(
        parent: &Arc<Directory>,
        parent_number: INodeNo,
        name: &OsStr,
    ) -> rustix::io::Result<(Self, Stat)> {
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
            parent_number,
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
    table: Mutex<Table>,
    root: Arc<Directory>,
}

struct Known {
    node: Arc<Node>,
    /// How often the kernel has looked it up and not forgotten it.
    lookups: u64,
    /// The number of lookups of all before the first of this.
    since: u64,
}

/// What the kernel knows.
#[derive(Default)]
struct Table {
    known: HashMap<u64, Known>,
    directories: usize,
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
            parent_number: INodeNo::ROOT,
            name: OsString::new(),
            directory: Some(Arc::clone(&root)),
        });
        let root_node = Known {
            node,
            lookups: 1,
            since: 0,
        };
        let table = Table {
            known: HashMap::from([(INodeNo::ROOT.0, root_node)]),
            directories: 1,
            lookups: 1,
        };
        Self {
            table: Mutex::new(table),
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
        let table = self.lock();
        let known = table.known.get(&number.0);
        known.map(|known| Arc::clone(&known.node)).ok_or(Errno::ESTALE)
    }

    /// Counts a lookup, and returns the number of the node: that of its inode, unless another has
    /// that.
    pub(super) fn add(&self, node: Node, inode: u64) -> INodeNo {
        let mut table = self.lock();
        let is_same = |known: &Known| Arc::ptr_eq(&known.node.parent, &node.parent) && known.node.name == node.name;
        let mut number = inode;
        while table.known.get(&number).is_some_and(|known| !is_same(known)) {
            number = (number | SPARE).wrapping_add(1) | SPARE;
        }
        table.lookups += 1;
        let since = table.lookups;
        if let Some(known) = table.known.get_mut(&number) {
            known.lookups += 1;
        } else {
            table.directories += usize::from(node.directory.is_some());
            let node = Arc::new(node);
            table.known.insert(
                number,
                Known {
                    node,
                    lookups: 1,
                    since,
                },
            );
        }
        INodeNo(number)
    }

    /// Takes back lookups.
    pub(super) fn forget(&self, number: INodeNo, lookups: u64) {
        if number == INodeNo::ROOT {
            return;
        }
        let mut table = self.lock();
        let Some(known) = table.known.get_mut(&number.0) else {
            return;
        };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups > 0 {
            return;
        }
        let gone = table.known.remove(&number.0);
        table.directories -= usize::from(gone.as_ref().is_some_and(|known| known.node.directory.is_some()));
        // Closing a file needs no lock.
        drop(table);
        drop(gone);
    }

    /// Returns the directories, each as a name in another, that were looked up first, if there are
    /// more than `most`: all but half of that.
    pub(super) fn excess(&self, most: usize) -> Vec<(INodeNo, OsString)> {
        let table = self.lock();
        if table.directories <= most {
            return vec![];
        }
        let is_directory = |known: &&Known| known.node.directory.is_some() && known.since > 0;
        let mut directories: Vec<_> = table.known.values().filter(is_directory).collect();
        directories.sort_unstable_by_key(|known| known.since);
        directories.truncate(directories.len().saturating_sub(most / 2));
        let names = directories
            .iter()
            .map(|known| (known.node.parent_number, known.node.name.clone()));
        names.collect()
    }

    /// Returns how many nodes the kernel knows.
    pub(super) fn count(&self) -> usize {
        self.lock().known.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    fn nodes() -> Nodes {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Nodes::new(openat(CWD, "/proc", flags, Mode::empty()).unwrap())
    }

    fn look_up(nodes: &Nodes, parent: INodeNo, name: &str) -> INodeNo {
        let node = nodes.get(parent).unwrap();
        let (node, stat) = Node::find(node.directory().unwrap(), parent, OsStr::new(name)).unwrap();
        nodes.add(node, stat.st_ino)
    }

    #[test]
    fn what_was_looked_up_is_known_until_it_is_forgotten_as_often() {
        let nodes = nodes();
        let own = look_up(&nodes, INodeNo::ROOT, &std::process::id().to_string());
        assert_eq!(look_up(&nodes, INodeNo::ROOT, &std::process::id().to_string()), own);
        let maps = look_up(&nodes, own, "maps");
        let node = nodes.get(maps).unwrap();
        assert!(node.directory().is_err() && node.stat().is_ok());
        assert_eq!(node.parent.place, Place::Task(std::process::id()));
        nodes.forget(own, 1);
        assert!(nodes.get(own).is_ok());
        nodes.forget(own, 1);
        assert!(nodes.get(own).is_err());
        nodes.forget(maps, 1);
        nodes.forget(INodeNo::ROOT, 1);
        assert_eq!(nodes.count(), 1);
    }

    #[test]
    fn two_files_of_one_inode_number_have_two_numbers() {
        let nodes = nodes();
        let add = |name| {
            let root = nodes.get(INodeNo::ROOT).unwrap();
            nodes.add(
                Node::find(root.directory().unwrap(), INodeNo::ROOT, OsStr::new(name))
                    .unwrap()
                    .0,
                77,
            )
        };
        let (version, stat, again) = (add("version"), add("stat"), add("stat"));
        assert_ne!(version, stat);
        assert_eq!(stat, again);
        assert_eq!(nodes.get(stat).unwrap().name, "stat");
    }

    #[test]
    fn of_too_many_directories_those_that_were_looked_up_first_are_named() {
        let nodes = nodes();
        let own = look_up(&nodes, INodeNo::ROOT, &std::process::id().to_string());
        for name in ["fd", "maps", "ns", "net", "task"] {
            look_up(&nodes, own, name);
        }
        assert_eq!(nodes.excess(6), []);
        let excess = nodes.excess(5);
        let names: Vec<_> = excess
            .iter()
            .map(|(_, name)| name.to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, [std::process::id().to_string(), "fd".into(), "ns".into()]);
        assert_eq!(excess[1].0, own);
    }
}
