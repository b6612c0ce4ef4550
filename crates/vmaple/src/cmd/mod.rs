//! One file for each command.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
mod export;
pub(crate) mod man;
pub(crate) mod mount;
pub(crate) mod repro;
pub(crate) mod run;
pub(crate) mod scan;
mod signals;
pub(crate) mod top;

use std::io::Write;

/// Writes results to standard output. A reader that closes the pipe early, as head(1), is no error.
fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes()).map(drop)
}

/// Writes results, and returns whether there is still a reader.
fn print_bytes(text: &[u8]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e)?,
    }
}
