//! Which files take `mmap_lock` when they are read: counted, not guessed from the kernel's version.
//!
//! A perf counter on the tracepoint `mmap_lock:mmap_lock_acquire_returned` counts acquisitions by the reading thread while
//! it scans a sleeping process. Nothing is written to tracefs, and a private mount that no path leads to serves where it
//! is not mounted, so nothing can be left behind. The target sleeps: 0 means "not without contention"; a kernel that
//! falls back to `mmap_lock` when it meets a writer does not show here.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::experiment;
use super::setup::Setup;
use crate::error::{Error, Result};
use crate::machine::sched::allowed_cpus;
use crate::plan::{Placement, Plan, Preset, Reading, Scanner};
use crate::role::{ProcScan, Scan};

const EVENT: &str = "events/mmap_lock/mmap_lock_acquire_returned/id";

/// What one scan of a file did to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockUse {
    /// The file.
    pub file: Reading,
    /// Calls (read, pread or ioctl) of one scan.
    pub calls: u64,
    /// Acquisitions of `mmap_lock` in that scan, by the reader.
    pub acquisitions: u64,
}

/// Counts for every file that this kernel has, on a child process of about two hundred mappings.
///
/// `exe` is as for [`super::experiment::run`].
///
/// # Errors
/// [`Error::NotPossible`] if the tracepoint is unavailable: no tracefs (before Linux 5.11 there is no such tracepoint),
/// or no right to mount it or to count.
pub fn measure(exe: &Path) -> Result<Vec<LockUse>> {
    vmaple_scan::check_proc().map_err(|e| Error::NotPossible(e.to_string()))?;
    let mut counter = counter()?;
    let cpu = allowed_cpus()?.first().copied().unwrap_or(0);
    let placement = Placement {
        mapper: cpu,
        controller: cpu,
        busy: vec![],
    };
    let plan = Plan {
        region_bytes: 4 << 20,
        fragment: 500,
        faults: false,
        ..Plan::preset(Preset::Check, placement)
    };
    let (stop, _never) = std::io::pipe().map_err(|e| Error::failed("making a pipe", e))?;
    let setup = Setup {
        plan: &plan,
        exe,
        cgroup: None,
        stop: stop.as_fd(),
    };
    setup.with_waiting_mapper(|pid, region| {
        Reading::ALL
            .into_iter()
            // Boosted, a file takes what it takes.
            .filter(|&file| file.scanner() != Scanner::Boosted && experiment::check_file(file).is_ok())
            .map(|file| {
                let mut scan = ProcScan::new(pid, file, (region, plan.region_bytes))?;
                // Whatever happens only the first times: memory of the reader's own.
                scan.once(|_| {})?;
                scan.once(|_| {})?;
                let failed = |e| Error::failed("counting acquisitions of mmap_lock", e);
                let before = counter.read().map_err(failed)?;
                let calls = scan.once(|_| {})?;
                let acquisitions = counter.read().map_err(failed)? - before;
                Ok(LockUse {
                    file,
                    calls,
                    acquisitions,
                })
            })
            .collect()
    })
}

/// A running counter of this thread's acquisitions.
fn counter() -> Result<Counter> {
    let id = tracepoint_id()?;
    let counting = |e: std::io::Error| {
        Error::NotPossible(format!(
            "counting acquisitions of mmap_lock: {e}; run as root (or with CAP_PERFMON)"
        ))
    };
    let mut counter = Builder::new(Tracepoint::with_id(id))
        .include_kernel()
        .build()
        .map_err(counting)?;
    counter.enable().map_err(counting)?;
    Ok(counter)
}

fn tracepoint_id() -> Result<u64> {
    let mut why = String::new();
    for open in [
        || open_at(CWD, "/sys/kernel/tracing"),
        || open_at(CWD, "/sys/kernel/debug/tracing"),
        private_tracefs,
    ] {
        match open().and_then(|dir| read_at(&dir, EVENT)) {
            Ok(text) => {
                return text
                    .trim()
                    .parse()
                    .map_err(|e| Error::failed("reading the tracepoint's number", e));
            }
            Err(e) => why = e.to_string(),
        }
    }
    Err(Error::NotPossible(format!(
        "the tracepoint mmap_lock:mmap_lock_acquire_returned is unavailable ({why}); run as root, on Linux 5.11 or later with tracefs"
    )))
}

fn open_at(dir: impl AsFd, path: &str) -> std::io::Result<OwnedFd> {
    Ok(openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A mount of tracefs that goes with its file descriptor.
fn private_tracefs() -> std::io::Result<OwnedFd> {
    let fs = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn read_at(dir: &OwnedFd, path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    File::from(open_at(dir, path)?).read_to_string(&mut text)?;
    Ok(text)
}
