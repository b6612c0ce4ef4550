//! What the scanners read and how, by one name on the command line and in reports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::ProcFile;

/// What the scanners read of the mapper's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reading {
    /// A file, with read(2) or its ioctl, as any monitor reads it.
    Proc(ProcFile),
    /// What a file says, by the BPF scan of `vmaple-scan`, which takes no lock.
    Bpf(Listing),
    /// A file, one mapping a read(2), at real-time priority during each.
    Boosted(Listing),
    /// The control: `/proc/PID/statm`, which takes no lock of the address space and so shows the
    /// noise floor.
    Control,
}

/// A file that lists every mapping, and can be read in more ways than with read(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    /// `/proc/PID/maps`.
    Maps,
    /// `/proc/PID/smaps`.
    Smaps,
}

impl From<Listing> for ProcFile {
    fn from(listing: Listing) -> Self {
        match listing {
            Listing::Maps => Self::Maps,
            Listing::Smaps => Self::Smaps,
        }
    }
}

/// How a file of the kernel is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanner {
    /// With read(2), as any monitor.
    Proc,
    /// By the BPF scan of `vmaple-scan`.
    Bpf,
    /// With read(2), at real-time priority during each.
    Boosted,
}

impl Reading {
    /// `maps`, as any monitor reads it.
    pub const MAPS: Self = Self::Proc(ProcFile::Maps);
    /// `smaps`, the same way.
    pub const SMAPS: Self = Self::Proc(ProcFile::Smaps);
    /// `smaps_rollup`, the same way.
    pub const SMAPS_ROLLUP: Self = Self::Proc(ProcFile::SmapsRollup);
    /// The mapper's part of `pagemap`, the same way.
    pub const PAGEMAP: Self = Self::Proc(ProcFile::Pagemap);

    /// Every reading, in the order in which help texts list them.
    pub const ALL: [Self; 11] = [
        Self::MAPS,
        Self::SMAPS,
        Self::SMAPS_ROLLUP,
        Self::Proc(ProcFile::NumaMaps),
        Self::PAGEMAP,
        Self::Proc(ProcFile::ProcmapQuery),
        Self::Bpf(Listing::Maps),
        Self::Bpf(Listing::Smaps),
        Self::Boosted(Listing::Maps),
        Self::Boosted(Listing::Smaps),
        Self::Control,
    ];

    /// Returns the name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proc(file) => file.name(),
            Self::Bpf(Listing::Maps) => "maps-bpf",
            Self::Bpf(Listing::Smaps) => "smaps-bpf",
            Self::Boosted(Listing::Maps) => "maps-boosted",
            Self::Boosted(Listing::Smaps) => "smaps-boosted",
            Self::Control => "none",
        }
    }

    /// Returns the file that says the same; `None` for the control.
    #[must_use]
    pub fn content(self) -> Option<ProcFile> {
        match self {
            Self::Proc(file) => Some(file),
            Self::Bpf(listing) | Self::Boosted(listing) => Some(listing.into()),
            Self::Control => None,
        }
    }

    /// Returns how it is read.
    #[must_use]
    pub fn scanner(self) -> Scanner {
        match self {
            Self::Proc(_) | Self::Control => Scanner::Proc,
            Self::Bpf(_) => Scanner::Bpf,
            Self::Boosted(_) => Scanner::Boosted,
        }
    }

    /// Returns the same content, read by another scanner; `None` if that cannot read it.
    #[must_use]
    pub fn by(self, scanner: Scanner) -> Option<Self> {
        let same = |other: &Self| other.content() == self.content() && other.scanner() == scanner;
        Self::ALL.into_iter().find(same)
    }

    /// Returns the file below `/proc/PID` that is opened, or that says the same.
    #[must_use]
    pub fn proc_name(self) -> &'static str {
        self.content().map_or("statm", ProcFile::proc_name)
    }

    /// Says whether models can be read so. The control is the kernel's alone: it shows the noise of
    /// the machine.
    #[must_use]
    pub fn is_of_models(self) -> bool {
        matches!(self, Self::Proc(file) if file.is_of_models())
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Reading {
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

impl TryFrom<String> for Reading {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Reading> for String {
    fn from(value: Reading) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_as_they_are_read() {
        for reading in Reading::ALL {
            assert_eq!(reading.name().parse::<Reading>().unwrap(), reading);
        }
        assert!("smap".parse::<Reading>().is_err());
    }

    #[test]
    fn maps_and_smaps_can_be_read_by_each_scanner() {
        for file in [ProcFile::Maps, ProcFile::Smaps] {
            for scanner in [Scanner::Proc, Scanner::Bpf, Scanner::Boosted] {
                let by = Reading::Proc(file).by(scanner).unwrap();
                assert_eq!((by.content(), by.scanner()), (Some(file), scanner));
            }
        }
        assert_eq!(Reading::Proc(ProcFile::Pagemap).by(Scanner::Bpf), None);
    }
}
