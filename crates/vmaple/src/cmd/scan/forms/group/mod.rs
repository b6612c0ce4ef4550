//! Groups of processes, and the sums of their memory.

mod key;
mod table;
mod text;

use std::collections::HashMap;

use vmaple_scan::{Field, Report, Scan};

use crate::cli::{GroupBy, ScanFormat};
use crate::cmd::scan::processes::identity::Identity;

/// The values that a group is made of.
pub(in crate::cmd::scan) const FIELDS: [Field; 5] = [
    Field::Rss,
    Field::Pss,
    Field::PrivateClean,
    Field::PrivateDirty,
    Field::Swap,
];

/// What a sum may be too high or too low by, if not all pages were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Margins {
    /// By chance: the sum of squares, as processes are drawn from independently.
    squares: f64,
    missed: u64,
}

impl Margins {
    fn of(report: &Report, fields: &[Field]) -> Self {
        let sampled = report.sampled.as_ref();
        let found = fields.iter().filter_map(|&field| sampled?.margin(field));
        // Those of one process come from the same draw.
        let (by_chance, missed) = found.fold((0, 0), |(a, b), margin| (a + margin.by_chance, b + margin.missed));
        Self {
            squares: (by_chance as f64).powi(2),
            missed,
        }
    }

    fn add(&mut self, other: Self) {
        self.squares += other.squares;
        self.missed += other.missed;
    }

    fn bytes(&self) -> u64 {
        self.squares.sqrt().ceil() as u64 + self.missed
    }
}

/// The sums of some processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    processes: u64,
    /// Pages that several of the processes share count in each.
    rss: u64,
    /// Shared pages count once, divided among all processes that map them, of whichever group.
    pss: u64,
    /// Pages of one process alone.
    uss: u64,
    swap: u64,
    pss_margins: Margins,
    uss_margins: Margins,
    mappings: u64,
    /// The most mappings of one process: a limit of the kernel counts them.
    most_mappings: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.processes += other.processes;
        self.rss += other.rss;
        self.pss += other.pss;
        self.uss += other.uss;
        self.swap += other.swap;
        self.pss_margins.add(other.pss_margins);
        self.uss_margins.add(other.uss_margins);
        self.mappings += other.mappings;
        self.most_mappings = self.most_mappings.max(other.most_mappings);
    }

    fn of(scan: &Scan) -> Self {
        let rollup = scan.rollup();
        let bytes = |field| rollup.stats.bytes(field).unwrap_or(0);
        Self {
            processes: 1,
            rss: bytes(Field::Rss),
            pss: bytes(Field::Pss),
            uss: bytes(Field::PrivateClean) + bytes(Field::PrivateDirty),
            swap: bytes(Field::Swap),
            pss_margins: Margins::of(scan.report(), &[Field::Pss]),
            uss_margins: Margins::of(scan.report(), &[Field::PrivateClean, Field::PrivateDirty]),
            mappings: rollup.mappings,
            most_mappings: rollup.mappings,
        }
    }
}

/// The groups of one round.
pub(in crate::cmd::scan) struct Groups {
    by: GroupBy,
    top: Option<usize>,
    sums: HashMap<String, Sums>,
    /// `vm.max_map_count`: how many mappings a process may have.
    max_map_count: Option<u64>,
}

impl Groups {
    pub(in crate::cmd::scan) fn new(by: GroupBy, top: Option<usize>) -> Self {
        let max_map_count = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        Self {
            by,
            top,
            sums: HashMap::new(),
            max_map_count: max_map_count.ok().and_then(|text| text.trim().parse().ok()),
        }
    }

    /// Counts a process in its group.
    pub(in crate::cmd::scan) fn add(&mut self, identity: &Identity<'_>, scan: &Scan) {
        let key = key::key(self.by, identity);
        self.sums.entry(key).or_default().add(Sums::of(scan));
    }

    /// Returns the text of the round, and forgets its groups.
    pub(in crate::cmd::scan) fn take_text(&mut self, format: ScanFormat, is_for_people: bool) -> String {
        let mut groups: Vec<_> = self.sums.drain().collect();
        groups.sort_by(|(a, x), (b, y)| y.pss.cmp(&x.pss).then_with(|| a.cmp(b)));
        let others = groups.split_off(self.top.unwrap_or(usize::MAX).min(groups.len()));
        match format {
            ScanFormat::Json => text::json(self.by, &groups, self.max_map_count),
            ScanFormat::Csv => text::csv(self.by, &groups, self.max_map_count),
            ScanFormat::Prometheus => text::prometheus(self.by, &groups, self.max_map_count),
            _ => table::table(self.by, &groups, &others, self.max_map_count, is_for_people),
        }
    }
}

/// Returns the part of the mappings that a process may have.
fn ratio(sums: &Sums, max_map_count: Option<u64>) -> Option<f64> {
    let most = max_map_count.filter(|&most| most > 0 && sums.most_mappings > 0)?;
    Some(sums.most_mappings as f64 / most as f64)
}
