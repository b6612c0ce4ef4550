//! Scans processes: chooses the method, and completes its report.

use std::fmt;

use vmaple_smaps::Form;

use crate::bpf;
use crate::error::{Error, Result};
use crate::kernel::kernel_form;
use crate::left_out::{self, Rounded};
use crate::method::Method;
use crate::options::{Options, Sample};
use crate::proc::counters::CountersSource;
use crate::proc::files::Files;
use crate::process::state::{self, by_some_thread};
use crate::process::{Process, proc_mount};
use crate::record::Mappings;
use crate::scan::Scan;
use crate::source::{Content, Found, Source};
use crate::strings::Strings;
use crate::want::Want;

/// Scans processes, any number of them, one after the other.
///
/// ```
/// let mut scanner = vmaple_scan::Scanner::new()?;
/// for (method, why) in scanner.passed_over() {
///     eprintln!("not by {method}: {why}");
/// }
/// for pid in [std::process::id()] {
///     let scan = scanner.scan(pid)?;
///     for record in scan.records() {
///         let (vma, stats) = (record.mapping.vma, record.mapping.stats);
///         println!("{:x}-{:x} {} {}", vma.start, vma.end, vma.name, stats.rss);
///     }
///     eprintln!("{}", scan.report()); // what was held, for how long, what the lines are worth
///     assert!(scan.rollup().stats.rss > 0);
///     scanner.reuse(scan); // its memory, for the next one
/// }
/// # Ok::<(), vmaple_scan::Error>(())
/// ```
pub struct Scanner {
    options: Options,
    source: Box<dyn Source>,
    form: Form,
    passed_over: Vec<(Method, String)>,
    /// Memory that is used again.
    room: Mappings,
}

impl Scanner {
    /// Returns a scanner for all of smaps, by the best method that kernel and rights allow.
    ///
    /// It compares what it finds of a child process with what the kernel says, so it forks once.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn new() -> Result<Self> {
        Self::with(Options::default())
    }

    /// Returns a scanner with these options.
    ///
    /// Without a method it takes the best that is possible, but never [`Method::Plain`], which does
    /// to a process what this crate is there to avoid.
    ///
    /// # Errors
    /// [`Error::NotPossible`] if the requested method is unavailable here, or if /proc is of
    /// another PID namespace. Without a method: if none is possible but [`Method::Plain`]; the
    /// error says why, and how to ask for that.
    pub fn with(options: Options) -> Result<Self> {
        proc_mount::check()?;
        let form = kernel_form()?;
        let mut passed_over = vec![];
        let source = match options.method {
            Some(method) => start(method, &form, &options)?,
            None if options.want == Want::Counters => Box::new(CountersSource),
            None => {
                let found = [Method::Bpf, Method::Boosted].into_iter().find_map(|method| {
                    let why = match start(method, &form, &options) {
                        Ok(source) => return Some(source),
                        Err(why) => why,
                    };
                    passed_over.push((method, why.to_string()));
                    None
                });
                found.ok_or_else(|| nothing_better(&passed_over))?
            }
        };
        Ok(Self {
            options,
            form: source.form(form),
            source,
            passed_over,
            room: Mappings::default(),
        })
    }

    /// Returns the method by which it reads.
    #[must_use]
    pub fn method(&self) -> Method {
        self.source.method()
    }

    /// Returns the better methods that are not possible here, each with the reason.
    #[must_use]
    pub fn passed_over(&self) -> &[(Method, String)] {
        &self.passed_over
    }

    /// Returns the form of smaps on this kernel.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Reads the memory map of the process `pid`, of the caller's PID namespace.
    ///
    /// If the process's first thread has ended, another is read, which
    /// [`Report::thread`](crate::Report::thread) names: all threads have the same memory.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] if the caller may not read /proc/PID/maps, [`Error::NoProcess`] if
    /// there is no such process, [`Error::KernelThread`], [`Error::Exiting`] and
    /// [`Error::Zombie`] if it has no memory map, [`Error::Executed`] if it executed
    /// another program during the scan.
    pub fn scan(&mut self, pid: u32) -> Result<Scan> {
        match Process::open(pid) {
            Ok(process) => self.scan_process(&process),
            Err(Error::NoProcess(_)) => Err(state::why_gone(pid)),
            Err(error) => Err(error),
        }
    }

    /// Reads the memory map of a process that is held open.
    ///
    /// It is never that of another process that has its number later.
    ///
    /// # Errors
    /// As [`scan`](Self::scan). [`Error::NoProcess`] also if the process ended during the scan;
    /// what was read of it is discarded.
    pub fn scan_process(&mut self, process: &Process) -> Result<Scan> {
        let read = |process: &Process| {
            let room = std::mem::take(&mut self.room);
            self.source.scan(process, &self.options, room)
        };
        let (mut found, thread) = by_some_thread(process, read)?;
        found.report.thread = thread;
        self.complete(&mut found);
        Ok(Scan::new(process.pid(), found))
    }

    /// Reads the arguments of a process without a lock, as /proc/PID/cmdline shows them, whose
    /// readers take `mmap_lock`: also what setproctitle(3) has written over them.
    ///
    /// Returns `None` by any method but [`Method::Bpf`].
    ///
    /// # Errors
    /// As [`scan_process`](Self::scan_process).
    pub fn arguments(&mut self, process: &Process) -> Result<Option<Strings>> {
        self.source.arguments(process)
    }

    /// Reads the environment that a process was started with, without a lock, as
    /// /proc/PID/environ shows it, whose readers take `mmap_lock`.
    ///
    /// Returns `None` by any method but [`Method::Bpf`].
    ///
    /// # Errors
    /// As [`scan_process`](Self::scan_process).
    pub fn environment(&mut self, process: &Process) -> Result<Option<Strings>> {
        self.source.environment(process)
    }

    /// Puts what the mappings lack into the report.
    fn complete(&self, found: &mut Found) {
        let method = self.method();
        match &found.content {
            Content::Mappings(mappings) => {
                found.report.left_out = left_out::find(mappings, method, found.fields, &self.form);
                if method.reads_text() && found.fields.contains(vmaple_smaps::Field::Pss) {
                    found.report.rounded = Rounded::of(mappings.own_stats());
                }
            }
            Content::Sum(_) if method == Method::Bpf && found.fields.contains(vmaple_smaps::Field::Pss) => {
                let unknown = left_out::unknown(&self.form, 0).filter(|left_out| left_out.of_sum);
                found.report.left_out.extend(unknown);
            }
            Content::Sum(_) | Content::Counters(_) => {}
        }
    }

    /// Sets how many tables of pages the next scans count, instead of
    /// [`Options::sample`].
    pub fn set_sample(&mut self, sample: Sample) {
        self.options.sample = sample;
    }

    /// Takes the memory of a scan back for the next one.
    pub fn reuse(&mut self, scan: Scan) {
        self.room = scan.into_room();
    }
}

/// Starts a method.
fn start(method: Method, form: &Form, options: &Options) -> Result<Box<dyn Source>> {
    Ok(match method {
        Method::Counters => Box::new(CountersSource),
        Method::Bpf => Box::new(bpf::start(form, options.cache.as_deref(), options.ages)?),
        Method::Boosted => Box::new(Files::boosted(*form.letters())?),
        Method::Plain => Box::new(Files::plain(*form.letters())),
    })
}

/// Returns why there is no method to be taken unasked.
fn nothing_better(passed_over: &[(Method, String)]) -> Error {
    let mut why = String::new();
    for (method, reason) in passed_over {
        why.push_str(&format!("not by {method}: {reason}; "));
    }
    Error::NotPossible(format!(
        "no method is possible that does not make the process wait: {why}to read the kernel's files under their locks, ask for \
         it: --method plain (Method::Plain)"
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
