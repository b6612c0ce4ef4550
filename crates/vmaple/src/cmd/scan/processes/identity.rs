//! The identity of a process: what it is called, whose it is, where it belongs.

use std::cell::OnceCell;
use std::fs;
use std::time::Duration;

use uzers::{Users, UsersCache};
use vmaple_scan::Process;

use crate::cmd::scan::processes::cgroup;
use crate::cmd::scan::processes::stat::Stat;
use crate::cmd::scan::processes::status::effective_user;

/// What /proc says of a process that is held open. Each file is read when it is first needed, and
/// once.
pub(in crate::cmd::scan) struct Identity<'a> {
    process: &'a Process,
    stat: OnceCell<Option<Stat>>,
    user: OnceCell<Option<u32>>,
    cgroup: OnceCell<Option<String>>,
    /// `None` if they cannot be read without a lock.
    arguments: Option<Vec<u8>>,
}

impl<'a> Identity<'a> {
    pub(in crate::cmd::scan) fn of(process: &'a Process) -> Self {
        Self {
            process,
            stat: OnceCell::new(),
            user: OnceCell::new(),
            cgroup: OnceCell::new(),
            arguments: None,
        }
    }

    /// Adds the arguments, which the scanner has read.
    pub(in crate::cmd::scan) fn with_arguments(mut self, arguments: Option<Vec<u8>>) -> Self {
        self.arguments = arguments;
        self
    }

    /// Returns the arguments, with U+FFFD for bytes that are not text; none of those at the end
    /// that are empty, as of a process that has written over them.
    pub(in crate::cmd::scan) fn arguments(&self) -> Option<Vec<String>> {
        let mut bytes = self.arguments.as_deref()?;
        while let [rest @ .., 0] = bytes {
            bytes = rest;
        }
        let arguments = bytes.split(|&byte| byte == 0);
        Some(
            arguments
                .map(|argument| String::from_utf8_lossy(argument).into_owned())
                .collect(),
        )
    }

    /// Returns the beginning of the arguments in one line.
    pub(in crate::cmd::scan) fn command_line(&self) -> String {
        const MOST: usize = 200;
        let line = self.arguments().unwrap_or_default().join(" ");
        line.chars().take(MOST).collect()
    }

    pub(in crate::cmd::scan) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(in crate::cmd::scan) fn stat(&self) -> Option<&Stat> {
        let read = || Stat::parse(&self.process.read_file("stat").ok()?);
        self.stat.get_or_init(read).as_ref()
    }

    /// Returns its name: any bytes, as the kernel cuts it after 15, even within a letter.
    pub(in crate::cmd::scan) fn comm(&self) -> &[u8] {
        self.stat().map_or(&[], |stat| &stat.comm)
    }

    /// Returns its name as text, with U+FFFD for bytes that are none.
    pub(in crate::cmd::scan) fn name(&self) -> String {
        String::from_utf8_lossy(self.comm()).into_owned()
    }

    /// Returns when it was started, after the machine.
    pub(in crate::cmd::scan) fn started(&self) -> Option<Duration> {
        self.stat().map(|stat| stat.started)
    }

    /// Returns the number of its effective user.
    pub(in crate::cmd::scan) fn user_number(&self) -> Option<u32> {
        let read = || effective_user(&self.process.read_file("status").ok()?);
        *self.user.get_or_init(read)
    }

    /// Returns its effective user by name, or by number where there is none.
    pub(in crate::cmd::scan) fn user(&self) -> Option<String> {
        thread_local! {
            static USERS: UsersCache = UsersCache::new();
        }
        let number = self.user_number()?;
        let user = USERS.with(|users| users.get_user_by_uid(number));
        Some(user.map_or_else(|| number.to_string(), |user| user.name().to_string_lossy().into_owned()))
    }

    /// Returns the path of its cgroup, with U+FFFD for bytes that are not text.
    pub(in crate::cmd::scan) fn cgroup(&self) -> Option<&str> {
        let read = || {
            let cgroups = self.process.read_file("cgroup").ok()?;
            Some(String::from_utf8_lossy(cgroup::path(&cgroups)).into_owned())
        };
        self.cgroup.get_or_init(read).as_deref()
    }

    /// Returns its systemd unit.
    pub(in crate::cmd::scan) fn unit(&self) -> Option<&str> {
        cgroup::unit(self.cgroup()?)
    }

    /// Returns its container, as [`cgroup::container`].
    pub(in crate::cmd::scan) fn container(&self) -> Option<&str> {
        cgroup::container(self.cgroup()?)
    }

    /// Returns the path of its program.
    pub(in crate::cmd::scan) fn exe(&self) -> Option<String> {
        let path = self.process.read_link("exe").ok()?;
        Some(String::from_utf8_lossy(&path).into_owned())
    }
}

/// Returns when the machine was started, after the beginning of 1970.
pub(in crate::cmd::scan) fn boot_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(line.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_between_the_nuls() {
        let process = Process::open(std::process::id()).unwrap();
        let of = |bytes: &[u8]| Identity::of(&process).with_arguments(Some(bytes.to_vec()));
        assert_eq!(of(b"a\0\0b c\0").arguments().unwrap(), ["a", "", "b c"]);
        assert_eq!(of(b"nginx: worker\0\0\0\0").arguments().unwrap(), ["nginx: worker"]);
        assert_eq!(of(b"a\0\xff").command_line(), "a \u{fffd}");
        assert_eq!(of(&[b'x'; 1000]).command_line().len(), 200);
        assert_eq!(Identity::of(&process).arguments(), None);
    }
}
