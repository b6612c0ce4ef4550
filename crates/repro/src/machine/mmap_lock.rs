//! A counter of acquisitions of `mmap_lock`.
//!
//! A perf counter on the tracepoint `mmap_lock:mmap_lock_acquire_returned`. Nothing is written to
//! tracefs, and a private mount that no path leads to serves where it is not mounted, so nothing
//! can be left behind.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::{Error, Result};

const EVENT: &str = "events/mmap_lock/mmap_lock_acquire_returned/id";

/// A running counter of the calling thread's acquisitions.
pub(crate) struct Acquisitions(Counter);

impl Acquisitions {
    /// Starts to count.
    pub(crate) fn count() -> Result<Self> {
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
        Ok(Self(counter))
    }

    /// Returns how many there have been so far.
    pub(crate) fn so_far(&mut self) -> Result<u64> {
        let failed = |e| Error::failed("counting acquisitions of mmap_lock", e);
        self.0.read().map_err(failed)
    }
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
