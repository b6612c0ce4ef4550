//! A scan by the kernel's own files: with a read for each mapping at real-time priority, or as they are.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::time::{Duration, Instant};

use crate::boost::Boost;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::options::Want;
use crate::process::Process;
use crate::report::{Partial, Report};
use crate::scanner::Raw;
use crate::text::form::Form;
use crate::text::parse::SmapsParser;
use crate::text::record::Rollup;

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
    let boosted = || {
        let boost = is_boosted.then(Boost::begin).transpose();
        boost.map_err(|e| Error::failed("raising the priority", e))
    };
    let mut buffer = vec![0; if is_boosted { ONE_RECORD } else { MANY }];
    let (mut reads, mut longest, mut together) = (0, Duration::ZERO, Duration::ZERO);
    let mut partial = None;
    loop {
        let boost = boosted()?;
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
        // The last record's values may not all have come: it is left out, and there is one before it.
        if began.elapsed() > limit && parser.lines.len() > 1 {
            parser.lines.pop();
            let below = parser.lines.last().map_or(0, |line| line.end);
            partial = Some(Partial::OutOfTime(below));
            break;
        }
    }
    let SmapsParser { lines, names, .. } = parser;
    if lines.is_empty() {
        return Err(Error::NoProcess(pid));
    }
    // This too is a read under the kernel's lock.
    let boost = boosted()?;
    check_whole(process, &mut file, &failed)?;
    drop(boost);
    let mapped = match lines.last() {
        Some(last) if names[last.name_at..].starts_with(b"[vsyscall]") => lines.len() - 1,
        _ => lines.len(),
    };
    let report = Report {
        mappings: mapped,
        runs: reads,
        longest_run: longest,
        in_runs: together,
        partial,
        ..Report::of_kernel(method, began.elapsed())
    };
    Ok(Raw {
        lines,
        mapped,
        names,
        report: Some(report),
        ..Raw::default()
    })
}

/// Reads /proc/PID/smaps_rollup: the kernel adds up before it rounds.
///
/// Only for [`Method::Plain`]: the kernel holds its lock for the whole process, which is what [`Method::Boosted`] is there to avoid.
///
/// # Errors
/// As [`scan`].
pub(crate) fn sum(process: &Process, form: &Form) -> Result<Raw> {
    let began = Instant::now();
    let pid = process.pid();
    let path = format!("/proc/{pid}/smaps_rollup");
    let mut text = vec![];
    process
        .open_map("smaps_rollup")?
        .read_to_end(&mut text)
        .map_err(|e| Error::of_proc(pid, &format!("reading {path}"), &e))?;
    process.check_alive()?;
    if text.is_empty() {
        return Err(Error::NoProcess(pid));
    }
    // One record, as if it were a mapping's.
    let mut parser = SmapsParser::default();
    let is_known = parser.take(&text, form);
    let (true, [line]) = (is_known, parser.lines.as_slice()) else {
        return Err(Error::failed(
            format!("reading {path}"),
            "its text is not of a known form",
        ));
    };
    let sum = Rollup {
        start: line.start,
        end: line.end,
        stats: line.stats,
        ..Rollup::default()
    };
    Ok(Raw {
        report: Some(Report::of_kernel(Method::Plain, began.elapsed())),
        sum: Some(sum),
        ..Raw::default()
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
