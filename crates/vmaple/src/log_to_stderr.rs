//! Warnings of vmaple's own libraries, as lines on standard error.
//!
//! fuser logs an error for each call that a signal interrupts.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("vmaple")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("vmaple: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Has them written from now on.
pub(crate) fn start() {
    // It fails if it was called before.
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
