//! A scan by the BPF program: run after run, from the cursor on, until the end.

pub(crate) mod abi;
mod comparison;
#[cfg(test)]
mod forged;
mod identity;
mod layout;
mod lines;
pub(crate) mod name;
mod program;
pub(crate) mod self_test;
mod shapes;
mod thp;
mod vsyscall;

use std::cell::OnceCell;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::boost::Boost;
use crate::bpf::abi::{
    Control, MAX_RECORDS, RECORD_COUNTS_LATER, RECORD_UNVALIDATED, Record, STOP_BUDGET, STOP_END, STOP_EXEC,
    STOP_NO_MM, STOP_OTHER, STOP_REJECTED, VALIDATION_INT, VALIDATION_NONE, VALIDATION_SEQCOUNT, WANT_NAMES,
    WANT_PAGES, WANT_TABLES,
};
use crate::bpf::layout::Layout;
use crate::bpf::lines::Lines;
use crate::bpf::name::{HeapRule, Known, NameText, Places};
use crate::bpf::program::{Entry, Link, Program};
use crate::bpf::thp::ThpSizes;
use crate::bpf::vsyscall::Vsyscall;
use crate::error::{Error, Result};
use crate::method::Method;
use crate::options::{MOST_BUDGET, Want};
use crate::process::Process;
use crate::report::{Partial, Report, Validation};
use crate::scanner::Raw;
use crate::text::record::{Line, MemSizeStats, PAGE, VM_HUGETLB};

/// How long a scan waits for writers, all together, before what fits together is taken without validation; at most a tenth of
/// the time that it may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait at once: a writer that has lost its CPU inside is not made faster by looking.
const PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
/// Runs without progress before the budget is doubled: what interrupts a run counts as its time.
const NO_PROGRESS: u32 = 8;

/// The program, loaded, and what it has to be told of this kernel.
pub(crate) struct Bpf {
    program: Program,
    layout: Layout,
    /// Which mappings are called `[heap]`.
    pub(crate) heap: HeapRule,
    /// Whether this kernel's rule for THPeligible is the one that is known.
    pub(crate) thp: bool,
    thp_sizes: ThpSizes,
    vsyscall: Option<Vsyscall>,
    /// Whether runs are done at real-time priority: the kernel may be preemptible, and the caller has the right.
    may_boost: bool,
    /// Memory that is used again.
    known: Known,
}

/// How long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) run: Duration,
    pub(crate) scan: Duration,
}

impl Bpf {
    /// # Errors
    /// [`Error::NotPossible`] without the rights, BTF, or on a kernel that the program does not understand.
    pub(crate) fn load() -> Result<Self> {
        Self::with(Program::load()?)
    }

    pub(crate) fn with(mut program: Program) -> Result<Self> {
        let layout = Layout::find(&mut program)?;
        Ok(Self {
            program,
            layout,
            heap: HeapRule::default(),
            thp: true,
            thp_sizes: ThpSizes::of_this_kernel(),
            vsyscall: Vsyscall::of_this_kernel(),
            may_boost: Boost::keeps_runs(),
            known: Known::new(),
        })
    }

    /// Scans a process.
    ///
    /// # Errors
    /// [`Error::NotPermitted`], [`Error::NoProcess`], [`Error::Executed`].
    pub(crate) fn scan(&mut self, process: &Process, want: Want, bounds: Bounds, reuse: Raw) -> Result<Raw> {
        let began = Instant::now();
        let begun = self.begin(process, bounds, began)?;
        let raw = self.go_on(process, &begun, want, bounds, reuse)?;
        process.check_still()?;
        Ok(raw)
    }

    /// Finds out which address space is the process's, and whether the caller may read it.
    pub(crate) fn begin(&mut self, process: &Process, bounds: Bounds, began: Instant) -> Result<Begun> {
        let pid = process.pid();
        let link = self.program.link(Entry::Scan, pid)?;
        // Which address space it is, and then whether the caller may read it: in this order the answer is about no other one
        // than the runs are.
        let mut identity = Control {
            max_records: 0,
            ..self.layout.asked()
        };
        let asked_identity = identity;
        self.program.run(&link, &mut identity)?;
        // While it executes a program it may have the new one's memory, and still its old rights.
        while identity.stop == STOP_EXEC && began.elapsed() < bounds.scan {
            std::thread::sleep(PAUSE);
            identity = asked_identity;
            self.program.run(&link, &mut identity)?;
        }
        process.check_permission()?;
        match identity.stop {
            STOP_NO_MM => return Err(Error::NoProcess(pid)),
            STOP_EXEC => return Err(Error::Executed(pid)),
            _ => {}
        }
        Ok(Begun { link, identity, began })
    }

    /// Reads what was begun, and nothing else.
    pub(crate) fn go_on(
        &mut self,
        process: &Process,
        begun: &Begun,
        want: Want,
        bounds: Bounds,
        reuse: Raw,
    ) -> Result<Raw> {
        let pid = process.pid();
        let Begun { link, identity, began } = begun;
        if want >= Want::Tables {
            self.layout.find_swap();
        }
        let thp = (want == Want::Pages && self.thp).then(|| self.thp_sizes.settings());
        // To ask for it is to keep the process's memory from being freed for as long: only if it matters.
        let is_thp_on = OnceCell::new();
        let thp_eligible = |record: &Record| match thp.as_ref()?.eligible(record) {
            Some(false) => Some(false),
            _ if !is_thp_on.get_or_init(|| process.thp_enabled()) => Some(false),
            eligible => eligible,
        };
        let mut scan = Scanning::new(reuse, std::mem::take(&mut self.known));
        let mut asked = Control {
            mm: identity.found_mm,
            exec_id: identity.found_exec_id,
            started: identity.found_started,
            want: match want {
                Want::Counters | Want::Ranges => WANT_NAMES,
                Want::Tables => WANT_NAMES | WANT_TABLES,
                Want::Pages => WANT_NAMES | WANT_TABLES | WANT_PAGES,
            },
            max_records: MAX_RECORDS as u32,
            budget_ns: nanoseconds(bounds.run),
            // An entry takes five nanoseconds at least.
            max_entries: u32::try_from(nanoseconds(bounds.run) / 5).unwrap_or(u32::MAX),
            ..self.layout.asked()
        };
        let first = asked;
        let patience = PATIENCE.min(bounds.scan / 10);
        let mut waited = Duration::ZERO;
        let mut in_vain = 0;
        let mut partial = None;
        loop {
            let mut control = asked;
            // A run that loses its CPU half way holds back RCU's grace periods.
            let boost = self.may_boost.then(|| Boost::begin().ok());
            let run = self.program.run(link, &mut control);
            drop(boost);
            run?;
            scan.count(&control);
            let places = Places {
                start_brk: control.start_brk,
                brk: control.brk,
                start_stack: control.start_stack,
                heap: self.heap,
            };
            let (records, names) = (self.program.records(&control), self.program.names(&control));
            let has_unvalidated = records.iter().any(|record| record.flags & RECORD_UNVALIDATED != 0);
            scan.add(records, names, &places, &thp_eligible);
            let progress = control.next > asked.start || control.stop == STOP_END;
            asked.start = control.next;
            in_vain = if progress { 0 } else { in_vain + 1 };
            match control.stop {
                STOP_END => break,
                STOP_BUDGET if in_vain >= NO_PROGRESS => {
                    asked.budget_ns = asked.budget_ns.saturating_mul(2).min(nanoseconds(MOST_BUDGET));
                    asked.max_entries = asked.max_entries.saturating_mul(2);
                    in_vain = 0;
                }
                STOP_BUDGET => {}
                STOP_REJECTED => {
                    if waited >= patience {
                        (asked.take_unvalidated, asked.attempts) = (1, 16);
                    }
                    let pause = (PAUSE * in_vain.max(1)).min(LONGEST_PAUSE);
                    std::thread::sleep(pause);
                    waited += pause;
                }
                STOP_NO_MM => return Err(Error::NoProcess(pid)),
                STOP_OTHER | STOP_EXEC => return Err(Error::Executed(pid)),
                other => {
                    return Err(Error::failed(
                        "running the BPF program",
                        format!("it stopped with {other}"),
                    ));
                }
            }
            if progress {
                (asked.budget_ns, asked.max_entries) = (first.budget_ns, first.max_entries);
                // A writer that stays inside does so for the next leaf too.
                if !has_unvalidated {
                    (asked.take_unvalidated, asked.attempts) = (0, first.attempts);
                }
            }
            if began.elapsed() > bounds.scan {
                partial = Some(Partial::OutOfTime(control.next));
                break;
            }
        }
        let has_vsyscall = identity.context_flags & Vsyscall::CONTEXT_FLAG != 0;
        if let (None, true, Some(vsyscall)) = (partial, has_vsyscall, &self.vsyscall) {
            scan.push(vsyscall);
        }
        self.known = std::mem::take(&mut scan.names.known);
        Ok(scan.end(began.elapsed(), partial, validation(identity)))
    }

    /// As [`Program::anon_file`].
    pub(crate) fn anon_file(&self) -> Option<BorrowedFd<'_>> {
        self.program.anon_file()
    }

    /// What a process is told from others by, and so many records of it.
    pub(crate) fn look(&mut self, pid: u32, max_records: u32) -> Result<Control> {
        let link = self.program.link(Entry::Scan, pid)?;
        let mut control = Control {
            max_records,
            ..self.layout.asked()
        };
        self.program.run(&link, &mut control)?;
        Ok(control)
    }

    /// How lines are validated, and the number of the process's address space; nothing where there is none, or a writer stays inside.
    pub(crate) fn lock_seq(&mut self, pid: u32) -> Result<(Validation, Option<u32>)> {
        let control = self.look(pid, 1)?;
        let validation = validation(&control);
        let is_number = control.stop == STOP_BUDGET && validation != Validation::Structure;
        Ok((validation, is_number.then_some(control.seq)))
    }
}

/// A scan that was begun.
pub(crate) struct Begun {
    link: Link,
    /// Which address space is the process's.
    pub(crate) identity: Control,
    began: Instant,
}

/// A scan so far.
struct Scanning {
    lines: Lines,
    names: NameText,
    vsyscall: Option<Line>,
    runs: u64,
    longest_ns: u64,
    in_runs_ns: u64,
    rejected: u64,
    /// The number that all runs saw, if it is one.
    seq: Option<Option<u32>>,
}

impl Scanning {
    fn new(reuse: Raw, known: Known) -> Self {
        Self {
            lines: Lines::with_room(reuse.lines),
            names: NameText::with_room(reuse.names, known),
            vsyscall: None,
            runs: 0,
            longest_ns: 0,
            in_runs_ns: 0,
            rejected: 0,
            seq: None,
        }
    }

    fn count(&mut self, control: &Control) {
        self.runs += 1;
        self.longest_ns = self.longest_ns.max(control.ns);
        self.in_runs_ns += control.ns;
        self.rejected += u64::from(control.rejected);
        if matches!(control.stop, STOP_END | STOP_BUDGET) {
            let seq = (control.one_seq != 0 && control.validation != VALIDATION_NONE).then_some(control.seq);
            self.seq = Some(match self.seq {
                None => seq,
                Some(before) => before.filter(|_| before == seq),
            });
        } else {
            self.seq = Some(None);
        }
    }

    fn add(
        &mut self,
        records: &[Record],
        found: &[u8],
        places: &Places,
        thp_eligible: &dyn Fn(&Record) -> Option<bool>,
    ) {
        self.names.begin_run();
        for record in records {
            let name = self.names.add(record, found, places);
            let line = Line {
                start: record.start,
                end: record.end,
                from: record.from,
                vm_flags: record.vm_flags,
                offset: if record.file == 0 {
                    0
                } else {
                    record.pgoff.wrapping_mul(PAGE)
                },
                dev: (record.dev >> 20, record.dev & 0xf_ffff),
                inode: record.ino,
                name: name.kind,
                name_at: name.at,
                name_bytes: name.bytes,
                stats: MemSizeStats::of(record),
                page_bytes: if record.vm_flags & VM_HUGETLB == 0 {
                    PAGE
                } else {
                    record.block_bytes
                },
                thp_eligible: thp_eligible(record),
                is_validated: record.flags & RECORD_UNVALIDATED == 0,
                counts_later: record.flags & RECORD_COUNTS_LATER != 0,
                lost_letters: false,
            };
            self.lines.add(record, line);
        }
    }

    fn push(&mut self, vsyscall: &Vsyscall) {
        self.vsyscall = Some(vsyscall.line(&mut self.names.text));
    }

    fn end(self, elapsed: Duration, partial: Option<Partial>, validation: Validation) -> Raw {
        let mut lines = self.lines.into_lines();
        let mapped = lines.len();
        let count = |is: fn(&Line) -> bool| lines.iter().filter(|line| is(line)).count();
        let report = Report {
            mappings: mapped,
            runs: self.runs,
            longest_run: Duration::from_nanos(self.longest_ns),
            in_runs: Duration::from_nanos(self.in_runs_ns),
            rejected: self.rejected,
            validation,
            unvalidated: count(|line| !line.is_validated),
            counted_later: count(|line| line.counts_later),
            snapshot: self.seq.flatten().filter(|_| partial.is_none()),
            partial,
            ..Report::of_kernel(Method::Bpf, elapsed)
        };
        lines.extend(self.vsyscall);
        Raw {
            lines,
            mapped,
            names: self.names.text,
            report: Some(report),
            ..Raw::default()
        }
    }
}

fn validation(control: &Control) -> Validation {
    match control.validation {
        VALIDATION_SEQCOUNT => Validation::Seqcount,
        VALIDATION_INT => Validation::Counter,
        _ => Validation::Structure,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_content_are_taken_without_a_panic_and_lines_never_overlap() {
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Small numbers, the ends of the range, and all between.
            match seed >> 61 {
                0 => u64::MAX,
                1 => u64::MAX << 12,
                2 => seed >> 32 & 0xff,
                _ => seed.rotate_left(17) >> (seed >> 58),
            }
        };
        let found: Vec<u8> = (0..4096_u32).map(|i| if i % 7 == 0 { 0 } else { i as u8 }).collect();
        let thp = ThpSizes::of_this_kernel().settings();
        for _ in 0..300 {
            let mut scan = Scanning::new(Raw::default(), Known::new());
            for _ in 0..10 {
                let control = Control {
                    stop: random() as u32 % 5,
                    ns: random() >> 8,
                    seq: random() as u32,
                    rejected: random() as u32,
                    ..Control::default()
                };
                let records: Vec<_> = (0..20)
                    .map(|_| Record {
                        start: random(),
                        end: random(),
                        from: random(),
                        to: random(),
                        vm_flags: random(),
                        pgoff: random(),
                        ino: random(),
                        file: random(),
                        block_bytes: random(),
                        i_size: random(),
                        shmem_swapped: random(),
                        rss: random(),
                        anonymous: random(),
                        referenced: random(),
                        shared_clean: random(),
                        private_dirty: random(),
                        anon_thp: random(),
                        shared_hugetlb: random(),
                        swap: random(),
                        pss: random(),
                        pss_anon: random(),
                        swap_pss: random(),
                        dev: random() as u32,
                        magic: random() as u32,
                        flags: random() as u32,
                        name: random() as u32,
                        name_at: random() as u32,
                        name_bytes: random() as u32,
                        anon_name_at: random() as u32,
                        anon_name_bytes: random() as u32,
                        ..Record::default()
                    })
                    .collect();
                let places = Places {
                    start_brk: random(),
                    brk: random(),
                    start_stack: random(),
                    heap: HeapRule::Overlaps,
                };
                scan.count(&control);
                scan.add(&records, &found, &places, &|record| thp.eligible(record));
            }
            let raw = scan.end(Duration::ZERO, None, Validation::Seqcount);
            let mut below = 0;
            for line in &raw.lines {
                let record = line.record(&raw.names);
                assert!(below <= record.vma.new_from && record.vma.new_from < record.vma.end);
                below = record.vma.end;
                for field in crate::Field::ALL {
                    let _ = field.of(&record);
                }
            }
        }
    }

    #[test]
    fn a_snapshot_is_one_if_all_leaves_of_all_runs_saw_one_number() {
        let runs: [(&[_], _); 3] = [
            (&[(8, 1), (8, 1)], Some(8)),
            (&[(8, 1), (6, 1)], None),
            (&[(8, 1), (8, 0)], None),
        ];
        for (runs, expected) in runs {
            let mut scan = Scanning::new(Raw::default(), Known::new());
            for &(seq, one_seq) in runs {
                scan.count(&Control {
                    validation: VALIDATION_SEQCOUNT,
                    seq,
                    one_seq,
                    ..Control::default()
                });
            }
            let report = scan.end(Duration::ZERO, None, Validation::Seqcount).report;
            assert_eq!(report.and_then(|report| report.snapshot), expected, "{runs:?}");
        }
    }
}
