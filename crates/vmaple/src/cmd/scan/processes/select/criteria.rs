//! What a selected process has to be.

use std::collections::HashSet;
use std::fs;

use anyhow::Context;
use regex::bytes::Regex;
use vmaple_repro::Error;
use vmaple_scan::Process;

use super::cgroup::Subtree;
use super::table;
use crate::cli::SelectOptions;
use crate::cmd::scan::processes::identity::Identity;
use crate::cmd::scan::processes::status::effective_user;

/// What a process has to be: all of this. Without any of it, each process is selected.
#[derive(Debug)]
pub(in crate::cmd::scan) struct Criteria {
    name: Option<Regex>,
    cgroup: Option<Subtree>,
    user: Option<u32>,
    children_of: Option<u32>,
}

/// The processes of one round.
#[derive(Debug, Default)]
pub(in crate::cmd::scan) struct Found {
    /// In ascending order.
    pub(in crate::cmd::scan) pids: Vec<u32>,
    /// Kernel threads that would have been selected, but have no memory map.
    pub(in crate::cmd::scan) kernel_threads: usize,
    descendants: Option<HashSet<u32>>,
}

impl Criteria {
    /// Returns `None` if no option asks for such a selection.
    ///
    /// # Errors
    /// [`Error::Usage`] for a user that there is not.
    pub(super) fn of(options: &SelectOptions) -> Result<Option<Self>, Error> {
        let criteria = Self {
            name: options.name.clone(),
            cgroup: options.cgroup.as_deref().map(Subtree::new),
            user: options.user.as_deref().map(user).transpose()?,
            children_of: options.children_of,
        };
        let Self {
            name: None,
            cgroup: None,
            user: None,
            children_of: None,
        } = criteria
        else {
            return Ok(Some(criteria));
        };
        Ok(options.all.then_some(criteria))
    }

    /// Looks for the processes that match now.
    pub(in crate::cmd::scan) fn find(&self) -> anyhow::Result<Found> {
        let all = table::processes().context("listing the processes in /proc")?;
        let mut found = Found {
            descendants: self.children_of.map(|pid| table::descendants(&all, pid)),
            ..Found::default()
        };
        for (pid, stat) in all {
            let is_named = self.name.as_ref().is_none_or(|name| name.is_match(&stat.comm));
            let is_below = found.descendants.as_ref().is_none_or(|all| all.contains(&pid));
            let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
            if !is_named || !is_below || !self.is_of_user_and_cgroup(read) {
                continue;
            }
            if stat.is_kernel_thread {
                found.kernel_threads += 1;
            } else {
                found.pids.push(pid);
            }
        }
        Ok(found)
    }

    /// Returns whether a process that is held open matches: its number may have come to mean
    /// another one since it was found.
    pub(in crate::cmd::scan) fn still_match(&self, process: &Process, found: &Found) -> bool {
        let identity = Identity::of(process);
        let is_below = found
            .descendants
            .as_ref()
            .is_none_or(|all| all.contains(&process.pid()));
        self.name.as_ref().is_none_or(|name| name.is_match(identity.comm()))
            && is_below
            && self.is_of_user_and_cgroup(|name| process.read_file(name).ok())
    }

    fn is_of_user_and_cgroup(&self, read: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
        let is_in = |cgroup: &Subtree| read("cgroup").is_some_and(|cgroups| cgroup.contains(&cgroups));
        let is_of = |user: u32| read("status").and_then(|status| effective_user(&status)) == Some(user);
        self.user.is_none_or(is_of) && self.cgroup.as_ref().is_none_or(is_in)
    }
}

/// Returns the number of a user, by that or by name.
fn user(text: &str) -> Result<u32, Error> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let found = uzers::get_user_by_name(text);
    found.map(|user| user.uid()).ok_or_else(|| {
        Error::Usage(format!(
            "--user {text}: no such user; give a name that this machine knows, or a number"
        ))
    })
}
