//! What to run: targets, levels, files, samples; checked before anything starts.

use serde::{Deserialize, Serialize};

use super::{Placement, Reading, Scanner, Slice, Target};

/// Time between the start of the scanners and that of the busy tasks, as in the talk's script.
pub const SETTLE_NS: u64 = 1_000_000_000;

/// How long after its time a run counts as hung and the interferers are killed, as in the talk's
/// script.
pub const HANG_GRACE_NS: u64 = 5_000_000_000;

/// One kind of run: a target, what is read of it, and how many scanners and busy tasks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Whose address space.
    pub target: Target,
    /// What is scanned; `None` at level 0, where nothing scans.
    pub file: Option<Reading>,
    /// Scanners, and also busy tasks, on each busy CPU.
    pub busy: u32,
}

/// A ready-made choice of levels, samples and duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// About a minute.
    Check,
    /// About half an hour.
    Test,
    /// The talk's: 24 samples of 10 s at 0, 1, 10, 100 and 1000. About half an hour for each file
    /// of the kernel, and 20 minutes for each of a model.
    Talk,
}

/// Everything that decides what an experiment does, as it is saved with its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose address spaces are mapped and scanned.
    #[serde(default = "kernel_alone")]
    pub targets: Vec<Target>,
    /// What to scan; each that a target has is a series of rows.
    pub files: Vec<Reading>,
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
    /// Whether each scanner stops in the middle of its first read and stays there for the whole
    /// run.
    #[serde(default)]
    pub freeze: bool,
    /// Which CPU each role runs on.
    pub placement: Placement,
}

/// Returns the targets of a plan that was saved before there were models.
fn kernel_alone() -> Vec<Target> {
    vec![Target::Kernel]
}

impl Plan {
    /// Returns the plan of a preset.
    #[must_use]
    pub fn preset(preset: Preset, placement: Placement) -> Self {
        const S: u64 = 1_000_000_000;
        let (busy, samples, duration_ns) = match preset {
            Preset::Check => (vec![0, 1, 10], 3, 7 * S / 10),
            Preset::Test => (vec![0, 1, 10, 100], 7, 10 * S),
            Preset::Talk => (vec![0, 1, 10, 100, 1000], 24, 10 * S),
        };
        Self {
            targets: Target::ALL.to_vec(),
            files: vec![Reading::MAPS, Reading::Control],
            busy,
            samples,
            duration_ns,
            seed: 1,
            region_bytes: 128 << 20,
            fragment: 0,
            faults: true,
            slice: Slice::Nice(15),
            busy_duration_ns: None,
            freeze: false,
            placement,
        }
    }

    /// Returns the series of rows: each target with each reading.
    ///
    /// A model is read with read(2) alone. The control is the kernel's alone: it shows the noise of
    /// the machine under the same load, which is the same for all.
    #[must_use]
    pub fn series(&self) -> Vec<(Target, Reading)> {
        let with_files = |&target: &Target| self.files.iter().map(move |&file| (target, file));
        let mut series: Vec<_> = self.targets.iter().flat_map(with_files).collect();
        series.retain(|&(target, file)| !target.is_model() || file.is_of_models());
        series
    }

    /// Returns the kinds of run, in the order in which one sample of each is taken.
    ///
    /// At each level the series are next to each other; at level 0 each target is run once.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        let at = |busy: u32, target: Target, file: Option<Reading>| Cell { target, file, busy };
        self.busy
            .iter()
            .flat_map(|&busy| match busy {
                0 => self.targets.iter().map(|&target| at(0, target, None)).collect(),
                _ => self
                    .series()
                    .into_iter()
                    .map(|(target, file)| at(busy, target, Some(file)))
                    .collect::<Vec<_>>(),
            })
            .collect()
    }

    /// Returns the number of a cell among the kinds of run of its level, from 1, and how many kinds
    /// there are.
    #[must_use]
    pub fn number_of(&self, cell: Cell) -> (usize, usize) {
        let cells = self.cells();
        let level = || cells.iter().filter(|other| other.busy == cell.busy);
        let before = level().take_while(|&&other| other != cell).count();
        (before + 1, level().count())
    }

    /// Returns how many processes (threads, of a model) the cell needs besides the controller.
    #[must_use]
    pub fn tasks(&self, cell: Cell) -> u64 {
        1 + 2 * u64::from(cell.busy) * self.placement.busy.len() as u64
    }

    /// Returns the pages of the mapper's region.
    #[must_use]
    pub fn region_pages(&self) -> u64 {
        self.region_bytes / rustix::param::page_size() as u64
    }

    /// Estimates the length of one run of `cell`, without hangs, in nanoseconds.
    #[must_use]
    pub fn run_ns(&self, cell: Cell) -> u64 {
        // Starting and reaping a process takes about 1.5 ms, a thread 0.1 ms, the warm-up of a
        // model 5 us for each page, loading a scanner's BPF program 150 ms. These serve the ETA
        // only.
        let (start_ns, page_ns) = if cell.target.is_model() {
            (100_000, 5_000)
        } else if cell.file.is_some_and(|file| file.scanner() == Scanner::Bpf) {
            (75_000_000, 0)
        } else {
            (1_500_000, 0)
        };
        let settle = if cell.busy == 0 { 0 } else { SETTLE_NS };
        let set_up = 100_000_000 + self.tasks(cell) * start_ns + self.region_pages() * page_ns;
        self.duration_ns + settle + set_up
    }

    /// Estimates the length of the whole experiment, without hangs, in nanoseconds.
    #[must_use]
    pub fn expected_ns(&self) -> u64 {
        let pass: u64 = self.cells().into_iter().map(|c| self.run_ns(c)).sum();
        pass * u64::from(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlacementRequest;

    fn plan() -> Plan {
        Plan::preset(Preset::Check, PlacementRequest::default().place(&[0, 1]).unwrap())
    }

    fn cells_of(plan: Plan) -> Vec<(u32, &'static str, Option<&'static str>)> {
        let cells = plan.checked().unwrap().cells();
        let parts = |c: &Cell| (c.busy, c.target.name(), c.file.map(Reading::name));
        cells.iter().map(parts).collect()
    }

    #[test]
    fn files_of_one_level_are_run_next_to_each_other_and_level_0_once() {
        let plan = Plan {
            targets: vec![Target::Kernel],
            files: vec![Reading::SMAPS, Reading::Control, Reading::SMAPS],
            busy: vec![10, 0, 1, 10],
            ..plan()
        };
        assert_eq!(
            cells_of(plan),
            [
                (0, "kernel", None),
                (1, "kernel", Some("smaps")),
                (1, "kernel", Some("none")),
                (10, "kernel", Some("smaps")),
                (10, "kernel", Some("none"))
            ]
        );
    }

    #[test]
    fn targets_are_run_next_to_each_other_and_each_once_at_level_0() {
        let plan = Plan {
            targets: vec![Target::Maple, Target::Kernel, Target::Maple],
            busy: vec![0, 1],
            ..plan()
        };
        assert_eq!(
            cells_of(plan),
            [
                (0, "maple", None),
                (0, "kernel", None),
                (1, "maple", Some("maps")),
                (1, "kernel", Some("maps")),
                (1, "kernel", Some("none"))
            ]
        );
    }

    #[test]
    fn cells_are_numbered_within_their_level() {
        let plan = Plan {
            targets: vec![Target::Maple, Target::Kernel],
            ..plan()
        };
        let numbers: Vec<_> = plan.cells().into_iter().map(|cell| plan.number_of(cell)).collect();
        // Level 0 of both targets; at 1 and at 10 maps of both, and the control.
        assert_eq!(
            numbers,
            [(1, 2), (2, 2), (1, 3), (2, 3), (3, 3), (1, 3), (2, 3), (3, 3)]
        );
    }

    #[test]
    fn the_default_takes_about_a_minute() {
        let seconds = plan().expected_ns() / 1_000_000_000;
        assert!((40..=75).contains(&seconds), "{seconds}");
    }
}
