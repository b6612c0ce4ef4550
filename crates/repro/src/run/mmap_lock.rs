//! Which files take `mmap_lock` when they are read: counted, not guessed from the kernel's version.
//!
//! A perf counter counts acquisitions by the reading thread while it scans a sleeping process. The
//! target sleeps: 0 means "not without contention"; a kernel that falls back to `mmap_lock` when it
//! meets a writer does not show here.

use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::machine::mmap_lock::Acquisitions;
use crate::machine::sched::allowed_cpus;
use crate::plan::{Placement, Plan, Preset, Reading, Scanner};
use crate::role::{ProcScan, Scan};

use super::experiment;
use super::setup::Setup;

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

/// Counts for every file of this kernel, on a child process of about two hundred mappings.
///
/// `exe` is as for [`super::experiment::run`].
///
/// # Errors
/// [`Error::NotPossible`] if the tracepoint is unavailable: no tracefs (before Linux 5.11 there is
/// no such tracepoint), or no right to mount it or to count.
pub fn measure(exe: &Path) -> Result<Vec<LockUse>> {
    vmaple_scan::check_proc().map_err(|e| Error::NotPossible(e.to_string()))?;
    let mut acquisitions = Acquisitions::count()?;
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
            // A boosted reader takes the locks that any reader of the file takes.
            .filter(|&file| file.scanner() != Scanner::Boosted && experiment::check_file(file).is_ok())
            .map(|file| {
                let mut scan = ProcScan::new(pid, file, (region, plan.region_bytes))?;
                // The first scans may also map memory of the reader.
                scan.once(|_| {})?;
                scan.once(|_| {})?;
                let before = acquisitions.so_far()?;
                let calls = scan.once(|_| {})?;
                let acquisitions = acquisitions.so_far()? - before;
                Ok(LockUse {
                    file,
                    calls,
                    acquisitions,
                })
            })
            .collect()
    })
}
