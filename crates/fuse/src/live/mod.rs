//! /proc, of which some files are answered by scans.
//!
//! A request names the thread that asks, which waits for the answer. All that is done for it is
//! done with its rights, in this process's place: [`caller`]. [`node`] and [`mod@file`] are what
//! the kernel knows and has opened; [`answer`] are the files that [`scans`] answer.

mod answer;
mod attributes;
mod caller;
mod file;
mod filesystem;
mod node;
mod once;
mod scans;
mod text;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fuser::INodeNo;
use rustix::fs::{CWD, Mode, OFlags, openat};
use vmaple_scan::check_proc;

use crate::error::{Error, Result};
use crate::handles::Handles;
use crate::live::file::Open;
use crate::live::node::Nodes;
use crate::live::scans::Scans;

/// /proc of this process's PID namespace, in which `maps`, `smaps` and `smaps_rollup` of every
/// process and thread come from a scan that takes no lock of theirs.
///
/// All else is the kernel's own: files, links, directories, sizes, times, owners. What the caller
/// may not read in /proc the caller may not read here. It is read-only.
///
/// Where a scan is not possible the kernel's own file is read, and a warning is logged once.
///
/// A concurrent reader sees of `maps`, `smaps` and `smaps_rollup` one scan, from the read at the
/// beginning of the file on.
///
/// A request that waits for a process, as some files of the kernel's do, keeps no other waiting.
pub struct Live(Arc<Files>);

/// What is known, open, and scanned.
struct Files {
    nodes: Nodes,
    open: Handles<Open>,
    scans: Option<Scans>,
}

/// The options of [`Live`]. By default every read from the beginning is a scan.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    max_age: Duration,
    cpu: Option<Duration>,
    cache: Option<PathBuf>,
}

impl LiveOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how old a scan may be that is shown to another reader with the same rights.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets the CPU time that the sum of a process may take.
    ///
    /// `smaps_rollup` then counts as many pages as the time is enough for, drawn by chance. For
    /// each value that is estimated it has one line more: `Margin_Pss:` of kilobytes, within
    /// which the true value lies with a probability of 95 %. Programs that read the file look for
    /// the lines that they know.
    #[must_use]
    pub const fn cpu(mut self, time: Duration) -> Self {
        self.cpu = Some(time);
        self
    }

    /// Sets the directory that keeps what a start has learnt of this kernel: as
    /// [`vmaple_scan::Options::cache`].
    #[must_use]
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }
}

impl Live {
    /// Opens /proc, and starts a scanner.
    ///
    /// # Errors
    /// [`Error::Scan`] if /proc is of another PID namespace than this process.
    pub fn new(options: LiveOptions) -> Result<Self> {
        check_proc()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, "/proc", flags, Mode::empty()).map_err(|e| Error::failed("opening /proc", e))?;
        let scans = Scans::start(options).inspect_err(|why| {
            log::warn!("maps, smaps and smaps_rollup are the kernel's own, which take locks: {why}");
        });
        Ok(Self(Arc::new(Files {
            nodes: Nodes::new(proc),
            open: Handles::default(),
            scans: scans.ok(),
        })))
    }

    /// Returns what finds the directories that the kernel had better forget, as each is an open
    /// file here.
    pub(crate) fn excess(&self) -> impl Fn() -> Vec<(INodeNo, OsString)> + Send + use<> {
        /// The kernel keeps those that it may need again.
        const MOST: usize = 1000;
        let files = Arc::clone(&self.0);
        move || files.nodes.excess(MOST)
    }

    /// Returns whether scans are possible.
    #[must_use]
    pub fn scans(&self) -> bool {
        self.0.scans.is_some()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("nodes", &self.0.nodes.count())
            .field("scans", &self.scans())
            .finish_non_exhaustive()
    }
}
