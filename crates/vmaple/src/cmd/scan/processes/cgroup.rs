//! What the cgroup of a process says: its path, its systemd unit, its container.

/// Returns the path of version 2, or if that is the root, as where version 1 accounts memory, the
/// path there.
pub(in crate::cmd::scan) fn path(cgroups: &[u8]) -> &[u8] {
    let lines = || cgroups.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let after = |start: &[u8]| lines().find_map(|line| line.strip_prefix(start));
    let of_memory = |line: &&[u8]| {
        let mut controllers = line
            .split(|&byte| byte == b':')
            .nth(1)
            .unwrap_or_default()
            .split(|&byte| byte == b',');
        controllers.any(|controller| controller == b"memory")
    };
    let second = after(b"0::").filter(|&path| path != b"/");
    let first = || {
        let line = lines().find(of_memory)?;
        line.splitn(3, |&byte| byte == b':').nth(2)
    };
    second.or_else(first).unwrap_or(b"/")
}

/// Returns the systemd unit of a cgroup: the innermost part of its path that is a service or a
/// scope.
pub(in crate::cmd::scan) fn unit(path: &str) -> Option<&str> {
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    path.rsplit('/').find(is_unit)
}

/// Returns the first 12 digits of the identity of a container, as its tools print it.
///
/// The innermost part of the path holds 64 hexadecimal digits: alone, or as `docker-ID.scope`,
/// `cri-containerd-ID.scope` and the like.
pub(in crate::cmd::scan) fn container(path: &str) -> Option<&str> {
    let identity = |part: &'_ str| -> Option<(usize, usize)> {
        let mut start = 0;
        for word in part.split(|c: char| !c.is_ascii_alphanumeric()) {
            if word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Some((start, start + 12));
            }
            start += word.len() + 1;
        }
        None
    };
    path.rsplit('/')
        .find_map(|part| identity(part).and_then(|(start, end)| part.get(start..end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_that_of_version_2_or_the_one_where_memory_is_accounted() {
        assert_eq!(path(b"0::/a/b\n"), b"/a/b");
        assert_eq!(path(b"4:cpu:/x\n5:hugetlb,memory:/a:b\n0::/\n"), b"/a:b");
        assert_eq!(path(b"5:memory:/a\n0::/b\n"), b"/b");
        assert_eq!(path(b"0::/\n"), b"/");
        assert_eq!(path(b""), b"/");
    }

    #[test]
    fn units_and_containers_are_the_innermost_of_a_path() {
        assert_eq!(unit("/system.slice/redis.service"), Some("redis.service"));
        let nested = "/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope/x";
        assert_eq!(unit(nested), Some("a.scope"));
        assert_eq!(unit("/user.slice"), None);
        let id = "0123456789ab".to_owned() + &"c".repeat(52);
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope/init"),
        ] {
            assert_eq!(container(&path), Some("0123456789ab"), "{path}");
        }
        assert_eq!(container("/docker/0123456789ab"), None);
        assert_eq!(container(&format!("/{}é", "a".repeat(63))), None);
    }
}
