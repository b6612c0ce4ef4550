//! Scanning processes: the method, and what comes out.

use std::fmt;

use crate::boost::Boost;
use crate::bpf::self_test;
use crate::bpf::{Bounds, Bpf};
use crate::error::{Error, Result};
use crate::left_out;
use crate::method::Method;
use crate::options::{LEAST_BUDGET, MOST_BUDGET, Options, Want};
use crate::proc::counters::Counters;
use crate::proc::{counters, files};
use crate::process::Process;
use crate::process::proc_mount;
use crate::process::state::{self, by_some_thread};
use crate::report::Report;
use crate::text::field::Field;
use crate::text::form::Form;
use crate::text::record::{Line, MemSizeStats, Rollup, ScanRecord};

/// Scans processes, any number of them, one after the other.
pub struct Scanner {
    options: Options,
    engine: Engine,
    form: Form,
    passed_over: Vec<(Method, String)>,
    reuse: Raw,
}

enum Engine {
    Bpf(Box<Bpf>),
    Counters,
    Boosted,
    Plain,
}

/// What a method has found.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) lines: Vec<Line>,
    /// How many of them are mappings of the process's own: not `[vsyscall]`.
    pub(crate) mapped: usize,
    pub(crate) names: Vec<u8>,
    pub(crate) report: Option<Report>,
    pub(crate) counters: Option<Counters>,
    /// The sum, where it was read as such.
    pub(crate) sum: Option<Rollup>,
}

impl Scanner {
    /// A scanner for all of smaps, by the best method that kernel and rights allow.
    ///
    /// It compares what it would say of a child process with what the kernel says, so it forks once.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn new() -> Result<Self> {
        Self::with(Options::default())
    }

    /// A scanner with these options.
    ///
    /// # Errors
    /// [`Error::NotPossible`] if the method that is asked for is not possible here, or if /proc is of another PID namespace. Without a
    /// method it is the best that is possible, but never [`Method::Plain`], which does to a process what this crate is there to avoid:
    /// if no better one is possible, the error says why, and how to ask for it.
    pub fn with(options: Options) -> Result<Self> {
        proc_mount::check()?;
        let form = Form::of_this_kernel()?;
        let mut passed_over = vec![];
        let engine = match options.method {
            Some(method) => Engine::start(method, &form)?,
            None if options.want == Want::Counters => Engine::Counters,
            None => {
                let better = [Method::Bpf, Method::Boosted];
                let found = better
                    .into_iter()
                    .find_map(|method| match Engine::start(method, &form) {
                        Ok(engine) => Some(engine),
                        Err(why) => {
                            passed_over.push((method, why.to_string()));
                            None
                        }
                    });
                found.ok_or_else(|| nothing_better(&passed_over))?
            }
        };
        Ok(Self {
            options,
            engine,
            form,
            passed_over,
            reuse: Raw::default(),
        })
    }

    /// How it reads.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.engine {
            Engine::Bpf(_) => Method::Bpf,
            Engine::Counters => Method::Counters,
            Engine::Boosted => Method::Boosted,
            Engine::Plain => Method::Plain,
        }
    }

    /// The better methods that are not possible here, each with the reason.
    #[must_use]
    pub fn passed_over(&self) -> &[(Method, String)] {
        &self.passed_over
    }

    /// The form of smaps on this kernel.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Reads the memory map of the process `pid`, of the caller's PID namespace.
    ///
    /// Of a process whose first thread has ended another thread is read, which [`Report::thread`] names: all have the same memory.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] if the caller may not read /proc/PID/maps, [`Error::NoProcess`] if there is no such process,
    /// [`Error::KernelThread`], [`Error::Exiting`] and [`Error::Zombie`] if it has no memory map, [`Error::Executed`] if it executed
    /// another program meanwhile.
    pub fn scan(&mut self, pid: u32) -> Result<Scan> {
        match Process::open(pid) {
            Ok(process) => self.scan_process(&process),
            Err(Error::NoProcess(_)) => Err(state::why_gone(pid)),
            Err(error) => Err(error),
        }
    }

    /// Reads the memory map of a process that is held open: never of another process that has its number after it.
    ///
    /// # Errors
    /// As [`scan`](Self::scan). [`Error::NoProcess`] also if the process ended during the scan; what was read of it is discarded.
    pub fn scan_process(&mut self, process: &Process) -> Result<Scan> {
        let (mut raw, thread) = by_some_thread(process, |process| self.read(process))?;
        self.complete(&mut raw, thread);
        Ok(Scan {
            pid: process.pid(),
            method: self.method(),
            want: self.options.want,
            raw,
        })
    }

    /// Reads by the method.
    fn read(&mut self, process: &Process) -> Result<Raw> {
        let Options { want, limit, .. } = self.options;
        let reuse = std::mem::take(&mut self.reuse);
        let method = self.method();
        let run = self.options.budget.clamp(LEAST_BUDGET, MOST_BUDGET);
        match &mut self.engine {
            Engine::Bpf(bpf) => bpf.scan(process, want, Bounds { run, scan: limit }, reuse),
            Engine::Counters => counters::scan(process),
            Engine::Plain if self.options.sum_alone && want > Want::Ranges => files::sum(process, &self.form),
            Engine::Boosted | Engine::Plain => files::scan(process, method, want, limit, &self.form, reuse),
        }
    }

    /// Puts into the report what a method does not say by itself.
    fn complete(&self, raw: &mut Raw, thread: Option<u32>) {
        let Some(mut report) = raw.report.take() else { return };
        report.thread = thread;
        if report.method == Method::Bpf {
            report.budget = Some(self.options.budget.clamp(LEAST_BUDGET, MOST_BUDGET));
        }
        left_out::find(raw, self.options.want, &self.form, &mut report);
        raw.report = Some(report);
    }

    /// Takes the memory of a scan back for the next one.
    pub fn reuse(&mut self, scan: Scan) {
        self.reuse = scan.raw;
    }
}

/// Why there is no method to be taken unasked.
fn nothing_better(passed_over: &[(Method, String)]) -> Error {
    let mut why = String::new();
    for (method, reason) in passed_over {
        why.push_str(&format!("not by {method}: {reason}; "));
    }
    Error::NotPossible(format!(
        "no method is possible that does not make the process wait: {why}what is left, --method plain (Method::Plain), reads the \
         kernel's files under their locks, and has to be asked for"
    ))
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("method", &self.method())
            .field("options", &self.options)
            .field("passed_over", &self.passed_over)
            .finish_non_exhaustive()
    }
}

impl Engine {
    fn start(method: Method, form: &Form) -> Result<Self> {
        match method {
            Method::Bpf => {
                let mut bpf = Bpf::load()?;
                self_test::run(&mut bpf, form)?;
                Ok(Self::Bpf(Box::new(bpf)))
            }
            Method::Counters => Ok(Self::Counters),
            Method::Boosted => Boost::check()
                .map(|()| Self::Boosted)
                .map_err(|e| Error::NotPossible(format!("real-time priority: {e}; it needs CAP_SYS_NICE"))),
            Method::Plain => Ok(Self::Plain),
        }
    }
}

/// A process's memory map.
#[derive(Debug)]
pub struct Scan {
    pid: u32,
    method: Method,
    want: Want,
    raw: Raw,
}

impl Scan {
    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its mappings, ascending; none by the method [`Counters`](Method::Counters), nor where the sum was read as such
    /// ([`Options::sum_alone`]).
    pub fn records(&self) -> impl Iterator<Item = ScanRecord<'_>> {
        self.raw.lines.iter().map(|line| line.record(&self.raw.names))
    }

    /// The sum of them, without `[vsyscall]`.
    #[must_use]
    pub fn rollup(&self) -> Rollup {
        if let Some(sum) = self.raw.sum {
            return sum;
        }
        let mapped = self.raw.lines.get(..self.raw.mapped).unwrap_or_default();
        let mut rollup = Rollup {
            start: mapped.first().map_or(0, |line| line.from),
            end: mapped.last().map_or(0, |line| line.end),
            mappings: mapped.len() as u64,
            ..Rollup::default()
        };
        for line in mapped {
            rollup.size += line.end - line.from;
            rollup.stats += &line.stats;
        }
        rollup
    }

    /// What the kernel has counted, by the method [`Counters`](Method::Counters).
    #[must_use]
    pub fn counters(&self) -> Option<&Counters> {
        self.raw.counters.as_ref()
    }

    /// What was held, and what the lines are worth.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.raw.report.as_ref()
    }

    /// Whether the method and what was wanted give this field of a mapping, or of the sum.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        let is_text = matches!(self.method, Method::Boosted | Method::Plain);
        match field.needs() {
            _ if self.method == Method::Counters => false,
            // The roll-up has sums alone.
            _ if self.raw.sum.is_some() => field.bytes(&MemSizeStats::default()).is_some(),
            // Smaps has them in the sum alone.
            _ if is_text && field.is_of_sum() => false,
            Want::Ranges if is_text && field != Field::Size => self.want > Want::Ranges,
            needs => self.want >= needs || is_text && self.want > Want::Ranges,
        }
    }
}
