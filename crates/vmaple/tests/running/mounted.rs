//! A tree that `vmaple mount --live` serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Running, outcome, vmaple_with, wait_until};

/// A mount that ends with this.
pub(crate) struct Live {
    running: Option<Running>,
    place: TempDir,
}

impl Live {
    /// Mounts; returns `None` where this machine or these rights allow no mount, or no scan.
    pub(crate) fn mount(args: &str) -> Option<Self> {
        Self::start("--live", args)
    }

    /// The same of another tree.
    pub(crate) fn start(tree: &str, args: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        // Other users go through it.
        fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(place.path().join("proc")).unwrap();
        let mut running = Running::start(vmaple_with(&format!("mount {tree} {{}}/proc {args}"), place.path()));
        wait_until("the mount", || running.err().contains("Ctrl-C") || running.has_ended());
        if running.has_ended() || running.err().contains("the kernel's own") {
            println!("skipped: {}", running.err());
            assert!(!running.has_ended() || running.end().0 == Some(77));
            return None;
        }
        Some(Self {
            running: Some(running),
            place,
        })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("proc")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    /// A file of the tree.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().cast_signed()).unwrap(), signal).unwrap();
    }

    pub(crate) fn is_mounted(&self) -> bool {
        let root = self.root();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(4) == root.to_str())
    }

    /// Waits for the end of the process that serves it: exit code, standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let (code, _, err) = self.running.take().unwrap().end();
        (code, err)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            outcome(vmaple_with("umount {}", &self.root()));
            running.end();
        }
    }
}

/// A command as another user, with these capabilities (such as `+sys_ptrace`) or none.
pub(crate) fn as_user(uid: u32, capabilities: &str, script: &str) -> Command {
    let mut command = Command::new("setpriv");
    let id = uid.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    if !capabilities.is_empty() {
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
    }
    command.args(["sh", "-c", script]);
    command
}
