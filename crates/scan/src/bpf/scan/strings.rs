//! The arguments and the environment of a process, by the program.

use std::ops::Range;

use crate::bpf::abi::{Control, Stop};
use crate::bpf::engine::Engine;
use crate::bpf::load::program::{Entry, Link};
use crate::bpf::scan::session::Begun;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::process::Process;
use crate::strings::Strings;

/// More is not read, and counts as not there.
const MOST_BYTES: u64 = 1 << 22;
/// What the kernel looks at of a process that has written over its arguments.
const TITLE_BYTES: u64 = 4096;

/// Reads what /proc/PID/cmdline shows.
///
/// # Errors
/// As [`scan`](crate::bpf::scan::session::scan).
pub(crate) fn arguments(engine: &mut Engine, process: &Process) -> Result<Strings> {
    let mut reader = Reader::new(engine, process)?;
    let (at, first) = reader.read(ARGUMENTS)?;
    let mut strings = reader.go_on(at.arg_start..at.arg_end.max(at.arg_start), first)?;
    // setproctitle(3) writes over the last NUL, and may go on into the environment.
    if strings.is_whole && strings.bytes.last().is_some_and(|&last| last != 0) {
        let is_next = at.env_start == at.arg_end && at.env_end >= at.env_start;
        let most = if is_next { at.env_end } else { at.arg_end } - at.arg_start;
        let title = at.arg_start..at.arg_start.saturating_add(TITLE_BYTES);
        let mut bytes = reader.go_on(title, vec![])?.bytes;
        let end = bytes.iter().position(|&byte| byte == 0);
        let is_whole = end.is_some() || bytes.len() as u64 >= most.min(TITLE_BYTES);
        let upto = end.map_or(bytes.len(), |end| end + 1);
        bytes.truncate(upto.min(most as usize));
        strings = Strings { bytes, is_whole };
    }
    process.check_still()?;
    Ok(strings)
}

/// Reads what /proc/PID/environ shows.
///
/// # Errors
/// As [`scan`](crate::bpf::scan::session::scan).
pub(crate) fn environment(engine: &mut Engine, process: &Process) -> Result<Strings> {
    let mut reader = Reader::new(engine, process)?;
    let at = reader.read(NOTHING)?.0;
    let strings = reader.go_on(at.env_start..at.env_end.max(at.env_start), vec![])?;
    process.check_still()?;
    Ok(strings)
}

/// Stands for the arguments, wherever they are: the program says where.
const ARGUMENTS: Range<u64> = 0..0;
/// A range in which there is nothing: the program says where strings are.
const NOTHING: Range<u64> = 1..1;

struct Reader<'a> {
    engine: &'a mut Engine,
    pid: u32,
    link: Link,
    asked: Control,
}

impl<'a> Reader<'a> {
    fn new(engine: &'a mut Engine, process: &Process) -> Result<Self> {
        let begun = Begun::new(engine, process, &Options::new())?;
        let pid = process.pid();
        let link = engine.program.link(Entry::Strings, pid)?;
        let asked = Control {
            mm: begun.identity.found_mm,
            exec_id: begun.identity.found_exec_id,
            started: begun.identity.found_started,
            ..engine.layout.asked()
        };
        Ok(Self {
            engine,
            pid,
            link,
            asked,
        })
    }

    /// Reads what is there of a range, after the `bytes` of it that have been read.
    fn go_on(&mut self, range: Range<u64>, mut bytes: Vec<u8>) -> Result<Strings> {
        let upto = range.end.min(range.start.saturating_add(MOST_BYTES));
        loop {
            let from = range.start + bytes.len() as u64;
            if from >= upto {
                break;
            }
            let more = self.read(from..upto)?.1;
            if more.is_empty() {
                break;
            }
            bytes.extend(more);
        }
        let is_whole = bytes.len() as u64 == range.end - range.start;
        Ok(Strings { bytes, is_whole })
    }

    /// Reads of a range what fits into a run.
    fn read(&mut self, range: Range<u64>) -> Result<(Control, Vec<u8>)> {
        let mut control = Control {
            strings_start: range.start,
            strings_end: range.end,
            ..self.asked
        };
        match self.engine.program.run(&self.link, &mut control)? {
            Stop::End => Ok((control, self.engine.program.names(&control).to_vec())),
            Stop::NoMm => Err(Error::NoProcess(self.pid)),
            _ => Err(Error::Executed(self.pid)),
        }
    }
}
