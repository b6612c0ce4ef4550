//! What is read of a process: the files of /proc/PID, by one name on the command line and in reports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the scanners read of the mapper's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ProcFile {
    /// `/proc/PID/maps`.
    Maps,
    /// `/proc/PID/smaps`.
    Smaps,
    /// `/proc/PID/smaps_rollup`.
    SmapsRollup,
    /// `/proc/PID/numa_maps`.
    NumaMaps,
    /// The part of `/proc/PID/pagemap` that describes the mapper's region (the whole file has no practical end).
    Pagemap,
    /// All VMAs by the `PROCMAP_QUERY` ioctl of `/proc/PID/maps` (Linux 6.11 and later).
    ProcmapQuery,
    /// What `/proc/PID/maps` says, by the BPF scan of `vmaple-scan`, which takes no lock.
    MapsByBpf,
    /// What `/proc/PID/smaps` says, by the same.
    SmapsByBpf,
    /// `/proc/PID/maps`, each read of one mapping at real-time priority.
    MapsBoosted,
    /// `/proc/PID/smaps`, the same way.
    SmapsBoosted,
    /// `/proc/PID/statm`, which takes no lock of the address space: the control that shows the noise floor.
    None,
}

/// How the scanners read a file of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanner {
    /// With read(2), as any monitor.
    Proc,
    /// By the BPF scan of `vmaple-scan`.
    Bpf,
    /// With read(2), at real-time priority while it lasts.
    Boosted,
}

impl ProcFile {
    /// Every variant, in the order in which help texts list them.
    pub const ALL: [Self; 11] = [
        Self::Maps,
        Self::Smaps,
        Self::SmapsRollup,
        Self::NumaMaps,
        Self::Pagemap,
        Self::ProcmapQuery,
        Self::MapsByBpf,
        Self::SmapsByBpf,
        Self::MapsBoosted,
        Self::SmapsBoosted,
        Self::None,
    ];

    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Smaps => "smaps",
            Self::SmapsRollup => "smaps_rollup",
            Self::NumaMaps => "numa_maps",
            Self::Pagemap => "pagemap",
            Self::ProcmapQuery => "procmap-query",
            Self::MapsByBpf => "maps-bpf",
            Self::SmapsByBpf => "smaps-bpf",
            Self::MapsBoosted => "maps-boosted",
            Self::SmapsBoosted => "smaps-boosted",
            Self::None => "none",
        }
    }

    /// Whether models have it. The control is the kernel's alone: it shows the noise of the machine.
    #[must_use]
    pub fn is_of_models(self) -> bool {
        matches!(self, Self::Maps | Self::Smaps | Self::SmapsRollup | Self::Pagemap)
    }

    /// The file that says the same.
    #[must_use]
    pub fn content(self) -> Self {
        match self {
            Self::MapsByBpf | Self::MapsBoosted => Self::Maps,
            Self::SmapsByBpf | Self::SmapsBoosted => Self::Smaps,
            file => file,
        }
    }

    /// How it is read.
    #[must_use]
    pub fn scanner(self) -> Scanner {
        match self {
            Self::MapsByBpf | Self::SmapsByBpf => Scanner::Bpf,
            Self::MapsBoosted | Self::SmapsBoosted => Scanner::Boosted,
            _ => Scanner::Proc,
        }
    }

    /// The same content, read by another scanner; nothing if that cannot read it.
    #[must_use]
    pub fn by(self, scanner: Scanner) -> Option<Self> {
        let same = |file: &Self| file.content() == self.content() && file.scanner() == scanner;
        Self::ALL.into_iter().find(same)
    }

    /// The file below `/proc/PID` that is opened.
    #[must_use]
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::ProcmapQuery => "maps",
            Self::None => "statm",
            file => file.content().name(),
        }
    }
}

impl fmt::Display for ProcFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ProcFile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Usage(format!("unknown file '{text}': use one of {names}"))
        })
    }
}

impl FromStr for Scanner {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "proc" => Ok(Self::Proc),
            "bpf" => Ok(Self::Bpf),
            "boosted" => Ok(Self::Boosted),
            _ => Err(Error::Usage(format!(
                "unknown scanner '{text}': use one of proc, bpf, boosted"
            ))),
        }
    }
}

impl TryFrom<String> for ProcFile {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ProcFile> for String {
    fn from(value: ProcFile) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_as_they_are_read() {
        for file in ProcFile::ALL {
            assert_eq!(file.name().parse::<ProcFile>().unwrap(), file);
        }
        assert!("smap".parse::<ProcFile>().is_err());
    }

    #[test]
    fn maps_and_smaps_can_be_read_by_each_scanner() {
        for file in [ProcFile::Maps, ProcFile::Smaps] {
            for scanner in [Scanner::Proc, Scanner::Bpf, Scanner::Boosted] {
                let by = file.by(scanner).unwrap();
                assert_eq!((by.content(), by.scanner()), (file, scanner));
            }
        }
        assert_eq!(ProcFile::Pagemap.by(Scanner::Bpf), None);
    }
}
