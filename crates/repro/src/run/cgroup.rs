//! A cgroup of the run's own for the scanners, in cgroup v2 or in a v1 hierarchy; removed however the run ends.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};

use crate::error::{Error, Result};
use crate::plan::Slice;
use crate::role::Cgroup;

use super::task::{COMMAND, RoleSpec, Task};

/// The scanners' cgroup, and the process that removes it even if this one is killed.
pub(crate) struct ScannerCgroup {
    cgroup: Cgroup,
    janitor: Child,
}

impl ScannerCgroup {
    /// Makes the cgroup that `slice` needs; `None` where a nice value is all.
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
        for (file, value) in settings(slice, parent.v2, busy_cpus) {
            new.cgroup.write(file, &value)?;
        }
        if slice == Slice::Cpuset && !parent.v2 {
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

/// Where the cgroup for `slice` would be made; `None` where a nice value is all.
///
/// # Errors
/// [`Error::NotPossible`] if no hierarchy offers the controller, or this process may not make a cgroup there.
pub fn parent(slice: Slice) -> Result<Option<Parent>> {
    let controller = match slice {
        Slice::Nice(_) => return Ok(None),
        Slice::Weight(_) | Slice::Quota { .. } => "cpu",
        Slice::Cpuset => "cpuset",
    };
    let found = find(
        &read("/proc/self/mounts")?,
        &read("/proc/self/cgroup")?,
        controller,
        |dir| fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default(),
    );
    let found = found.ok_or_else(|| {
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

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|e| Error::failed(format!("reading {}", path.display()), e))
}

/// The files of a new cgroup and what goes into them.
fn settings(slice: Slice, v2: bool, busy_cpus: &[usize]) -> Vec<(&'static str, String)> {
    match (slice, v2) {
        (Slice::Nice(_), _) => vec![],
        (Slice::Weight(w), true) => vec![("cpu.weight", w.to_string())],
        // v2's 100 is v1's 1024; v1 has no less than 2.
        (Slice::Weight(w), false) => vec![("cpu.shares", (u64::from(w) * 1024 / 100).max(2).to_string())],
        (Slice::Quota { quota_us, period_us }, true) => vec![("cpu.max", format!("{quota_us} {period_us}"))],
        (Slice::Quota { quota_us, period_us }, false) => vec![
            ("cpu.cfs_period_us", period_us.to_string()),
            ("cpu.cfs_quota_us", quota_us.to_string()),
        ],
        (Slice::Cpuset, _) => {
            let cpus: Vec<_> = busy_cpus.iter().map(ToString::to_string).collect();
            vec![("cpuset.cpus", cpus.join(","))]
        }
    }
}

/// A cgroup below which one of ours can be.
#[derive(Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its directory.
    pub dir: PathBuf,
    /// Whether the hierarchy is cgroup v2.
    pub v2: bool,
}

/// Where a new cgroup with `controller` can be: below this process's own in v1; in v2 below the nearest cgroup above it
/// that hands the controller down. `mounts` and `own` are the texts of /proc/self/mounts and /proc/self/cgroup.
fn find(mounts: &str, own: &str, controller: &str, subtree_control: impl Fn(&Path) -> String) -> Option<Parent> {
    let path_of = |wanted: &dyn Fn(&str) -> bool| {
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if kind == "cgroup" && options.split(',').any(|o| o == controller) {
            let path = path_of(&|c| c.split(',').any(|c| c == controller))?;
            let dir = Path::new(at).join(path);
            return Some(Parent { dir, v2: false });
        }
        if kind == "cgroup2" {
            let path = path_of(&str::is_empty)?;
            let found = Path::new(&path)
                .ancestors()
                .map(|p| Path::new(at).join(p))
                .find(|dir| subtree_control(dir).split_whitespace().any(|c| c == controller));
            if let Some(dir) = found {
                return Some(Parent { dir, v2: true });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
    const V2: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";

    #[test]
    fn a_v1_hierarchy_is_taken_where_it_has_the_controller() {
        let parent = find(V1, "1:cpu:/job\n0::/\n", "cpu", |_| String::new()).unwrap();
        assert_eq!(
            parent,
            Parent {
                dir: "/sys/fs/cgroup/cpu/job".into(),
                v2: false
            }
        );
    }

    #[test]
    fn in_v2_the_nearest_ancestor_that_hands_the_controller_down_is_taken() {
        let parent = find(V2, "0::/user.slice/session.scope\n", "cpu", |dir| match dir.to_str() {
            Some("/sys/fs/cgroup/user.slice" | "/sys/fs/cgroup/") => "cpu memory".into(),
            _ => String::new(),
        });
        assert_eq!(parent.unwrap().dir, Path::new("/sys/fs/cgroup/user.slice"));
    }

    #[test]
    fn without_the_controller_there_is_no_parent() {
        assert_eq!(find(V2, "0::/a\n", "cpuset", |_| "cpu memory".into()), None);
    }

    #[test]
    fn v1_weights_are_scaled_and_never_below_its_least() {
        assert_eq!(settings(Slice::Weight(1), false, &[]), [("cpu.shares", "10".into())]);
        assert_eq!(settings(Slice::Weight(1), true, &[]), [("cpu.weight", "1".into())]);
        assert_eq!(settings(Slice::Cpuset, true, &[2, 3]), [("cpuset.cpus", "2,3".into())]);
    }
}
