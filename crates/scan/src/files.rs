//! A scan by the kernel's own files: with a read for each mapping at real-time priority, or as they are.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::time::{Duration, Instant};

use crate::boost::Boost;
use crate::error::{Error, Result};
use crate::form::Form;
use crate::method::Method;
use crate::proc_text::SmapsParser;
use crate::process::Process;
use crate::report::{Acquisitions, Partial, Report, Validation};
use crate::scanner::{Raw, Want};

/// Less than a record of smaps: the kernel then shows no second one while it holds its lock.
const ONE_RECORD: usize = 512;
/// As large as the buffer of cat(1).
const MANY: usize = 128 << 10;

/// Reads /proc/PID/maps or smaps.
///
/// # Errors
/// [`Error::NotPermitted`], [`Error::NoProcess`], [`Error::Failed`].
pub(crate) fn scan(
    process: &Process,
    method: Method,
    want: Want,
    limit: Duration,
    form: &Form,
    reuse: Raw,
) -> Result<Raw> {
    let began = Instant::now();
    let pid = process.pid();
    let name = if want <= Want::Ranges { "maps" } else { "smaps" };
    let path = format!("/proc/{pid}/{name}");
    let failed = |e: &io::Error| Error::of_proc(pid, &format!("reading {path}"), e);
    let mut file = process.open_map(name)?;
    let Raw {
        mut lines, mut names, ..
    } = reuse;
    lines.clear();
    names.clear();
    let mut parser = SmapsParser::new(lines, names);
    let is_boosted = method == Method::Boosted;
    let mut buffer = vec![0; if is_boosted { ONE_RECORD } else { MANY }];
    let (mut reads, mut longest, mut together) = (0, Duration::ZERO, Duration::ZERO);
    let mut partial = None;
    loop {
        let boost = is_boosted.then(Boost::begin).transpose();
        let boost = boost.map_err(|e| Error::failed("raising the priority", e))?;
        let begin = Instant::now();
        let read = file.read(&mut buffer);
        let length = begin.elapsed();
        drop(boost);
        longest = longest.max(length);
        together += length;
        reads += 1;
        match read {
            Ok(0) => break,
            Ok(n) => {
                if !parser.take(&buffer[..n], form) {
                    return Err(Error::failed(
                        format!("reading {path}"),
                        "its text is not of a known form",
                    ));
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(&e)),
        }
        if began.elapsed() > limit {
            let below = parser.lines.last().map_or(0, |line| line.end);
            partial = Some(Partial::OutOfTime(below));
            break;
        }
    }
    let SmapsParser { lines, names, .. } = parser;
    if lines.is_empty() {
        return Err(Error::NoProcess(pid));
    }
    check_whole(process, &mut file, &failed)?;
    let mapped = match lines.last() {
        Some(last) if names[last.name_at..].starts_with(b"[vsyscall]") => lines.len() - 1,
        _ => lines.len(),
    };
    let report = Report {
        method,
        mappings: mapped,
        runs: reads,
        longest_run: longest,
        in_runs: together,
        elapsed: began.elapsed(),
        rejected: 0,
        mmap_lock: Acquisitions::AsTheFile,
        validation: Validation::Kernel,
        unvalidated: 0,
        counted_later: 0,
        snapshot: None,
        partial,
    };
    Ok(Raw {
        lines,
        mapped,
        names,
        report: Some(report),
        counters: None,
    })
}

/// Checks that the address space is still there: the text of one that is gone ends early, as if that were its end.
fn check_whole(process: &Process, file: &mut File, failed: &dyn Fn(&io::Error) -> Error) -> Result<()> {
    file.rewind().map_err(|e| failed(&e))?;
    let read = loop {
        match file.read(&mut [0]) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    match read {
        Ok(0) => {
            process.check_alive()?;
            // Its memory is gone, and it is there: it has executed another program, or is about to end.
            Err(Error::Executed(process.pid()))
        }
        Ok(_) => Ok(()),
        Err(e) => Err(failed(&e)),
    }
}
