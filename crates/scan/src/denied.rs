//! Explains why the kernel does not let the caller read a process's memory map.
//!
//! Source: `__ptrace_may_access()` in Linux's kernel/ptrace.c and `cap_ptrace_access_check()` in
//! security/commoncap.c, for `PTRACE_MODE_READ_FSCREDS`, with which /proc/PID/maps is opened. Yama
//! looks at attaching alone.

use std::fmt;
use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::status::Status;

/// A process whose memory map the caller may not read, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pid: u32,
    why: String,
}

impl Denied {
    /// Finds out what is missing to read a process that the kernel refuses.
    pub(crate) fn of(pid: u32) -> Self {
        let ours = Status::read("/proc/thread-self/status")
            .ok()
            .and_then(|status| Rights::of(&status));
        let theirs = Status::read(&format!("/proc/{pid}/status")).ok();
        let theirs = theirs.and_then(|status| Rights::of(&status));
        let why = match (ours, theirs) {
            (_, None) => "/proc does not show it to the caller (it is mounted with hidepid): run with CAP_SYS_PTRACE, or in the group that \
                          the mount's option gid names"
                .into(),
            (None, _) => "run as its user, or with CAP_SYS_PTRACE".into(),
            (Some(ours), Some(theirs)) => ours.lack_for(&theirs, &security_modules()),
        };
        Self { pid, why }
    }

    /// Returns the number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Says what is missing, and what would help.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Returns whether there is a process of this number though /proc has none.
    pub(crate) fn is_hidden(pid: u32) -> bool {
        let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return false;
        };
        let is_there = || matches!(test_kill_process(number), Ok(()) | Err(Errno::PERM));
        // It may begin or end between two looks.
        is_there() && !fs::exists(format!("/proc/{pid}")).unwrap_or(true) && is_there()
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {}: permission denied (EACCES), as for /proc/{0}/maps: {}",
            self.pid, self.why
        )
    }
}

/// The identity and the capabilities of a task, as the kernel compares them.
struct Rights {
    /// Real, effective, saved, of file systems.
    uid: [u32; 4],
    gid: [u32; 4],
    permitted: u64,
    effective: u64,
}

const CAP_SYS_PTRACE: u32 = 19;

impl Rights {
    fn of(status: &Status) -> Option<Self> {
        let numbers = |name| {
            let mut numbers = status
                .text(name)?
                .split_ascii_whitespace()
                .map(|word| word.parse().ok());
            Some([numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??])
        };
        let set = |name| u64::from_str_radix(status.text(name)?, 16).ok();
        Some(Self {
            uid: numbers("Uid")?,
            gid: numbers("Gid")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
        })
    }

    /// Describes what these rights lack to read the memory map of a task with those.
    fn lack_for(&self, other: &Self, modules: &str) -> String {
        let more = other.permitted & !self.effective;
        let has_more = if more == 0 {
            String::new()
        } else {
            format!("it has capabilities that the caller lacks ({})", capabilities(more))
        };
        if self.effective >> CAP_SYS_PTRACE & 1 == 1 {
            let modules = if modules.is_empty() {
                String::new()
            } else {
                format!(" ({modules})")
            };
            let has_more = if has_more.is_empty() {
                has_more
            } else {
                format!("; {has_more}")
            };
            return format!(
                "the caller has CAP_SYS_PTRACE, but not over this process: it is of another user namespace, so run in its namespace or the one \
                 above, or a security module{modules} forbids it{has_more}"
            );
        }
        let same = |ours: u32, theirs: [u32; 4]| theirs[..3].iter().all(|&id| id == ours);
        let ([.., uid], [.., gid]) = (self.uid, self.gid);
        if !same(uid, other.uid) {
            let theirs = ids(other.uid);
            format!("it runs as user {theirs}, and the caller is user {uid}: run as that user, or with CAP_SYS_PTRACE")
        } else if !same(gid, other.gid) {
            let theirs = ids(other.gid);
            format!(
                "it runs as group {theirs}, and the caller is of group {gid}: run with that group, or with CAP_SYS_PTRACE"
            )
        } else if has_more.is_empty() {
            "it is hidden from its own user too (PR_SET_DUMPABLE, or its program is set-user-ID, has capabilities or cannot be read), is of \
             another user namespace, or a security module forbids it: run with CAP_SYS_PTRACE"
                .into()
        } else {
            format!("{has_more}: run with these, or with CAP_SYS_PTRACE")
        }
    }
}

/// Returns the first number, and the others if they differ from it.
fn ids([real, effective, saved, _]: [u32; 4]) -> String {
    if real == effective && real == saved {
        real.to_string()
    } else {
        format!("{real} (effective {effective}, saved {saved})")
    }
}

/// Returns the names of the capabilities in a set.
fn capabilities(set: u64) -> String {
    const MOST: usize = 4;
    let names: Vec<_> = (0..64).filter(|bit| set >> bit & 1 == 1).map(capability).collect();
    match names.len() {
        0..=MOST => names.join(", "),
        n => format!("{} and {} more", names[..MOST].join(", "), n - MOST),
    }
}

fn capability(bit: usize) -> String {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    NAMES
        .get(bit)
        .map_or_else(|| format!("capability {bit}"), |name| format!("CAP_{name}"))
}

/// Returns the machine's security modules, as the kernel lists them; nothing if it does not say.
fn security_modules() -> String {
    let list = fs::read("/sys/kernel/security/lsm").unwrap_or_default();
    String::from_utf8_lossy(list.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTRACE: u64 = 1 << CAP_SYS_PTRACE;

    fn rights(id: u32, capabilities: u64) -> Rights {
        Rights {
            uid: [id; 4],
            gid: [id; 4],
            permitted: capabilities,
            effective: capabilities,
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let lack = |ours: &Rights, theirs: &Rights| ours.lack_for(theirs, "");
        let nobody = rights(65534, 0);
        let text = lack(&nobody, &rights(0, u64::MAX >> 23));
        assert!(
            text.starts_with("it runs as user 0, and the caller is user 65534"),
            "{text}"
        );
        let mut set_user_id = rights(65534, 0);
        set_user_id.uid[1] = 0;
        let text = lack(&nobody, &set_user_id);
        assert!(text.contains("user 65534 (effective 0, saved 65534)"), "{text}");
        let mut other_group = rights(65534, 0);
        other_group.gid = [5; 4];
        assert!(lack(&nobody, &other_group).contains("group 5"));
        // Root in a container has fewer capabilities than root outside.
        let text = lack(&rights(0, 1), &rights(0, 1 | 1 << 24));
        assert!(
            text.contains("(CAP_SYS_RESOURCE)") && text.contains("run with these"),
            "{text}"
        );
        assert!(!text.contains("as root"), "{text}");
        let text = lack(&rights(0, 0), &rights(0, u64::MAX));
        assert!(text.contains("CAP_FOWNER and 60 more"), "{text}");
        let text = lack(&nobody, &nobody);
        assert!(text.contains("PR_SET_DUMPABLE"), "{text}");
    }

    #[test]
    fn whoever_has_the_capability_is_not_told_to_take_it() {
        let text = rights(0, PTRACE).lack_for(&rights(0, PTRACE | 1 << 24), "lockdown,yama,selinux");
        assert!(text.contains("user namespace") && text.contains("selinux"), "{text}");
        assert!(
            text.contains("CAP_SYS_RESOURCE") && !text.contains("with CAP_SYS_PTRACE"),
            "{text}"
        );
    }
}
