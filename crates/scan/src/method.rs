//! How a process is read.

use std::fmt;
use std::str::FromStr;

/// How a process is read, from what holds nothing to what holds most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// What status and the cgroup's memory.stat answer, of the whole process.
    Counters,
    /// A BPF program walks the kernel's maple tree and page tables under RCU.
    Bpf,
    /// /proc/PID/smaps, one mapping a read, each at real-time priority: who is not preempted does not keep a lock meanwhile. A
    /// mapping of many gigabytes is one long read nevertheless, during which usual tasks of this CPU wait.
    Boosted,
    /// /proc/PID/smaps as it is, under the kernel's locks; never taken unasked.
    Plain,
}

impl Method {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Counters, Self::Bpf, Self::Boosted, Self::Plain];

    /// Whether it reads the text of maps or smaps.
    pub(crate) const fn reads_text(self) -> bool {
        matches!(self, Self::Boosted | Self::Plain)
    }

    /// Its name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Bpf => "bpf",
            Self::Boosted => "boosted",
            Self::Plain => "plain",
        }
    }

    /// What is held while the process is read.
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

/// A name that is no method's.
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
