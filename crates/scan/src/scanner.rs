//! Scanning processes: the method, and what comes out.

use std::time::Duration;

use crate::boost::Boost;
use crate::bpf::{Bounds, Bpf};
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::form::{Field, Form};
use crate::method::Method;
use crate::process::Process;
use crate::record::{Line, Rollup, ScanRecord};
use crate::report::Report;
use crate::{counters, files, self_test};

/// How much of a process is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// What the kernel has counted anyway, of the whole process.
    Counters,
    /// Mappings, as maps has them.
    Ranges,
    /// And what page tables say of each: resident, huge and swapped pages.
    Tables,
    /// And what is known of each page: all of smaps.
    Pages,
}

/// What a scanner is to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The method; nothing for the best that kernel and rights allow.
    pub method: Option<Method>,
    /// How much is wanted.
    pub want: Want,
    /// The longest that one run of the program may take, during which nothing else runs on this CPU if the kernel is not
    /// preemptible: from 10 us to 10 ms, less or more is taken as these.
    pub budget: Duration,
    /// The longest that a scan may take; what was found until then is a partial result.
    pub limit: Duration,
}

const LEAST_BUDGET: Duration = Duration::from_micros(10);
pub(crate) const MOST_BUDGET: Duration = Duration::from_millis(10);

impl Default for Options {
    fn default() -> Self {
        Self {
            method: None,
            want: Want::Pages,
            budget: Duration::from_micros(200),
            limit: Duration::from_secs(10),
        }
    }
}

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
    /// [`Error::NotPossible`] if the method that is asked for is not to be had here. Without one there is always one:
    /// [`passed_over`](Self::passed_over) says what is better and why it is not to be had.
    pub fn with(options: Options) -> Result<Self> {
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
                found.unwrap_or(Engine::Plain)
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

    /// The better methods that are not to be had here, each with the reason.
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
    /// # Errors
    /// [`Error::NotPermitted`] if the caller may not read /proc/PID/maps, [`Error::NoProcess`] if there is no such process or it
    /// has no memory map, [`Error::Executed`] if it executed another program meanwhile.
    pub fn scan(&mut self, pid: u32) -> Result<Scan> {
        self.scan_process(&Process::open(pid)?)
    }

    /// Reads the memory map of a process that is held open: never of another process that has its number after it.
    ///
    /// # Errors
    /// As [`scan`](Self::scan). [`Error::NoProcess`] also if the process ended during the scan; what was read of it is discarded.
    pub fn scan_process(&mut self, process: &Process) -> Result<Scan> {
        let Options {
            want, budget, limit, ..
        } = self.options;
        let reuse = std::mem::take(&mut self.reuse);
        let method = self.method();
        let raw = match &mut self.engine {
            Engine::Bpf(bpf) => {
                let bounds = Bounds {
                    run: budget.clamp(LEAST_BUDGET, MOST_BUDGET),
                    scan: limit,
                };
                bpf.scan(process, want, bounds, reuse)
            }
            Engine::Counters => counters::scan(process),
            Engine::Boosted | Engine::Plain => files::scan(process, method, want, limit, &self.form, reuse),
        }?;
        Ok(Scan {
            pid: process.pid(),
            method,
            want,
            raw,
        })
    }

    /// Takes the memory of a scan back for the next one.
    pub fn reuse(&mut self, scan: Scan) {
        self.reuse = scan.raw;
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

    /// Its mappings, ascending; none by the method [`Counters`](Method::Counters).
    pub fn records(&self) -> impl Iterator<Item = ScanRecord<'_>> {
        self.raw.lines.iter().map(|line| line.record(&self.raw.names))
    }

    /// The sum of them, without `[vsyscall]`.
    #[must_use]
    pub fn rollup(&self) -> Rollup {
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
            // Smaps has them in the sum alone.
            _ if is_text && field.is_of_sum() => false,
            Want::Ranges if is_text && field != Field::Size => self.want > Want::Ranges,
            needs => self.want >= needs || is_text && self.want > Want::Ranges,
        }
    }
}
