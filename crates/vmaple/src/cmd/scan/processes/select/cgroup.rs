//! Whether a process is in a cgroup, by /proc/PID/cgroup.

/// The mount point of cgroups, as systemd and containers have it.
const MOUNT: &str = "/sys/fs/cgroup";

/// A cgroup, with all below it.
#[derive(Debug)]
pub(super) struct Subtree(String);

impl Subtree {
    /// Takes a path as /proc/PID/cgroup shows it, or one below /sys/fs/cgroup.
    pub(super) fn new(path: &str) -> Self {
        let path = match path.strip_prefix(MOUNT) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        Self(path.trim_matches('/').to_owned())
    }

    /// Returns whether one of the lines of a process's cgroup file is in it.
    ///
    /// A line is `ID:CONTROLLERS:PATH`. Below /sys/fs/cgroup, version 1 has a directory for each
    /// hierarchy, which is named after its controllers.
    pub(super) fn contains(&self, cgroups: &[u8]) -> bool {
        cgroups.split(|&byte| byte == b'\n').any(|line| {
            let mut parts = line.splitn(3, |&byte| byte == b':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                return false;
            };
            let path = path.strip_prefix(b"/").unwrap_or(path);
            let of_version_1 = [controllers.strip_prefix(b"name=").unwrap_or(controllers), path].join(&b'/');
            self.is_above(path) || (!controllers.is_empty() && self.is_above(&of_version_1))
        })
    }

    fn is_above(&self, path: &[u8]) -> bool {
        match path.strip_prefix(self.0.as_bytes()) {
            Some(rest) => self.0.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_contains_itself_and_all_below_and_no_namesake() {
        let v2 = b"0::/system.slice/redis.service/a\n";
        for path in [
            "/",
            "/system.slice",
            "system.slice/redis.service/",
            "/sys/fs/cgroup/system.slice/redis.service/a",
            "/sys/fs/cgroup",
        ] {
            assert!(Subtree::new(path).contains(v2), "{path}");
        }
        for path in [
            "/system.slic",
            "/redis.service",
            "/system.slice/redis.service/a/b",
            "/sys/fs/cgroups",
        ] {
            assert!(!Subtree::new(path).contains(v2), "{path}");
        }
    }

    #[test]
    fn hierarchies_of_version_1_are_known_by_their_directories() {
        let v1 = b"5:memory:/docker/1\n1:name=systemd:/docker/2\n3:cpu,cpuacct:/\n";
        for path in [
            "/docker/1",
            "/docker/2",
            "/sys/fs/cgroup/memory/docker",
            "/sys/fs/cgroup/systemd/docker/2",
        ] {
            assert!(Subtree::new(path).contains(v1), "{path}");
        }
        for path in ["/docker/3", "/sys/fs/cgroup/memory/docker/2"] {
            assert!(!Subtree::new(path).contains(v1), "{path}");
        }
        assert!(!Subtree::new("/").contains(b""));
    }
}
