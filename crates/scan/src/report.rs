//! What a scan held, and what its lines are worth.

use std::fmt;
use std::time::Duration;

use vmaple_smaps::Field;

use crate::left_out::{LeftOut, Rounded};
use crate::method::Method;

/// What a scan held, and what its lines are worth.
///
/// Whatever is left out, rounded, cut or not validated stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The method by which the process was read.
    pub method: Method,
    /// The thread that was read, where the process's first thread has ended and others run.
    pub thread: Option<u32>,
    /// Number of mappings found; `None` where sums alone were read.
    pub mappings: Option<usize>,
    /// Number of runs of the program, or of reads.
    pub runs: u64,
    /// The time after which a run of the program stops by itself. The other methods have none.
    ///
    /// The program looks at the clock after every leaf, table of pages and name, and what
    /// interrupts it counts. A run may take longer, as [`longest_run`](Self::longest_run) then
    /// says.
    pub budget: Option<Duration>,
    /// The longest of the runs. Where the kernel is not preemptible nothing else ran on this CPU
    /// during it.
    pub longest_run: Duration,
    /// All runs together.
    pub in_runs: Duration,
    /// The time from the beginning to the end of the scan.
    pub elapsed: Duration,
    /// Attempts to read a leaf of the tree that failed because a writer was inside. It is `None`
    /// where the method reads no tree.
    pub rejected: Option<u64>,
    /// Acquisitions of the process's `mmap_lock`, by design.
    pub mmap_lock: Acquisitions,
    /// How lines are validated.
    pub validation: Validation,
    /// Lines that are not known to be of one instant; `None` where sums alone were read.
    pub unvalidated: Option<usize>,
    /// Mappings whose pages were counted while writers were inside; `None` where sums alone were
    /// read.
    pub counted_later: Option<usize>,
    /// Mappings whose name is not whole, and begins with `(cut)`; `None` where sums alone were
    /// read.
    pub cut_names: Option<usize>,
    /// Lines of the kernel's file that the scan lacks, of some mappings or of all.
    pub left_out: Vec<LeftOut>,
    /// The effect of rounding, where sums are of values that the kernel has rounded down.
    pub rounded: Option<Rounded>,
    /// How the sums were estimated, if only some tables of pages were counted.
    pub sampled: Option<Sampled>,
    /// The number of the address space's state, if all lines are of one.
    pub snapshot: Option<u32>,
    /// Why the scan is not of the whole address space.
    pub partial: Option<Partial>,
}

/// How sums were estimated from some tables of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sampled {
    /// The number of tables from which some were drawn.
    pub tables: u64,
    /// How many of them were counted.
    pub counted: u64,
    /// The CPU time of the scan.
    pub cpu: Duration,
    /// The margins of the estimated fields. Those that are not listed are exact.
    pub margins: Vec<Margin>,
}

/// What an estimated sum may be too high or too low by, with a probability of 95 %.
///
/// Of independent scans, the margins by chance add up as the root of the sum of their squares. What
/// may be missed adds up as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Margin {
    /// The field.
    pub field: Field,
    /// By the chance of the draw, in bytes.
    pub by_chance: u64,
    /// By what the draw shows to be missed, in bytes.
    pub missed: u64,
}

impl Margin {
    /// Returns the whole margin, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.by_chance + self.missed
    }
}

impl Sampled {
    /// Returns the margin of a field; `None` for one that is exact.
    #[must_use]
    pub fn margin(&self, field: Field) -> Option<&Margin> {
        self.margins.iter().find(|margin| margin.field == field)
    }
}

/// The number of times that a method takes `mmap_lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquisitions {
    /// Never: there is no such call in it.
    None,
    /// As often as the kernel's file does, which differs by version; `vmaple doctor` counts them.
    AsTheFile,
}

/// The way in which this kernel lets lines be validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// By the number of the address space's state (`mm_lock_seq`), before and after.
    Seqcount,
    /// By whether a writer is inside, and the number of finished writes.
    Counter,
    /// By structure alone.
    Structure,
    /// By the kernel itself, which writes the text.
    Kernel,
}

/// The reason why a scan ended before the end of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Partial {
    /// The time limit was reached; the lines are those below this address.
    OutOfTime(u64),
}

impl Report {
    /// Returns the report of one read of the kernel's text, of which nothing more is known.
    pub(crate) fn of_one_read(method: Method, elapsed: Duration) -> Self {
        Self {
            method,
            thread: None,
            mappings: None,
            runs: 1,
            budget: None,
            longest_run: elapsed,
            in_runs: elapsed,
            elapsed,
            rejected: None,
            mmap_lock: match method {
                Method::Counters | Method::Bpf => Acquisitions::None,
                Method::Boosted | Method::Plain => Acquisitions::AsTheFile,
            },
            validation: Validation::Kernel,
            unvalidated: None,
            counted_later: None,
            cut_names: None,
            left_out: vec![],
            rounded: None,
            sampled: None,
            snapshot: None,
            partial: None,
        }
    }
}

impl Acquisitions {
    /// Returns how many; `None` where the kernel's file decides.
    #[must_use]
    pub fn count(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::AsTheFile => None,
        }
    }
}

impl Validation {
    /// Returns a word for it, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seqcount => "seqcount",
            Self::Counter => "counter",
            Self::Structure => "structure",
            Self::Kernel => "kernel",
        }
    }
}

impl Partial {
    /// Returns a word for it, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OutOfTime(_) => "out-of-time",
        }
    }

    /// Returns the address below which the scan is whole.
    #[must_use]
    pub fn below(self) -> u64 {
        match self {
            Self::OutOfTime(below) => below,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "method {}: held {}", self.method, self.method.held())?;
        if self.method == Method::Counters {
            write!(
                f,
                ", whose counters may lag by some hundred kB | {}",
                micros(self.elapsed)
            )?;
            write!(f, " | mmap_lock taken: {}", self.mmap_lock)?;
            return self.write_limits(f);
        }
        match self.mappings {
            None => f.write_str(" | the sum alone")?,
            Some(n) => write!(f, " | {n} mappings")?,
        }
        match (self.snapshot, self.unvalidated.unwrap_or(0)) {
            (Some(seq), _) => write!(f, ", a snapshot (mm_lock_seq {seq})")?,
            (None, 0) => write!(f, ", each of one instant")?,
            (None, n) if Some(n) == self.mappings => write!(f, ", none validated")?,
            (None, n) => write!(f, ", {n} not validated")?,
        }
        write!(f, " ({})", self.validation)?;
        if let Some(n @ 1..) = self.counted_later {
            write!(f, ", {n} with writers inside while pages were counted")?;
        }
        let run = if self.method == Method::Bpf { "run" } else { "read" };
        let plural = if self.runs == 1 { "" } else { "s" };
        write!(
            f,
            " | {} {run}{plural}, longest {}, together {}, in {}",
            self.runs,
            micros(self.longest_run),
            micros(self.in_runs),
            micros(self.elapsed)
        )?;
        if let Some(budget) = self.budget.filter(|&budget| budget < self.longest_run) {
            write!(f, ", over the budget of {}", micros(budget))?;
        }
        if let Some(rejected) = self.rejected {
            write!(f, ", {rejected} attempts rejected")?;
        }
        write!(f, " | mmap_lock taken: {}", self.mmap_lock)?;
        self.write_limits(f)
    }
}

impl Report {
    /// Writes in which ways the result is not whole, each with a heading in capitals.
    fn write_limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(thread) = self.thread {
            write!(f, " | BY THREAD {thread}: the first thread has ended")?;
        }
        match self.cut_names {
            None | Some(0) => {}
            Some(1) => write!(f, " | CUT: 1 name, which begins with (cut)")?,
            Some(n) => write!(f, " | CUT: {n} names, which begin with (cut)")?,
        }
        for (i, alike) in self.left_out.chunk_by(LeftOut::is_like).enumerate() {
            f.write_str(if i == 0 { " | LEFT OUT: " } else { "; " })?;
            if let [others @ .., last] = alike {
                for left_out in others {
                    write!(f, "{}, ", left_out.line)?;
                }
                write!(f, "{last}")?;
            }
        }
        if let Some(Sampled { tables, counted, .. }) = self.sampled {
            write!(f, " | SAMPLED: {counted} of {tables} tables of pages")?;
        }
        if let Some(rounded) = self.rounded {
            write!(f, " | ROUNDED: {rounded}")?;
        }
        match self.partial {
            None => Ok(()),
            Some(partial) => write!(f, " | PARTIAL: {partial}"),
        }
    }
}

impl fmt::Display for Acquisitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "0 times, by design",
            Self::AsTheFile => "as this kernel's file does (see vmaple doctor)",
        })
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seqcount => "validated by mm_lock_seq",
            Self::Counter => "validated by mm_lock_seq and the lock's state",
            Self::Structure => "this kernel has no number to validate by",
            Self::Kernel => "written by the kernel",
        })
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfTime(below) => write!(f, "out of time; below {below:#x} alone"),
        }
    }
}

/// Formats a time in micro- or milliseconds, with one or two decimals.
fn micros(time: Duration) -> String {
    let ns = time.as_nanos();
    if ns < 1_000_000 {
        format!("{:.1} us", ns as f64 / 1e3)
    } else {
        format!("{:.2} ms", ns as f64 / 1e6)
    }
}
