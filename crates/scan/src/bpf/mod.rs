//! The method [`Method::Bpf`].
//!
//! A program in the kernel walks the maple tree and page tables under RCU.
//!
//! From the ground up:
//! - [`abi`] is what the program and the loader exchange, through memory that is [`shared`].
//! - [`program`] loads and runs it; a [`refusal`] says why it could not be loaded.
//! - [`layout`] finds out where this kernel keeps physical memory and `struct page`.
//! - [`engine`] is the program with all that it has to be told.
//! - A [`session`] scans one process. Its [`runs`] become [`lines`], with [`counts`], [`name`]s and
//!   [`thp`].
//! - The [`self_test`] compares such a scan with the kernel's own text, before the first one.

mod abi;
mod comparison;
mod counts;
mod engine;
#[cfg(test)]
mod forged;
mod identity;
mod layout;
mod lines;
mod name;
mod program;
mod refusal;
mod runs;
mod self_test;
mod session;
mod shapes;
mod shared;
mod thp;
mod vsyscall;

use vmaple_smaps::Form;

use crate::bpf::engine::Engine;
use crate::error::Result;
use crate::method::Method;
use crate::options::Options;
use crate::process::Process;
use crate::record::Mappings;
use crate::source::{Found, Source};

/// Loads the program, and compares what it finds of a child process with /proc.
///
/// # Errors
/// [`Error::NotPossible`](crate::Error::NotPossible) without the rights, BTF, or on a kernel that
/// the program does not understand.
pub(crate) fn start(form: &Form) -> Result<impl Source + use<>> {
    let mut engine = Engine::load()?;
    self_test::run(&mut engine, form)?;
    Ok(engine)
}

impl Source for Engine {
    fn method(&self) -> Method {
        Method::Bpf
    }

    fn scan(&mut self, process: &Process, options: &Options, room: Mappings) -> Result<Found> {
        let mut found = session::scan(self, process, options, room)?;
        found.report.budget = Some(options.budget);
        Ok(found)
    }
}
