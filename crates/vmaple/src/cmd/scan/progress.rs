//! How far a round is: a line on a terminal, if the round takes more than a second.

use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The line. It is gone when this is dropped.
pub(super) struct Progress {
    began: Instant,
    processes: usize,
    bar: Option<ProgressBar>,
    is_wanted: bool,
}

impl Progress {
    /// The time after which it appears.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Begins a round of that many processes. `prints_each`: results appear on a terminal on the
    /// way, which show how far it is.
    pub(super) fn new(processes: usize, prints_each: bool) -> Self {
        Self {
            began: Instant::now(),
            processes,
            bar: None,
            is_wanted: stderr().is_terminal() && !(prints_each && stdout().is_terminal()),
        }
    }

    /// Shows how many processes are done.
    pub(super) fn show(&mut self, done: usize) {
        if self.bar.is_none() && self.is_wanted && self.began.elapsed() > Self::PATIENCE {
            let style = ProgressStyle::with_template("{bar:30} {pos} of {len} processes, {eta} left");
            let bar = ProgressBar::new(self.processes as u64);
            self.bar = Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    /// Does what writes to standard error, without the line.
    pub(super) fn hidden<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
