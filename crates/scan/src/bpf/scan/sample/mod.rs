//! Sums of a process by a part of its tables of pages.
//!
//! The program walks the upper levels whole. Of the tables below, it draws some by chance, and
//! leaves each in a record of its own; what no table holds, as huge pages, is counted whole. The
//! [`plan`] says how many tables are drawn, and [`estimate`] makes sums and margins of them.

mod estimate;
mod plan;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use vmaple_smaps::{Field, FieldSet, MemSizeStats};

use self::estimate::{Estimate, Known, Stratum};
use self::plan::Plan;
use crate::bpf::abi::{Control, RECORD_DRAWN, Record};
use crate::bpf::scan::sums::Sums;
use crate::error::Result;
use crate::options::Sample;
use crate::process::Process;
use crate::record::PAGE;
use crate::report::{Margin, Sampled};
use crate::source::Found;
use crate::status::Status;

/// The counts of a table.
const COUNTS: usize = 18;
/// The fields among them.
const FIELDS: [Field; COUNTS - 1] = [
    Field::Rss,
    Field::Anonymous,
    Field::Swap,
    Field::Pss,
    Field::PssAnon,
    Field::PssFile,
    Field::PssShmem,
    Field::PssDirty,
    Field::SharedClean,
    Field::SharedDirty,
    Field::PrivateClean,
    Field::PrivateDirty,
    Field::Referenced,
    Field::Ksm,
    Field::LazyFree,
    Field::Locked,
    Field::SwapPss,
];
/// What a table maps, and so the most of each count.
const TABLE_BYTES: f64 = (512 * PAGE) as f64;
const RSS: usize = 0;
const ANONYMOUS: usize = 1;
const SWAP: usize = 2;
const PSS: usize = 3;
const PSS_ANON: usize = 4;
/// Pages that are not anonymous: of files, and in shared memory.
const OF_FILES: usize = COUNTS - 1;

type Counts = estimate::Counts<COUNTS>;

/// What the runs of a scan have drawn so far.
pub(crate) struct Sampler {
    plan: Plan,
    seed: u32,
    /// When the scan began, on this thread's CPU clock.
    began: Duration,
    known: [f64; COUNTS],
    /// What was counted whole.
    whole: Sums,
    strata: Vec<Stratum<COUNTS>>,
    /// The mapping of the last stratum, and its share of tables.
    last: Option<(u64, u32)>,
}

impl Sampler {
    /// Prepares for a process, by what the kernel has counted of it.
    ///
    /// # Errors
    /// [`Error::NoProcess`](crate::Error::NoProcess) if it has ended.
    pub(crate) fn new(process: &Process, sample: Sample, seed: u32) -> Result<Self> {
        let began = cpu_time();
        let status = process.read_file("status");
        let status = Status::from(status.map_err(|e| crate::Error::of_proc(process.pid(), "reading its status", &e))?);
        let bytes = |name| status.bytes(name).unwrap_or(0) as f64;
        let mut known = [0.0; COUNTS];
        known[ANONYMOUS] = bytes("RssAnon");
        known[OF_FILES] = bytes("RssFile") + bytes("RssShmem");
        known[RSS] = known[ANONYMOUS] + known[OF_FILES];
        known[SWAP] = bytes("VmSwap");
        Ok(Self {
            plan: Plan::new(sample, status.bytes("VmPTE").unwrap_or(0) / PAGE),
            seed,
            began,
            known,
            whole: Sums::default(),
            strata: vec![],
            last: None,
        })
    }

    /// Asks the next run for what is planned.
    pub(crate) fn ask(&self, control: &mut Control) {
        let used = cpu_time().saturating_sub(self.began);
        control.every = self.plan.every(used);
        control.seed = self.seed;
        if let Some(left) = self.plan.left(used) {
            control.budget_ns = control.budget_ns.min(left);
        }
    }

    /// Adds what a run found.
    pub(crate) fn add(&mut self, records: &[Record], took: Duration) {
        let (mut passed, mut drawn) = (0, 0);
        for record in records {
            let stats = self.whole.add_mappings(record);
            if record.every > 1 && record.tables > 0 {
                self.stratum_of(record).tables += u64::from(record.tables);
            }
            if record.flags & RECORD_DRAWN != 0 {
                drawn += 1;
                self.stratum_of(record).counted.push(counts(&stats));
            } else {
                passed += u64::from(record.tables);
                self.whole.add(&stats);
            }
        }
        self.plan.learn(passed, drawn, took);
    }

    /// Returns the stratum of a record's mapping.
    fn stratum_of(&mut self, record: &Record) -> &mut Stratum<COUNTS> {
        let of = Some((record.start, record.every));
        if self.last != of || self.strata.is_empty() {
            self.last = of;
            self.strata.push(Stratum {
                tables: 0,
                every: record.every,
                counted: vec![],
            });
        }
        let last = self.strata.len() - 1;
        &mut self.strata[last]
    }

    /// Puts the sums in place of what was found, and how they were drawn.
    pub(crate) fn end(mut self, found: &mut Found) {
        let tables = self.strata.iter().map(|stratum| stratum.tables).sum();
        let sample = estimate::Sample::of(std::mem::take(&mut self.strata), TABLE_BYTES);
        let whole = counts(self.whole.stats());
        let known = |count: usize| Known {
            count,
            sum: (self.known[count] - whole[count]).max(0.0),
        };
        let mut margins = vec![];
        let mut stats = *self.whole.stats();
        for (count, &field) in FIELDS.iter().enumerate() {
            let estimate = match field {
                // The kernel has counted these.
                Field::Rss | Field::Anonymous | Field::Swap => Estimate {
                    value: known(count).sum,
                    ..Estimate::default()
                },
                Field::Pss => sample.ratios(&[(PSS_ANON, known(ANONYMOUS)), (OF_FILES_PSS, known(OF_FILES))]),
                Field::PssAnon | Field::Ksm | Field::LazyFree => sample.ratio(count, known(ANONYMOUS)),
                Field::PssFile | Field::PssShmem => sample.ratio(count, known(OF_FILES)),
                Field::SwapPss => sample.ratio(count, known(SWAP)),
                _ => sample.ratio(count, known(RSS)),
            };
            if let Some(bytes) = self.whole.stats().bytes(field) {
                stats.set_bytes(field, bytes + estimate.value.round() as u64);
            }
            let margin = Margin {
                field,
                by_chance: estimate.by_chance.ceil() as u64,
                missed: estimate.missed.ceil() as u64,
            };
            if margin.bytes() > 0 {
                margins.push(margin);
            }
        }
        found.report.sampled = Some(Sampled {
            tables,
            counted: sample.counted() as u64,
            cpu: cpu_time().saturating_sub(self.began),
            margins,
        });
        self.whole.end(stats, false, found);
    }

    /// Returns the fields that a sample has.
    pub(crate) fn fields() -> FieldSet {
        let whole = [
            Field::AnonHugePages,
            Field::ShmemPmdMapped,
            Field::FilePmdMapped,
            Field::SharedHugetlb,
            Field::PrivateHugetlb,
        ];
        FIELDS.into_iter().chain(whole).collect()
    }
}

/// The place of the proportional size of pages that are not anonymous. It is that of the whole
/// until the anonymous part is taken away.
const OF_FILES_PSS: usize = PSS;

/// Returns the counts of a table, in bytes.
fn counts(stats: &MemSizeStats) -> Counts {
    let mut counts = [0.0; COUNTS];
    for (count, field) in counts.iter_mut().zip(FIELDS) {
        *count = stats.bytes(field).unwrap_or(0) as f64;
    }
    counts[OF_FILES] = counts[RSS] - counts[ANONYMOUS];
    counts[OF_FILES_PSS] = counts[PSS] - counts[PSS_ANON];
    counts
}

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
