//! Warnings of the libraries, as lines on standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("vmaple");
        metadata.level() <= if is_ours { Level::Warn } else { Level::Error }
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
