//! A process that unmounts if its parent is killed.

use std::ffi::OsString;
use std::io::{Read, stdin};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::exit::Exit;

/// The first argument of the process.
pub(crate) const COMMAND: &str = "__unmounter";

/// The process, which waits for the end of this one.
pub(super) struct Unmounter {
    child: Child,
    /// It ends when this is closed.
    alive: Option<ChildStdin>,
}

/// Starts it for a mount at a directory.
pub(super) fn start(directory: &Path) -> anyhow::Result<Unmounter> {
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .current_dir("/")
        // Ctrl-C is for its parent.
        .process_group(0)
        .spawn()
        .context("starting the process that unmounts if this one is killed")?;
    let alive = child.stdin.take();
    Ok(Unmounter { child, alive })
}

impl Unmounter {
    /// Ends it, after the tree was unmounted.
    pub(super) fn end(mut self) {
        drop(self.alive.take());
        let _ = self.child.wait();
    }
}

/// Waits for the end of the parent, and unmounts if the parent has not.
pub(crate) fn perform(directory: Option<OsString>) -> anyhow::Result<Exit> {
    let directory = PathBuf::from(directory.context("a directory is expected")?);
    let mut nothing = [0];
    while stdin().read(&mut nothing).is_ok_and(|bytes| bytes > 0) {}
    // Only if the mount has lost the process that served it: there may be another one by now.
    if is_dead(&directory) {
        vmaple_fuse::unmount(&directory)?;
    }
    Ok(Exit::Done)
}

/// Returns whether a directory is a mount whose process has ended.
fn is_dead(directory: &Path) -> bool {
    loop {
        match openat(CWD, directory, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // It was ending: the request had come before its end.
            Err(Errno::CONNABORTED) => {}
            Err(Errno::NOTCONN) => return true,
            _ => return false,
        }
    }
}
