//! The ways of reading a process.

use std::fmt;
use std::str::FromStr;

/// A way of reading a process. They are in order, from what holds nothing to what holds most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Reads status and the cgroup's memory.stat: numbers of the whole process.
    Counters,
    /// Runs a BPF program that walks the kernel's maple tree and page tables under RCU.
    Bpf,
    /// Reads /proc/PID/smaps, one mapping a read, each at real-time priority.
    ///
    /// A reader that is not preempted does not keep the kernel's lock while others run. A mapping
    /// of many gigabytes is one long read nevertheless, during which usual tasks of this CPU
    /// wait.
    Boosted,
    /// Reads /proc/PID/smaps as it is, under the kernel's locks. It is never taken unless it is
    /// asked for.
    Plain,
}

impl Method {
    /// All methods.
    pub const ALL: &[Self] = &[Self::Counters, Self::Bpf, Self::Boosted, Self::Plain];

    /// Returns whether it reads the text of maps or smaps.
    pub(crate) const fn reads_text(self) -> bool {
        matches!(self, Self::Boosted | Self::Plain)
    }

    /// Returns its name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Bpf => "bpf",
            Self::Boosted => "boosted",
            Self::Plain => "plain",
        }
    }

    /// Describes what is held while the process is read.
    #[must_use]
    pub fn held(self) -> &'static str {
        match self {
            Self::Counters => "no lock of the process's memory",
            Self::Bpf => "RCU alone, no lock of the process",
            Self::Boosted => "the kernel's locks for one mapping at a time, at real-time priority",
            Self::Plain => "the kernel's locks, and while the reader is kept from its CPU the process waits",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error of a name that no method has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchMethod(String);

impl fmt::Display for NoSuchMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Method::ALL.iter().map(|method| method.name()).collect();
        write!(f, "{} is no method: {}", self.0, names.join(", "))
    }
}

impl std::error::Error for NoSuchMethod {}

impl FromStr for Method {
    type Err = NoSuchMethod;

    fn from_str(name: &str) -> Result<Self, NoSuchMethod> {
        let found = Self::ALL.iter().find(|method| method.name() == name);
        found.copied().ok_or_else(|| NoSuchMethod(name.to_owned()))
    }
}
