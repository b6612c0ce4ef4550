//! A cgroup for the scanners, in cgroup v2 or in a v1 hierarchy. It is removed however the run
//! ends.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};

use crate::error::{Error, Result};
use crate::machine::cgroup::{Hierarchy, Parent, read};
use crate::plan::Slice;
use crate::role::Cgroup;

use super::task::{COMMAND, RoleSpec, Task};

/// The scanners' cgroup, and the process that removes it even if this one is killed.
pub(crate) struct ScannerCgroup {
    cgroup: Cgroup,
    janitor: Child,
}

impl ScannerCgroup {
    /// Makes the cgroup that `slice` needs; `None` where a nice value is enough.
    pub(crate) fn new(slice: Slice, busy_cpus: &[usize], exe: &Path) -> Result<Option<Self>> {
        let Some(parent) = parent(slice)? else {
            return Ok(None);
        };
        let dir = parent.dir.join(format!("vmaple-{}", std::process::id()));
        // The janitor comes first: from here on nothing can leave the cgroup behind.
        let spec = RoleSpec::of(Task::Janitor(dir.clone()))?;
        let janitor = Command::new(exe)
            .args([COMMAND, &spec])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0) // a Ctrl-C is the controller's to handle
            .spawn()
            .map_err(|e| Error::failed("starting the process that removes the cgroup", e))?;
        let new = Self {
            cgroup: Cgroup { dir },
            janitor,
        };
        let dir = &new.cgroup.dir;
        fs::create_dir(dir).map_err(|e| Error::failed(format!("making cgroup {}", dir.display()), e))?;
        for (file, value) in settings(slice, parent.hierarchy, busy_cpus) {
            new.cgroup.write(file, &value)?;
        }
        if slice == Slice::Cpuset && parent.hierarchy == Hierarchy::V1 {
            // A v1 cpuset takes no process before it has memory nodes.
            let mems = read(parent.dir.join("cpuset.mems"))?;
            new.cgroup.write("cpuset.mems", mems.trim())?;
        }
        Ok(Some(new))
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl Drop for ScannerCgroup {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take()); // the janitor's signal to remove the cgroup
        let _ = self.janitor.wait();
    }
}

/// Returns where the cgroup for `slice` would be made; `None` where a nice value is enough.
///
/// # Errors
/// [`Error::NotPossible`] if no hierarchy offers the controller, or this process may not make a
/// cgroup there.
pub fn parent(slice: Slice) -> Result<Option<Parent>> {
    let controller = match slice {
        Slice::Nice(_) => return Ok(None),
        Slice::Weight(_) | Slice::Quota { .. } => "cpu",
        Slice::Cpuset => "cpuset",
    };
    let found = Parent::with_controller(controller)?.ok_or_else(|| {
        Error::NotPossible(format!(
            "--slice {slice}: no cgroup hierarchy here offers the {controller} controller; mount one, or write +{controller} to a cgroup.subtree_control above this process, or use --slice nice=15"
        ))
    })?;
    access(&found.dir, Access::WRITE_OK).map_err(|e| {
        Error::NotPossible(format!(
            "--slice {slice}: may not make a cgroup in {} ({e}); run as root or use --slice nice=15",
            found.dir.display()
        ))
    })?;
    Ok(Some(found))
}

/// Returns the files of a new cgroup and what to write to them.
fn settings(slice: Slice, hierarchy: Hierarchy, busy_cpus: &[usize]) -> Vec<(&'static str, String)> {
    match (slice, hierarchy) {
        (Slice::Nice(_), _) => vec![],
        (Slice::Weight(w), Hierarchy::V2) => vec![("cpu.weight", w.to_string())],
        // v2's 100 is v1's 1024; v1 has no less than 2.
        (Slice::Weight(w), Hierarchy::V1) => vec![("cpu.shares", (u64::from(w) * 1024 / 100).max(2).to_string())],
        (Slice::Quota { quota_us, period_us }, Hierarchy::V2) => vec![("cpu.max", format!("{quota_us} {period_us}"))],
        (Slice::Quota { quota_us, period_us }, Hierarchy::V1) => vec![
            ("cpu.cfs_period_us", period_us.to_string()),
            ("cpu.cfs_quota_us", quota_us.to_string()),
        ],
        (Slice::Cpuset, _) => {
            let cpus: Vec<_> = busy_cpus.iter().map(ToString::to_string).collect();
            vec![("cpuset.cpus", cpus.join(","))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_weights_are_scaled_and_never_below_its_least() {
        assert_eq!(
            settings(Slice::Weight(1), Hierarchy::V1, &[]),
            [("cpu.shares", "10".into())]
        );
        assert_eq!(
            settings(Slice::Weight(1), Hierarchy::V2, &[]),
            [("cpu.weight", "1".into())]
        );
        assert_eq!(
            settings(Slice::Cpuset, Hierarchy::V2, &[2, 3]),
            [("cpuset.cpus", "2,3".into())]
        );
    }
}
