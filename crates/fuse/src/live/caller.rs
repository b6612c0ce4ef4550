//! The thread that asks for a file.

use std::fs;
use std::sync::OnceLock;

use fuser::{Errno, Request};
use vmaple_scan::Credentials;

use crate::live::once;

/// The thread that asks for a file. It waits in the kernel until it is answered: so its number is
/// its own, and its rights are what they are.
pub(super) struct Caller {
    pub(super) thread: u32,
    pub(super) process: u32,
    pub(super) credentials: Credentials,
}

impl Caller {
    /// Finds out which thread asks, and what its rights are.
    ///
    /// # Errors
    /// `EACCES` for a thread that this process cannot see: it is in another PID namespace.
    pub(super) fn of(request: &Request) -> Result<Self, Errno> {
        let thread = request.pid();
        let status = fs::read_to_string(format!("/proc/{thread}/status")).map_err(|_| Errno::EACCES)?;
        let field = |name| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.map(str::trim).ok_or(Errno::EACCES)
        };
        let process = field("Tgid:")?.parse().map_err(|_| Errno::EACCES)?;
        let groups = field("Groups:")?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>();
        let effective = u64::from_str_radix(field("CapEff:")?, 16).map_err(|_| Errno::EACCES)?;
        // Of another user namespace they are no rights here.
        let effective = if is_of_this_user_namespace(thread) {
            effective
        } else {
            0
        };
        Ok(Self {
            thread,
            process,
            credentials: Credentials::new(
                request.uid(),
                request.gid(),
                groups.map_err(|_| Errno::EACCES)?,
                effective,
            ),
        })
    }

    /// Does something in the caller's place.
    ///
    /// # Errors
    /// What it returns; `EACCES` if this process may not take the caller's rights.
    pub(super) fn act<T>(&self, act: impl FnOnce() -> rustix::io::Result<T>) -> Result<T, Errno> {
        match self.credentials.act(act) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(e)) => Err(Errno::from_i32(e.raw_os_error())),
            Err(e) => {
                once::warn(format!(
                    "cannot ask with the rights of user {}: {e}",
                    self.credentials.uid()
                ));
                Err(Errno::EACCES)
            }
        }
    }
}

fn is_of_this_user_namespace(thread: u32) -> bool {
    /// Device and inode of this process's, which stays the same; `None` of a kernel without any.
    static OWN: OnceLock<Option<(u64, u64)>> = OnceLock::new();

    let namespace = |thread: &str| {
        let stat = rustix::fs::stat(format!("/proc/{thread}/ns/user")).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    let own = *OWN.get_or_init(|| namespace("self"));
    own.is_none() || namespace(&thread.to_string()) == own
}
