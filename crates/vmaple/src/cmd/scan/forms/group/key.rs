//! The group of a process.

use std::borrow::Cow;

use crate::cli::GroupBy;
use crate::cmd::scan::processes::identity::Identity;

/// The group of processes that have nothing of the kind, as that of no systemd unit.
const NONE: &str = "(none)";

/// The group of processes of which it cannot be read.
const UNKNOWN: &str = "(unknown)";

/// Returns the name of the group of a process. Bytes that are not UTF-8 are U+FFFD.
pub(super) fn key(by: GroupBy, identity: &Identity<'_>) -> String {
    let comm = || identity.stat().map(|stat| String::from_utf8_lossy(&stat.comm));
    let or_none = |part: Option<&str>| part.unwrap_or(NONE).to_owned();
    let found = match by {
        GroupBy::Pid => comm().map(|comm| format!("{} {comm}", identity.pid())),
        GroupBy::Name => comm().map(Cow::into_owned),
        GroupBy::Exe => identity.exe(),
        GroupBy::Cgroup => identity.cgroup().map(str::to_owned),
        GroupBy::Unit => identity.cgroup().map(|_| or_none(identity.unit())),
        GroupBy::Container => identity.cgroup().map(|_| or_none(identity.container())),
        GroupBy::User => identity.user(),
    };
    found.unwrap_or_else(|| UNKNOWN.to_owned())
}
