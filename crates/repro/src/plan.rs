//! What to run: levels, files, placement; checked before anything starts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Time between the start of the scanners and that of the busy tasks, as in the talk's script.
pub const SETTLE_NS: u64 = 1_000_000_000;

/// How long after its time a run is given up as a hang and the interferers are killed, as in the talk's script.
pub const HANG_GRACE_NS: u64 = 5_000_000_000;

/// Names that differ between the command line, the JSON and the kernel would mislead, so each enum has one spelling.
macro_rules! serde_by_name {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

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
    /// `/proc/PID/statm`, which takes no lock of the address space: the control that shows the noise floor.
    None,
}

impl ProcFile {
    /// Every variant, in the order in which help texts list them.
    pub const ALL: [Self; 7] = [
        Self::Maps,
        Self::Smaps,
        Self::SmapsRollup,
        Self::NumaMaps,
        Self::Pagemap,
        Self::ProcmapQuery,
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
            Self::None => "none",
        }
    }

    /// The file below `/proc/PID` that is opened.
    #[must_use]
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::ProcmapQuery => "maps",
            Self::None => "statm",
            other => other.name(),
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

serde_by_name!(ProcFile);

/// How the scanners are confined to the talk's "tiny slice of the machine".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Slice {
    /// A nice value; the talk's choice is 15.
    Nice(i32),
    /// A cgroup of this weight (cgroup v2's scale, 1 to 10000, where 100 is normal).
    Weight(u32),
    /// A cgroup that may use `quota_us` of CPU time in every `period_us`.
    Quota {
        /// CPU time a period, in microseconds.
        quota_us: u64,
        /// The period, in microseconds.
        period_us: u64,
    },
    /// A cpuset that holds the busy tasks' CPUs only; no other limit.
    Cpuset,
}

impl Slice {
    /// The nice value of a scanner in this slice.
    #[must_use]
    pub fn nice(self) -> i32 {
        match self {
            Self::Nice(n) => n,
            _ => 0,
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nice(n) => write!(f, "nice={n}"),
            Self::Weight(w) => write!(f, "weight={w}"),
            Self::Quota { quota_us, period_us } => {
                let ms = |us: u64| us as f64 / 1e3;
                write!(f, "quota={}ms/{}ms", ms(*quota_us), ms(*period_us))
            }
            Self::Cpuset => f.write_str("cpuset"),
        }
    }
}

impl FromStr for Slice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::Usage(format!(
                "slice '{text}': {why}; use nice=-20..19, weight=1..10000, quota=2ms/100ms or cpuset"
            ))
        };
        let in_range = |value: i64, low: i64, high: i64| {
            (low..=high)
                .contains(&value)
                .then_some(value)
                .ok_or_else(|| bad(format!("{value} is outside {low}..{high}")))
        };
        let number = |s: &str| s.parse::<i64>().map_err(|_| bad(format!("'{s}' is not a number")));
        let micros = |s: &str| {
            humantime::parse_duration(s)
                .map_err(|e| bad(format!("'{s}': {e}")))
                .and_then(|d| u64::try_from(d.as_micros()).map_err(|_| bad(format!("'{s}' is too long"))))
        };
        match text.split_once('=') {
            Some(("nice", n)) => Ok(Self::Nice(in_range(number(n)?, -20, 19)? as i32)),
            Some(("weight", w)) => Ok(Self::Weight(in_range(number(w)?, 1, 10_000)? as u32)),
            Some(("quota", q)) => {
                let (quota, period) = q
                    .split_once('/')
                    .ok_or_else(|| bad("a quota needs a period, as in 2ms/100ms".into()))?;
                let (quota_us, period_us) = (micros(quota)?, micros(period)?);
                // The kernel's own limits: kernel/sched/core.c, min_cfs_quota_period and max_cfs_quota_period.
                if quota_us < 1_000 || !(1_000..=1_000_000).contains(&period_us) {
                    return Err(bad("the quota must be at least 1ms, the period 1ms to 1s".into()));
                }
                Ok(Self::Quota { quota_us, period_us })
            }
            None if text == "cpuset" => Ok(Self::Cpuset),
            _ => Err(bad("unknown kind".into())),
        }
    }
}

serde_by_name!(Slice);

/// Which CPU each role runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The mapper's CPU, alone in the talk.
    pub mapper: usize,
    /// The CPU of the process that starts and stops all others.
    pub controller: usize,
    /// The CPUs of the scanners and busy tasks; each gets the level's number of both.
    pub busy: Vec<usize>,
}

/// What the user asked for of a [`Placement`]; `None` is left to [`PlacementRequest::place`].
#[derive(Clone, Copy, Debug)]
pub struct PlacementRequest {
    /// The mapper's CPU.
    pub mapper: Option<usize>,
    /// The controller's CPU.
    pub controller: Option<usize>,
    /// The first CPU of the busy tasks.
    pub first_busy: Option<usize>,
    /// How many CPUs get busy tasks and scanners.
    pub busy_cpus: usize,
}

impl Default for PlacementRequest {
    fn default() -> Self {
        Self {
            mapper: None,
            controller: None,
            first_busy: None,
            busy_cpus: 1,
        }
    }
}

impl PlacementRequest {
    /// Chooses among the CPUs `allowed` to this process (ascending): mapper and controller on the first, the rest on the last.
    ///
    /// # Errors
    /// [`Error::NotPossible`] with fewer than two CPUs; [`Error::Usage`] for a CPU that is not allowed, or for busy tasks on the mapper's CPU.
    pub fn place(&self, allowed: &[usize]) -> Result<Placement> {
        if allowed.len() < 2 {
            return Err(Error::NotPossible(format!(
                "this process may use {} CPU: the mapper needs one and the busy tasks another; widen the affinity (taskset, cpuset) or use a larger machine",
                allowed.len()
            )));
        }
        let check = |cpu: usize, option: &str| {
            allowed.contains(&cpu).then_some(cpu).ok_or_else(|| {
                Error::Usage(format!(
                    "{option} {cpu}: no such CPU here; this process may use {allowed:?}"
                ))
            })
        };
        let mapper = check(self.mapper.unwrap_or(allowed[0]), "--cpu-mapper")?;
        let controller = check(self.controller.unwrap_or(mapper), "--cpu-controller")?;
        if self.busy_cpus == 0 || self.busy_cpus >= allowed.len() {
            return Err(Error::Usage(format!(
                "--busy-cpus {}: of {} CPUs one is the mapper's, so 1 to {} can be busy",
                self.busy_cpus,
                allowed.len(),
                allowed.len() - 1
            )));
        }
        let first = match self.first_busy {
            Some(cpu) => {
                let cpu = check(cpu, "--cpu-busy")?;
                allowed.iter().position(|&c| c == cpu).unwrap_or_default()
            }
            // The last CPUs, but never the mapper's.
            None if allowed[allowed.len() - self.busy_cpus..].contains(&mapper) => 0,
            None => allowed.len() - self.busy_cpus,
        };
        let busy: Vec<usize> = allowed.iter().copied().skip(first).take(self.busy_cpus).collect();
        if busy.len() < self.busy_cpus {
            return Err(Error::Usage(format!(
                "--busy-cpus {}: only {} CPUs from --cpu-busy {} on",
                self.busy_cpus,
                busy.len(),
                allowed[first]
            )));
        }
        if busy.contains(&mapper) {
            return Err(Error::Usage(format!(
                "CPU {mapper} would run the mapper and the busy tasks: its calls would wait for the CPU, not for the lock; give --cpu-mapper or --cpu-busy another CPU"
            )));
        }
        Ok(Placement {
            mapper,
            controller,
            busy,
        })
    }
}

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

    fn request() -> PlacementRequest {
        PlacementRequest::default()
    }

    fn plan() -> Plan {
        Plan::preset(Preset::Check, request().place(&[0, 1]).unwrap())
    }

    #[test]
    fn mapper_and_controller_get_the_first_cpu_and_the_rest_the_last() {
        let place = request().place(&[2, 3, 5, 7]).unwrap();
        assert_eq!((place.mapper, place.controller, place.busy), (2, 2, vec![7]));
        let two = PlacementRequest {
            busy_cpus: 2,
            ..request()
        };
        assert_eq!(two.place(&[0, 1, 2, 3]).unwrap().busy, [2, 3]);
        let last = PlacementRequest {
            mapper: Some(3),
            ..request()
        };
        assert_eq!(last.place(&[0, 1, 2, 3]).unwrap().busy, [0]);
    }

    #[test]
    fn a_placement_that_could_show_nothing_is_refused() {
        assert!(matches!(request().place(&[0]), Err(Error::NotPossible(_))));
        let refused = |request: PlacementRequest| matches!(request.place(&[0, 1, 2]), Err(Error::Usage(_)));
        assert!(refused(PlacementRequest {
            mapper: Some(9),
            ..request()
        }));
        assert!(refused(PlacementRequest {
            controller: Some(9),
            ..request()
        }));
        assert!(refused(PlacementRequest {
            first_busy: Some(0),
            ..request()
        }));
        assert!(refused(PlacementRequest {
            first_busy: Some(2),
            busy_cpus: 2,
            ..request()
        }));
        assert!(refused(PlacementRequest {
            busy_cpus: 0,
            ..request()
        }));
        assert!(refused(PlacementRequest {
            busy_cpus: 3,
            ..request()
        }));
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

    #[test]
    fn slices_and_files_are_written_as_they_are_read() {
        for text in [
            "nice=15",
            "nice=-20",
            "weight=1",
            "quota=2ms/100ms",
            "quota=1.5ms/1000ms",
            "cpuset",
        ] {
            let slice: Slice = match text {
                "quota=1.5ms/1000ms" => "quota=1500us/1s",
                text => text,
            }
            .parse()
            .unwrap();
            assert_eq!(slice.to_string(), text);
        }
        for file in ProcFile::ALL {
            assert_eq!(file.name().parse::<ProcFile>().unwrap(), file);
        }
        for bad in [
            "",
            "nice",
            "nice=20",
            "nice=x",
            "weight=0",
            "quota=2ms",
            "quota=1us/1s",
            "quota=2ms/2s",
            "cpu",
        ] {
            assert!(bad.parse::<Slice>().is_err(), "{bad}");
        }
    }
}
