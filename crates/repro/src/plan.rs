//! What to run: levels, files, samples; checked before anything starts.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::placement::Placement;
use crate::proc_file::ProcFile;
use crate::slice::Slice;

/// Time between the start of the scanners and that of the busy tasks, as in the talk's script.
pub const SETTLE_NS: u64 = 1_000_000_000;

/// How long after its time a run is given up as a hang and the interferers are killed, as in the talk's script.
pub const HANG_GRACE_NS: u64 = 5_000_000_000;

/// One kind of run: so many scanners of a file and busy tasks on each busy CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The file that is scanned; `None` at level 0, where nothing scans.
    pub file: Option<ProcFile>,
    /// Scanners, and also busy tasks, on each busy CPU.
    pub busy: u32,
}

/// A ready-made choice of levels, samples and duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// About a minute.
    Check,
    /// About ten minutes.
    Test,
    /// The talk's: 24 samples of 10 s at 0, 1, 10, 100 and 1000; about half an hour for each file.
    Talk,
}

/// Everything that decides what an experiment does, as it is saved with its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Files to scan, each a series of rows.
    pub files: Vec<ProcFile>,
    /// Levels: scanners, and also busy tasks, on each busy CPU; ascending, each once.
    pub busy: Vec<u32>,
    /// Runs of each level and file.
    pub samples: u32,
    /// Length of a run, in nanoseconds.
    pub duration_ns: u64,
    /// Seed of the mappers' random pages; sample `i` uses `seed + i`.
    pub seed: u64,
    /// Size of the mapper's region, in bytes.
    pub region_bytes: u64,
    /// Random operations before the scanners start, so that the region is many VMAs.
    pub fragment: u64,
    /// Whether the mapper's process has a thread that takes page faults (the talk's thread B).
    pub faults: bool,
    /// How the scanners are confined.
    pub slice: Slice,
    /// Spin time of a busy task between sleeps of 1 ms, in nanoseconds; `None` spins without sleep.
    pub busy_duration_ns: Option<u64>,
    /// Which CPU each role runs on.
    pub placement: Placement,
}

impl Plan {
    /// The plan of a preset.
    #[must_use]
    pub fn preset(preset: Preset, placement: Placement) -> Self {
        const S: u64 = 1_000_000_000;
        let (busy, samples, duration_ns) = match preset {
            Preset::Check => (vec![0, 1, 10], 3, 3 * S),
            Preset::Test => (vec![0, 1, 10, 100], 7, 10 * S),
            Preset::Talk => (vec![0, 1, 10, 100, 1000], 24, 10 * S),
        };
        Self {
            files: vec![ProcFile::Maps, ProcFile::None],
            busy,
            samples,
            duration_ns,
            seed: 1,
            region_bytes: 128 << 20,
            fragment: 0,
            faults: true,
            slice: Slice::Nice(15),
            busy_duration_ns: None,
            placement,
        }
    }

    /// Sorts the levels, drops what is given twice and checks every value.
    ///
    /// # Errors
    /// [`Error::Usage`] names the first value that is out of its range.
    pub fn checked(mut self) -> Result<Self> {
        self.busy.sort_unstable();
        self.busy.dedup();
        let mut seen = Vec::new();
        self.files.retain(|f| {
            !seen.contains(f) && {
                seen.push(*f);
                true
            }
        });
        let page = rustix::param::page_size() as u64;
        let max_map_count = crate::machine::read_number("/proc/sys/vm/max_map_count").unwrap_or(65530);
        let faults = [
            (self.busy.is_empty(), "--busy: no level given".to_owned()),
            (self.files.is_empty(), "--file: no file given".to_owned()),
            (self.busy.last() > Some(&10_000), "--busy: at most 10000".to_owned()),
            (
                !(1..=10_000).contains(&self.samples),
                format!("--samples {}: 1 to 10000", self.samples),
            ),
            (
                !(100_000_000..=3_600_000_000_000).contains(&self.duration_ns),
                "--duration: 100ms to 1h".to_owned(),
            ),
            (
                self.busy_duration_ns == Some(0) || self.busy_duration_ns > Some(60_000_000_000),
                "--busy-duration: more than 0, at most 60s".to_owned(),
            ),
            (
                self.region_bytes < 16 * page || !self.region_bytes.is_multiple_of(page),
                format!("--region: whole pages of {page} bytes, at least 16"),
            ),
            (
                self.region_bytes / page / 2 + 1_000 > max_map_count,
                format!(
                    "--region: {} pages can become {} mappings, but vm.max_map_count is {max_map_count}; take a smaller region or raise it",
                    self.region_bytes / page,
                    self.region_bytes / page / 2
                ),
            ),
            (self.fragment > 100_000_000, "--fragment: at most 100000000".to_owned()),
        ];
        match faults.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, text)) => Err(Error::Usage(text)),
            None => Ok(self),
        }
    }

    /// The kinds of run, in the order in which one sample of each is taken: files next to each other at each level.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        self.busy
            .iter()
            .flat_map(|&busy| match busy {
                0 => vec![Cell { file: None, busy }],
                _ => self.files.iter().map(|&file| Cell { file: Some(file), busy }).collect(),
            })
            .collect()
    }

    /// Processes that the cell needs besides the controller.
    #[must_use]
    pub fn processes(&self, cell: Cell) -> u64 {
        1 + 2 * u64::from(cell.busy) * self.placement.busy.len() as u64
    }

    /// Expected length of one run of `cell`, without hangs, in nanoseconds.
    #[must_use]
    pub fn run_ns(&self, cell: Cell) -> u64 {
        // Starting and reaping a process takes about 1.5 ms, here as everywhere an estimate for the ETA only.
        let settle = if cell.busy == 0 { 0 } else { SETTLE_NS };
        self.duration_ns + settle + 100_000_000 + self.processes(cell) * 1_500_000
    }

    /// Expected length of the whole experiment, without hangs, in nanoseconds.
    #[must_use]
    pub fn expected_ns(&self) -> u64 {
        let pass: u64 = self.cells().into_iter().map(|c| self.run_ns(c)).sum();
        pass * u64::from(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacementRequest;

    fn plan() -> Plan {
        Plan::preset(Preset::Check, PlacementRequest::default().place(&[0, 1]).unwrap())
    }

    #[test]
    fn files_of_one_level_are_run_next_to_each_other_and_level_0_once() {
        let plan = Plan {
            files: vec![ProcFile::Smaps, ProcFile::None, ProcFile::Smaps],
            busy: vec![10, 0, 1, 10],
            ..plan()
        };
        let cells = plan.checked().unwrap().cells();
        let got: Vec<_> = cells.iter().map(|c| (c.busy, c.file.map(ProcFile::name))).collect();
        assert_eq!(
            got,
            [
                (0, None),
                (1, Some("smaps")),
                (1, Some("none")),
                (10, Some("smaps")),
                (10, Some("none"))
            ]
        );
    }

    #[test]
    fn the_default_takes_about_a_minute() {
        let seconds = plan().expected_ns() / 1_000_000_000;
        assert!((40..=75).contains(&seconds), "{seconds}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let refused = |plan: Plan, name: &str| {
            let error = plan.checked().unwrap_err();
            assert!(
                matches!(&error, Error::Usage(text) if text.starts_with(name)),
                "{error}"
            );
        };
        refused(Plan { samples: 0, ..plan() }, "--samples");
        refused(
            Plan {
                duration_ns: 99_999_999,
                ..plan()
            },
            "--duration",
        );
        refused(
            Plan {
                duration_ns: u64::MAX,
                ..plan()
            },
            "--duration",
        );
        refused(Plan { busy: vec![], ..plan() }, "--busy");
        refused(
            Plan {
                busy: vec![10_001],
                ..plan()
            },
            "--busy",
        );
        refused(
            Plan {
                files: vec![],
                ..plan()
            },
            "--file",
        );
        refused(
            Plan {
                region_bytes: 0,
                ..plan()
            },
            "--region",
        );
        refused(
            Plan {
                region_bytes: (128 << 20) + 1,
                ..plan()
            },
            "--region",
        );
        refused(
            Plan {
                region_bytes: 1 << 46,
                ..plan()
            },
            "--region",
        );
        refused(
            Plan {
                busy_duration_ns: Some(0),
                ..plan()
            },
            "--busy-duration",
        );
        refused(
            Plan {
                fragment: u64::MAX,
                ..plan()
            },
            "--fragment",
        );
    }
}
