//! What every method of reading a process does.

use vmaple_smaps::{FieldSet, Form};

use crate::counters::Counters;
use crate::error::Result;
use crate::method::Method;
use crate::options::Options;
use crate::process::Process;
use crate::record::{Mappings, Rollup};
use crate::report::Report;
use crate::strings::Strings;

/// A method of reading a process: one implementation for each [`Method`].
pub(crate) trait Source: Send {
    /// Returns which method it is.
    fn method(&self) -> Method;

    /// Returns the form of smaps on this kernel, as far as the method knows more of it.
    fn form(&self, form: Form) -> Form {
        form
    }

    /// Reads a process. `room` is the memory of an earlier scan, to be used again.
    ///
    /// # Errors
    /// What [`Scanner::scan_process`](crate::Scanner::scan_process) returns.
    fn scan(&mut self, process: &Process, options: &Options, room: Mappings) -> Result<Found>;

    /// Reads the arguments of a process; `None` if the method cannot.
    ///
    /// # Errors
    /// What [`Scanner::arguments`](crate::Scanner::arguments) returns.
    fn arguments(&mut self, _process: &Process) -> Result<Option<Strings>> {
        Ok(None)
    }

    /// Reads the environment of a process; `None` if the method cannot.
    ///
    /// # Errors
    /// What [`Scanner::environment`](crate::Scanner::environment) returns.
    fn environment(&mut self, _process: &Process) -> Result<Option<Strings>> {
        Ok(None)
    }
}

/// What a method has found of a process.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) content: Content,
    /// The fields that the content has.
    pub(crate) fields: FieldSet,
    pub(crate) report: Report,
}

#[derive(Debug)]
pub(crate) enum Content {
    Mappings(Mappings),
    /// The sum, which was read as such.
    Sum(Rollup),
    Counters(Counters),
}
