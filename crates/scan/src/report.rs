//! What a scan held, and what its lines are worth.

use std::fmt;
use std::time::Duration;

use crate::method::Method;

/// What a scan held, and what its lines are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the process was read.
    pub method: Method,
    /// Mappings found.
    pub mappings: usize,
    /// Runs of the program, or reads.
    pub runs: u64,
    /// The longest of them. Where the kernel is not preemptible nothing else ran on this CPU meanwhile.
    pub longest_run: Duration,
    /// All of them together.
    pub in_runs: Duration,
    /// From the beginning to the end.
    pub elapsed: Duration,
    /// Attempts to read a leaf of the tree that were in vain, as a writer was inside.
    pub rejected: u64,
    /// Acquisitions of the process's `mmap_lock`, by design.
    pub mmap_lock: Acquisitions,
    /// How lines are validated.
    pub validation: Validation,
    /// Lines that are not known to be of one instant.
    pub unvalidated: usize,
    /// Mappings whose pages were counted while writers were inside.
    pub counted_later: usize,
    /// The number of the address space's state, if all lines are of one.
    pub snapshot: Option<u32>,
    /// Why the scan is not of the whole address space.
    pub partial: Option<Partial>,
}

/// How often a method takes `mmap_lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquisitions {
    /// Never: there is no such call in it.
    None,
    /// As the kernel's file does, which differs by version; `vmaple doctor` counts them.
    AsTheFile,
}

/// How this kernel lets lines be validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Why a scan ended before the end of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// The time that it may take was over; the lines are those below the address.
    OutOfTime(u64),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "method {}: held {}", self.method, self.method.held())?;
        if self.method == Method::Counters {
            return write!(f, " | {} | mmap_lock taken: {}", micros(self.elapsed), self.mmap_lock);
        }
        write!(f, " | {} mappings", self.mappings)?;
        match (self.snapshot, self.unvalidated) {
            (Some(seq), _) => write!(f, ", a snapshot (mm_lock_seq {seq})")?,
            (None, 0) => write!(f, ", each of one instant")?,
            (None, n) if n == self.mappings => write!(f, ", none validated")?,
            (None, n) => write!(f, ", {n} not validated")?,
        }
        write!(f, " ({})", self.validation)?;
        if self.counted_later > 0 {
            write!(
                f,
                ", {} with writers inside while pages were counted",
                self.counted_later
            )?;
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
        if self.method == Method::Bpf {
            write!(f, ", {} attempts rejected", self.rejected)?;
        }
        write!(f, " | mmap_lock taken: {}", self.mmap_lock)?;
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

/// As text that keeps its length: micro- or milliseconds.
fn micros(time: Duration) -> String {
    let ns = time.as_nanos();
    if ns < 1_000_000 {
        format!("{:.1} us", ns as f64 / 1e3)
    } else {
        format!("{:.2} ms", ns as f64 / 1e6)
    }
}
