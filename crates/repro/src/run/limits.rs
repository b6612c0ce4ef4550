//! Checks that this machine lets an experiment start all its processes and threads, before the
//! first one starts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Resource, geteuid, getrlimit};

use crate::error::{Error, Result};
use crate::machine::{cgroup, meminfo_bytes, read_number};
use crate::plan::{Cell, Plan, Scanner};
use crate::role::mapped_pages;

/// Memory that a scanner or busy task needs, buffers and page tables included (measured: 0.5 MiB,
/// rounded up).
const ROLE_BYTES: u64 = 1 << 20;

/// What a scanner by BPF needs in addition: the program with its maps, and the kernel's types
/// (measured: 19 MiB).
const BPF_BYTES: u64 = 20 << 20;

/// Memory that a scanner or busy task of a model needs, which is a thread: stack and buffer,
/// rounded up.
const THREAD_BYTES: u64 = 256 << 10;

/// What a model needs for each page in addition to the page: VMAs and tree, twice because of
/// readers (measured: 400 bytes).
const MODEL_PAGE_BYTES: u64 = 512;

/// A limit and what it leaves.
struct Limit {
    name: String,
    left: u64,
    needed: u64,
    advice: &'static str,
}

/// Checks the plan's largest cell against every limit that could stop it.
///
/// # Errors
/// [`Error::NotPossible`] names the limit, what it leaves and what is needed.
pub fn check(plan: &Plan) -> Result<()> {
    let Some(cell) = plan
        .cells()
        .into_iter()
        .max_by_key(|&c| (plan.tasks(c), memory(plan, c)))
    else {
        return Ok(());
    };
    task_limits(plan.tasks(cell) + 2)
        .into_iter()
        .chain(memory_limits(plan, cell))
        .find(|limit| limit.left < limit.needed)
        .map_or(Ok(()), |limit| {
            Err(Error::NotPossible(format!(
                "level {} needs {}, but {} leaves {}; {} or take a lower --busy",
                cell.busy, limit.needed, limit.name, limit.left, limit.advice
            )))
        })
}

/// Returns the limits of processes and threads, which the kernel counts alike.
fn task_limits(needed: u64) -> Vec<Limit> {
    let limit = |name: &str, left: u64, advice| Limit {
        name: format!("{name} (processes and threads)"),
        left,
        needed,
        advice,
    };
    let mut limits = Vec::new();
    let tasks = fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').nth(3)?.split_once('/')?.1.parse::<u64>().ok())
        .unwrap_or(0);
    for name in ["kernel.pid_max", "kernel.threads-max"] {
        if let Some(max) = read_number(&format!("/proc/sys/{}", name.replace('.', "/"))) {
            limits.push(limit(name, max.saturating_sub(tasks), "raise it with sysctl"));
        }
    }
    // The kernel does not apply RLIMIT_NPROC to root (CAP_SYS_ADMIN, CAP_SYS_RESOURCE).
    if let (Some(max), false) = (getrlimit(Resource::Nproc).current, geteuid().is_root()) {
        let left = max.saturating_sub(own_tasks());
        limits.push(limit("RLIMIT_NPROC", left, "raise it with ulimit -u"));
    }
    for (dir, max, current) in cgroup::limits("pids", &[("pids.max", "pids.current")]) {
        let name = format!("pids.max of {}", dir.display());
        limits.push(limit(&name, max.saturating_sub(current), "raise it"));
    }
    limits
}

/// Estimates the memory that the cell needs, in bytes.
fn memory(plan: &Plan, cell: Cell) -> u64 {
    let faults = if plan.faults {
        mapped_pages(plan.duration_ns) * 4096
    } else {
        0
    };
    let roles = if cell.target.is_model() {
        plan.tasks(cell) * THREAD_BYTES + plan.region_pages() * MODEL_PAGE_BYTES
    } else {
        let bpf = cell.file.is_some_and(|file| file.scanner() == Scanner::Bpf);
        let bpf_bytes = if bpf { plan.tasks(cell) / 2 * BPF_BYTES } else { 0 };
        plan.tasks(cell) * ROLE_BYTES + bpf_bytes
    };
    roles + plan.region_bytes + faults
}

fn memory_limits(plan: &Plan, cell: Cell) -> Vec<Limit> {
    let needed = memory(plan, cell);
    let limit = |name: String, left: u64| Limit {
        name: format!("{name} (bytes of memory)"),
        left,
        needed,
        advice: "free some",
    };
    let files = [
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ];
    let available = meminfo_bytes("MemAvailable").map(|left| limit("MemAvailable".into(), left));
    let cgroups = cgroup::limits("memory", &files).into_iter().map(|(dir, max, current)| {
        // The page cache can be reclaimed.
        let used = current.saturating_sub(page_cache(&dir));
        limit(
            format!("the memory limit of {}", dir.display()),
            max.saturating_sub(used),
        )
    });
    available.into_iter().chain(cgroups).collect()
}

/// Returns the page cache that is charged to a memory cgroup and its children, in bytes.
fn page_cache(dir: &Path) -> u64 {
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let of = |name: &str| -> Option<u64> {
        stat.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    // v1 counts the children in other lines than v2.
    ["active_file", "inactive_file"]
        .into_iter()
        .filter_map(|name| of(&format!("total_{name}")).or_else(|| of(name)))
        .sum()
}

/// Counts the tasks (threads of all processes) of this user, as RLIMIT_NPROC does.
fn own_tasks() -> u64 {
    let uid = geteuid().as_raw();
    let mine = |entry: &fs::DirEntry| {
        entry.file_name().as_encoded_bytes()[0].is_ascii_digit() && entry.metadata().is_ok_and(|m| m.uid() == uid)
    };
    let tasks = |entry: fs::DirEntry| fs::read_dir(entry.path().join("task")).map_or(0, |dir| dir.count() as u64);
    fs::read_dir("/proc").map_or(0, |dir| dir.flatten().filter(mine).map(tasks).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Placement, Preset};

    fn plan(busy: Vec<u32>) -> Plan {
        let placement = Placement {
            mapper: 0,
            controller: 0,
            busy: vec![1],
        };
        Plan {
            busy,
            ..Plan::preset(Preset::Check, placement)
        }
    }

    #[test]
    fn a_small_plan_is_possible() {
        check(&plan(vec![0, 1])).unwrap();
    }

    #[test]
    fn more_processes_than_the_machine_can_have_are_refused_with_the_limit() {
        let error = check(&plan(vec![u32::MAX])).unwrap_err();
        assert!(matches!(error, Error::NotPossible(_)));
        assert!(error.to_string().contains("kernel."), "{error}");
    }
}
