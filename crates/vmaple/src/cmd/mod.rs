//! One file for each command.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
mod export;
pub(crate) mod man;
pub(crate) mod repro;

use std::io::Write;

/// Writes results to standard output; a reader that has seen enough, as head(1), is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e)?,
        _ => Ok(()),
    }
}
