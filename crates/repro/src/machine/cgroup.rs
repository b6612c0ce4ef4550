//! The cgroups that this process is in: what they allow, and where a new one can be.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use crate::error::{Error, Result};

use super::read_number;

/// Which kind of hierarchy a cgroup is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One of cgroup v1, which has some of the controllers.
    V1,
    /// That of cgroup v2.
    V2,
}

impl fmt::Display for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// A cgroup below which a new one can be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its directory.
    pub dir: PathBuf,
    /// The kind of its hierarchy.
    pub hierarchy: Hierarchy,
}

impl Parent {
    /// Finds where a new cgroup with `controller` can be, if anywhere.
    pub(crate) fn with_controller(controller: &str) -> Result<Option<Self>> {
        let handed_down = |dir: &Path| fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        Ok(find(&read("/proc/self/mounts")?, &read(OWN)?, controller, handed_down))
    }
}

/// The file that lists this process's cgroups.
const OWN: &str = "/proc/self/cgroup";

/// Reads a file of the kernel.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|e| Error::failed(format!("reading {}", path.display()), e))
}

/// Returns the controllers (none in v2) and the path of each cgroup of `own`, the text of
/// `/proc/self/cgroup`.
fn memberships(own: &str) -> impl Iterator<Item = (&str, &str)> {
    own.lines().filter_map(|line| {
        let (_number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((controllers, path.trim_start_matches('/')))
    })
}

/// Says whether a list such as `cpu,cpuacct` has a name.
fn lists(list: &str, name: &str) -> bool {
    list.split(',').any(|listed| listed == name)
}

/// Finds where a new cgroup with `controller` can be: below this process's own in v1; in v2 below
/// the nearest cgroup above it that hands the controller down. `mounts` and `own` are the texts of
/// `/proc/self/mounts` and `/proc/self/cgroup`.
fn find(mounts: &str, own: &str, controller: &str, handed_down: impl Fn(&Path) -> String) -> Option<Parent> {
    let path_in = |wanted: &dyn Fn(&str) -> bool| memberships(own).find_map(|(of, path)| wanted(of).then_some(path));
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if kind == "cgroup" && lists(options, controller) {
            let path = path_in(&|controllers| lists(controllers, controller))?;
            let dir = Path::new(at).join(path);
            return Some(Parent {
                dir,
                hierarchy: Hierarchy::V1,
            });
        }
        if kind == "cgroup2" {
            let found = Path::new(path_in(&str::is_empty)?)
                .ancestors()
                .map(|path| Path::new(at).join(path))
                .find(|dir| handed_down(dir).split_whitespace().any(|c| c == controller));
            if let Some(dir) = found {
                return Some(Parent {
                    dir,
                    hierarchy: Hierarchy::V2,
                });
            }
        }
    }
    None
}

/// Returns limit and use of `controller` in this process's cgroup and all above it, where there is
/// a limit.
///
/// `files` are the names of the file with the limit and that with the use, as each hierarchy has
/// them.
pub(crate) fn limits(controller: &str, files: &[(&str, &str)]) -> Vec<(PathBuf, u64, u64)> {
    let own = read(OWN).unwrap_or_default();
    let mut limits = Vec::new();
    for (controllers, path) in memberships(&own) {
        // Where distributions mount v2, v1 and the v2 of a hybrid layout; what is elsewhere is not
        // checked.
        let mounts = match controllers {
            "" => vec![PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/fs/cgroup/unified")],
            of if lists(of, controller) => vec![Path::new("/sys/fs/cgroup").join(of)],
            _ => continue,
        };
        for mount in mounts {
            for dir in Path::new(path).ancestors().map(|p| mount.join(p)) {
                let number = |file: &str| read_number(dir.join(file).to_str()?);
                for (max, current) in files {
                    if let (Some(max), Some(current)) = (number(max), number(current)) {
                        limits.push((dir.clone(), max, current));
                    }
                }
            }
        }
    }
    limits
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
                hierarchy: Hierarchy::V1
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
}
