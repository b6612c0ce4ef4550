//! The files of `/proc/PID` that describe a memory map.

use std::fmt;

/// A file of `/proc/PID`, or an ioctl of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcFile {
    /// `/proc/PID/maps`.
    Maps,
    /// `/proc/PID/smaps`.
    Smaps,
    /// `/proc/PID/smaps_rollup`.
    SmapsRollup,
    /// `/proc/PID/numa_maps`.
    NumaMaps,
    /// The part of `/proc/PID/pagemap` that describes the mapper's region (the whole file has no
    /// practical end).
    Pagemap,
    /// All VMAs by the `PROCMAP_QUERY` ioctl of `/proc/PID/maps` (Linux 6.11 and later).
    ProcmapQuery,
}

impl ProcFile {
    /// Every variant, in the order in which help texts list them.
    pub const ALL: [Self; 6] = [
        Self::Maps,
        Self::Smaps,
        Self::SmapsRollup,
        Self::NumaMaps,
        Self::Pagemap,
        Self::ProcmapQuery,
    ];

    /// Returns the name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Maps => "maps",
            Self::Smaps => "smaps",
            Self::SmapsRollup => "smaps_rollup",
            Self::NumaMaps => "numa_maps",
            Self::Pagemap => "pagemap",
            Self::ProcmapQuery => "procmap-query",
        }
    }

    /// Returns the file below `/proc/PID` that is opened.
    #[must_use]
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::ProcmapQuery => "maps",
            file => file.name(),
        }
    }

    /// Says whether the models have it.
    #[must_use]
    pub fn is_of_models(self) -> bool {
        matches!(self, Self::Maps | Self::Smaps | Self::SmapsRollup | Self::Pagemap)
    }
}

impl fmt::Display for ProcFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
