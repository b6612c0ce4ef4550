//! The rights of another thread, in whose place the kernel is asked.

#![allow(unsafe_code)] // system calls that change this thread alone

use std::io;

use rustix::process::{Gid, getgroups};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups};

/// The rights of a user's thread: identity, groups and effective capabilities, as the kernel
/// compares them where files are opened.
///
/// A service that answers others asks the kernel with theirs: what is refused to them is refused to
/// it. It needs `CAP_SETUID` and `CAP_SETGID` for users other than its own.
///
/// ```
/// use vmaple_scan::{Credentials, Process};
///
/// // Nobody may read the map of a process of root's.
/// let nobody = Credentials::new(65534, 65534, vec![], 0);
/// let first = Process::open(1)?.for_caller(nobody);
/// # Ok::<(), vmaple_scan::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    effective: u64,
}

impl Credentials {
    /// Returns the rights of a user with these groups and effective capabilities.
    ///
    /// `effective` has a bit for each capability, as the line `CapEff` of /proc/PID/status. They
    /// count in the user namespace of this process, so they must be of no other.
    #[must_use]
    pub const fn new(uid: u32, gid: u32, groups: Vec<u32>, effective: u64) -> Self {
        Self {
            uid,
            gid,
            groups,
            effective,
        }
    }

    /// Returns the user.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns whether the user has a group, as the own or as one more.
    #[must_use]
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Does something with these rights, and with none that this process lacks.
    ///
    /// Other threads keep theirs. The real and the effective user stay, so that the user can
    /// neither signal this thread nor change its priority: the kernel compares the user of the file
    /// system, setfsuid(2), where a file is opened, and where a process is looked into.
    ///
    /// # Errors
    /// `EPERM` if this process may not take them.
    pub fn act<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        let taken = Taken::take(self)?;
        let result = act();
        taken.give_back()?;
        Ok(result)
    }
}

/// The rights of this thread before, which it gets back.
struct Taken {
    capabilities: CapabilitySets,
    groups: Vec<Gid>,
    uid: u32,
    gid: u32,
}

impl Taken {
    fn take(of: &Credentials) -> io::Result<Self> {
        let before = Self {
            capabilities: capabilities(None)?,
            groups: getgroups()?,
            uid: set_fs(libc::SYS_setfsuid, NOBODY),
            gid: set_fs(libc::SYS_setfsgid, NOBODY),
        };
        let taken = before.enter(of);
        match taken {
            Ok(()) => Ok(before),
            Err(error) => {
                before.give_back()?;
                Err(error)
            }
        }
    }

    fn enter(&self, of: &Credentials) -> io::Result<()> {
        let groups: Vec<_> = of.groups.iter().map(|&group| Gid::from_raw(group)).collect();
        if groups != self.groups {
            set_thread_groups(&groups)?;
        }
        take_fs(libc::SYS_setfsgid, of.gid)?;
        // Takes capabilities away, or gives them back; so these come last.
        take_fs(libc::SYS_setfsuid, of.uid)?;
        let effective = CapabilitySet::from_bits_retain(of.effective).intersection(self.capabilities.permitted);
        set_capabilities(
            None,
            CapabilitySets {
                effective,
                ..self.capabilities
            },
        )?;
        Ok(())
    }

    /// Gives back what this thread had.
    ///
    /// All of it is among what it may have, so this does not fail.
    fn give_back(self) -> io::Result<()> {
        let result = self.restore();
        std::mem::forget(self);
        result
    }

    fn restore(&self) -> io::Result<()> {
        set_capabilities(None, self.capabilities)?;
        take_fs(libc::SYS_setfsuid, self.uid)?;
        take_fs(libc::SYS_setfsgid, self.gid)?;
        if getgroups()? != self.groups {
            set_thread_groups(&self.groups)?;
        }
        set_capabilities(None, self.capabilities)?;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // What was done in between has panicked.
        let _ = self.restore();
    }
}

/// No user and no group: a call with it changes nothing, and returns what is.
const NOBODY: u32 = u32::MAX;

/// Sets the user or the group of the file system, if this thread may, and returns what it was.
fn set_fs(call: libc::c_long, id: u32) -> u32 {
    // SAFETY: takes a number, touches no memory, and changes this thread alone.
    unsafe { libc::syscall(call, id) as u32 }
}

/// The same, if it can be done.
fn take_fs(call: libc::c_long, id: u32) -> io::Result<()> {
    set_fs(call, id);
    // It does not report errors.
    if set_fs(call, NOBODY) == id {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::sync::Barrier;

    use super::*;

    fn own() -> (u32, u32, Vec<Gid>, CapabilitySets) {
        (
            set_fs(libc::SYS_setfsuid, NOBODY),
            set_fs(libc::SYS_setfsgid, NOBODY),
            getgroups().unwrap(),
            capabilities(None).unwrap(),
        )
    }

    #[test]
    fn what_is_refused_to_a_user_is_refused_to_this_thread_in_the_users_place_and_to_no_other() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: it needs root");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let path = place.path().join("secret");
        File::create(&path).unwrap();
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        chown(&path, Some(0), Some(4242)).unwrap();
        let before = own();
        let can = |credentials: Credentials| {
            let can = credentials.act(|| File::open(&path).is_ok()).unwrap();
            assert_eq!(own(), before);
            can
        };
        let nobody = || Credentials::new(65534, 65534, vec![], 0);
        assert!(!can(nobody()));
        assert!(can(Credentials::new(65534, 4242, vec![], 0)), "by the group");
        assert!(
            can(Credentials::new(65534, 65534, vec![1, 4242], 0)),
            "by a further group"
        );
        let search = CapabilitySet::DAC_READ_SEARCH.bits();
        assert!(can(Credentials::new(65534, 65534, vec![], search)), "by a capability");
        assert!(can(Credentials::new(0, 65534, vec![], 0)), "as the owner");
        let ptrace = CapabilitySet::SYS_PTRACE.bits();
        assert!(
            !can(Credentials::new(65534, 65534, vec![], ptrace)),
            "by another capability"
        );
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| nobody().act(|| [both.wait(), both.wait()]).unwrap());
            both.wait();
            assert!(File::open(&path).is_ok(), "in another thread");
            both.wait();
        });
        let panics = std::panic::catch_unwind(|| nobody().act(|| panic!("in the user's place")));
        assert!(panics.is_err());
        assert_eq!(own(), before);
        // Without the right to be others.
        let thread = std::thread::spawn(move || {
            let without = CapabilitySets {
                effective: CapabilitySet::empty(),
                ..capabilities(None).unwrap()
            };
            set_capabilities(None, without).unwrap();
            let before = own();
            let refused = nobody().act(|| ()).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
            assert_eq!(own(), before);
        });
        thread.join().unwrap();
    }
}
