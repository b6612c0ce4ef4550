//! Mounting a tree, and unmounting it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, read_dir, read_to_string};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Notifier, SessionACL};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use rustix::process::{getegid, geteuid};

use crate::error::{Error, Result};
use crate::tree::{Excess, Tree};

/// The source of each mount, by which it is recognised.
const SOURCE: &str = "vmaple";

/// Threads that answer. What may wait for a process goes to others.
const THREADS: usize = 8;

/// The users that may use a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Users {
    /// The user of this process alone.
    #[default]
    Owner,
    /// Every user, each with the own rights.
    All,
}

/// A tree that is mounted, until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    session: Option<BackgroundSession>,
    _forgets: Forgets,
    directory: PathBuf,
    /// The number of the mount; `None` if fusermount3 made it, and fuser ends it.
    id: Option<u64>,
}

/// A tree that is served, and mounted nowhere yet.
#[derive(Debug)]
pub struct Detached {
    session: BackgroundSession,
    forgets: Forgets,
    mount: OwnedFd,
}

impl Detached {
    /// Serves a tree.
    ///
    /// # Errors
    /// [`Error::NotPossible`] without `CAP_SYS_ADMIN` in the mount namespace, or without /dev/fuse.
    pub fn new(tree: impl Tree, users: Users) -> Result<Self> {
        let device = open_device()?;
        let refused = |what: &str, e: Errno| match e {
            Errno::PERM => Error::NotPossible(format!("mounting: {what}: {e}; it needs CAP_SYS_ADMIN")),
            Errno::NODEV => Error::NotPossible("mounting: this kernel has no FUSE (CONFIG_FUSE_FS)".into()),
            Errno::NOSYS => Error::NotPossible("mounting: it needs Linux 5.2 or later".into()),
            _ => Error::failed(format!("mounting: {what}"), e),
        };
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| refused("fsopen", e))?;
        let fs = context.as_fd();
        let set = |key: &str, value: &str| fsconfig_set_string(fs, key, value).map_err(|e| refused(key, e));
        set("source", SOURCE)?;
        set("subtype", SOURCE)?;
        set("fd", &device.as_raw_fd().to_string())?;
        set("rootmode", "40555")?;
        set("user_id", &geteuid().as_raw().to_string())?;
        set("group_id", &getegid().as_raw().to_string())?;
        if users == Users::All {
            fsconfig_set_flag(fs, "allow_other").map_err(|e| refused("allow_other", e))?;
        }
        fsconfig_set_flag(fs, "ro").map_err(|e| refused("ro", e))?;
        fsconfig_create(fs).map_err(|e| refused("creating the file system", e))?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|e| refused("fsmount", e))?;
        let (session, excess) = tree
            .serve(Some(device.into()), Path::new(""), &config(users))
            .map_err(|e| Error::failed("serving the mount", e))?;
        let forgets = Forgets::start(session.notifier(), excess)?;
        Ok(Self {
            session,
            forgets,
            mount,
        })
    }

    /// Returns the mount, for move_mount(2), in whatever mount namespace.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    /// Mounts it at a directory.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn attach(self, directory: &Path) -> Result<Mounted> {
        let failed = |e| Error::failed(format!("mounting at {}", directory.display()), e);
        let id = mount_id(&self.mount, Path::new("")).map_err(failed)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&self.mount, "", CWD, directory, flags).map_err(failed)?;
        Ok(Mounted {
            session: Some(self.session),
            _forgets: self.forgets,
            directory: directory.to_owned(),
            id: Some(id),
        })
    }
}

impl Mounted {
    /// Mounts a tree at an empty directory.
    ///
    /// # Errors
    /// [`Error::Usage`] if the directory is in use, [`Error::NotPossible`] without /dev/fuse or the
    /// rights, if there is no fusermount3 either.
    pub fn new(tree: impl Tree, directory: &Path, users: Users) -> Result<Self> {
        let directory = empty_directory(directory)?;
        let may_mount = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).is_ok();
        if may_mount || geteuid().is_root() {
            return Detached::new(tree, users)?.attach(&directory);
        }
        // fusermount3 has the right.
        let (session, excess) = tree.serve(None, &directory, &config(users)).map_err(|e| {
            Error::NotPossible(format!(
                "mounting at {}: {e}; it needs CAP_SYS_ADMIN, or fusermount3 (Debian: fuse3), a /dev/fuse that may be opened, \
                 and for other users user_allow_other in /etc/fuse.conf",
                directory.display()
            ))
        })?;
        let forgets = Forgets::start(session.notifier(), excess)?;
        Ok(Self {
            session: Some(session),
            _forgets: forgets,
            directory,
            id: None,
        })
    }

    /// Returns the directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns whether it has been unmounted.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.guard.is_finished())
    }

    /// Unmounts it. Files that are open can be read until they are closed, or until this process
    /// ends.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn unmount(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let Some(id) = self.id else {
            return session.umount_and_join().map_err(|e| Error::failed("unmounting", e));
        };
        // If it is another mount this one has been unmounted already.
        if mount_id(CWD, &self.directory).ok() == Some(id) {
            detach(&self.directory)
                .map_err(|e| Error::failed(format!("unmounting {}", self.directory.display()), e))?;
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// A thread that has the kernel forget directories, of which it keeps those that it may need again:
/// each is an open file of this process. It ends when this is dropped.
#[derive(Debug)]
struct Forgets {
    _until_dropped: Sender<()>,
}

/// How often the thread looks.
const LOOK: Duration = Duration::from_millis(500);

impl Forgets {
    fn start(notifier: Notifier, excess: Excess) -> Result<Self> {
        let (until_dropped, ends) = mpsc::channel();
        let forget = move || {
            while let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(LOOK) {
                for (parent, name) in excess() {
                    // One that is in use stays, and one that is gone is no loss.
                    let _ = notifier.inval_entry(parent, OsStr::new(&name));
                }
            }
        };
        let thread = std::thread::Builder::new().name("forgets".into()).spawn(forget);
        thread.map_err(|e| Error::failed("starting a thread", e))?;
        Ok(Self {
            _until_dropped: until_dropped,
        })
    }
}

/// Unmounts a tree that this or another process has mounted.
///
/// # Errors
/// [`Error::Usage`] if the directory is no mount of this crate's; [`Error::NotPossible`] without
/// the rights, if there is no fusermount3 either.
pub fn unmount(directory: &Path) -> Result<()> {
    let shown = directory.display();
    let mounts = mounts().map_err(|e| Error::failed("reading /proc/self/mountinfo", e))?;
    // As it is: to look inside fails if the process that served it has ended.
    let path = resolved(directory).map_err(|e| Error::failed(format!("finding {shown}"), e))?;
    match mounts.iter().rev().find(|mount| mount.at == path) {
        None => return Err(Error::Usage(format!("nothing is mounted at {shown}"))),
        Some(mount) if mount.source != SOURCE => {
            let source = &mount.source;
            return Err(Error::Usage(format!(
                "the mount at {shown} is no tree of vmaple's, but of {source}: umount {shown}"
            )));
        }
        Some(_) => {}
    }
    match detach(&path) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => by_fusermount(&path),
        Err(e) => Err(Error::failed(format!("unmounting {shown}"), e)),
    }
}

/// Unmounts at once. Files that are open there stay open.
fn detach(directory: &Path) -> rustix::io::Result<()> {
    rustix::mount::unmount(directory, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

fn by_fusermount(directory: &Path) -> Result<()> {
    let needs = "it needs CAP_SYS_ADMIN, or fusermount3 (Debian: fuse3)";
    let output = Command::new("fusermount3")
        .args(["-u", "-z", "--"])
        .arg(directory)
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Error::NotPossible(format!(
            "unmounting {}: {}; {needs}",
            directory.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(e) => Err(Error::NotPossible(format!(
            "unmounting {}: fusermount3: {e}; {needs}",
            directory.display()
        ))),
    }
}

fn acl(users: Users) -> SessionACL {
    match users {
        Users::Owner => SessionACL::Owner,
        Users::All => SessionACL::All,
    }
}

fn config(users: Users) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(SOURCE.into()),
        MountOption::Subtype(SOURCE.into()),
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
    ];
    config.acl = acl(users);
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    config
}

fn open_device() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map_err(|e| {
            let why = match e.kind() {
                ErrorKind::NotFound => {
                    "load the module (modprobe fuse), and in a container pass the device in".to_owned()
                }
                ErrorKind::PermissionDenied => "only some users may open it here: run as root".to_owned(),
                _ => String::new(),
            };
            Error::NotPossible(format!("opening /dev/fuse: {e}; {why}"))
        })
}

/// Returns the path of a directory in which nothing is.
fn empty_directory(directory: &Path) -> Result<PathBuf> {
    let shown = directory.display();
    let path = resolved(directory).map_err(|e| Error::Usage(format!("{shown}: {e}: make an empty directory")))?;
    let is_mounted = mounts().is_ok_and(|mounts| mounts.iter().any(|mount| mount.at == path && mount.source == SOURCE));
    let mut entries = match read_dir(&path) {
        Err(e) if e.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) && is_mounted => {
            return Err(Error::Usage(format!(
                "{shown}: the vmaple that had mounted a tree here was killed: vmaple umount {shown}"
            )));
        }
        _ if is_mounted => {
            return Err(Error::Usage(format!(
                "{shown}: a tree of vmaple's is mounted here already"
            )));
        }
        entries => entries.map_err(|e| Error::Usage(format!("{shown}: {e}: make an empty directory")))?,
    };
    if entries.next().is_some() {
        return Err(Error::Usage(format!("{shown}: not empty: choose an empty directory")));
    }
    Ok(path)
}

/// Returns a path without links, also of what cannot be looked into.
fn resolved(directory: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(directory)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => {
            let whole = parent.canonicalize()?.join(name);
            // A link to a directory, but not one whose server has ended.
            Ok(whole.canonicalize().unwrap_or(whole))
        }
        _ => Ok(absolute),
    }
}

/// Returns the number of the mount that a path is in, without asking the process that serves it.
fn mount_id(at: impl AsFd, path: &Path) -> rustix::io::Result<u64> {
    let mut flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    flags.set(AtFlags::EMPTY_PATH, path.as_os_str().is_empty());
    Ok(statx(at, path, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
}

struct MountPoint {
    at: PathBuf,
    source: String,
}

/// Returns the mounts of this process's namespace.
fn mounts() -> io::Result<Vec<MountPoint>> {
    let text = read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(mount_point).collect())
}

/// Reads a line of mountinfo: "36 35 98:0 /root /at options tags - type source options".
fn mount_point(line: &str) -> Option<MountPoint> {
    let (mount, filesystem) = line.split_once(" - ")?;
    Some(MountPoint {
        at: unescaped(mount.split(' ').nth(4)?),
        source: filesystem.split(' ').nth(1)?.to_owned(),
    })
}

/// Returns a path of mountinfo, in which some bytes are in octal: `\040` is a blank.
fn unescaped(path: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = vec![];
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\').then(|| after.get(..3)).flatten();
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_tells_the_place_and_the_source() {
        let line = r"36 35 98:0 / /mnt/a\040b\134c rw,noatime shared:1 - fuse.vmaple vmaple ro";
        let mount = mount_point(line).unwrap();
        assert_eq!(
            (mount.at.as_path(), mount.source.as_str()),
            (Path::new("/mnt/a b\\c"), "vmaple")
        );
        assert!(mount_point("36 35 98:0 / /mnt").is_none());
        assert_eq!(unescaped(r"/a\04"), Path::new(r"/a\04"));
        assert_eq!(unescaped("/a\\"), Path::new("/a\\"));
    }
}
