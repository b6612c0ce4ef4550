//! Scans a process by the program: run after run, from the cursor on, until the end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use vmaple_smaps::{Field, Scope};

use crate::boost::Boost;
use crate::bpf::abi::{
    Control, MAX_RECORDS, RECORD_UNVALIDATED, Stop, WANT_AGES, WANT_NAMES, WANT_PAGES, WANT_SUMS, WANT_TABLES,
};
use crate::bpf::engine::{Engine, validation};
use crate::bpf::load::program::{Entry, Link};
use crate::bpf::scan::name::Places;
use crate::bpf::scan::runs::{Has, Runs};
use crate::bpf::scan::sample::Sampler;
use crate::bpf::scan::sums::Sums;
use crate::bpf::scan::thp::{Eligibility, ThpRule};
use crate::bpf::scan::vsyscall::Vsyscall;
use crate::error::{Error, Result};
use crate::options::{Options, Sample};
use crate::process::Process;
use crate::record::Mappings;
use crate::report::Partial;
use crate::source::Found;
use crate::want::Want;

/// The longest that a scan waits for writers, all together, before it takes lines without
/// validation. It is never more than a tenth of the time that the scan may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The shortest and the longest wait at once.
///
/// Looking more often does not make a writer faster that has lost its CPU inside.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));
/// Runs without progress before the budget is doubled: what interrupts a run counts as its time.
const NO_PROGRESS: u32 = 8;

/// Scans a process.
///
/// # Errors
/// [`Error::NotPermitted`], [`Error::NoProcess`], [`Error::Executed`].
pub(crate) fn scan(engine: &mut Engine, process: &Process, options: &Options, room: Mappings) -> Result<Found> {
    let begun = Begun::new(engine, process, options)?;
    let found = Session::new(engine, process, &begun, options, room)?.run()?;
    process.check_still()?;
    Ok(found)
}

/// The beginning of a scan. Its address space is known, and that the caller may read it.
pub(crate) struct Begun {
    link: Link,
    /// What tells the process's address space from others.
    pub(crate) identity: Control,
    began: Instant,
}

impl Begun {
    /// Finds out which address space is the process's, and whether the caller may read it.
    ///
    /// In this order the answer is about no other address space than the runs are.
    pub(crate) fn new(engine: &mut Engine, process: &Process, options: &Options) -> Result<Self> {
        let began = Instant::now();
        let pid = process.pid();
        let link = engine.program.link(Entry::Scan, pid)?;
        let asked = Control {
            max_records: 0,
            ..engine.layout.asked()
        };
        let mut identity = asked;
        let mut stop = engine.program.run(&link, &mut identity)?;
        // While it executes a program it may have the new one's memory, and still its old rights.
        while stop == Stop::Exec && began.elapsed() < options.limit {
            std::thread::sleep(PAUSES.0);
            identity = asked;
            stop = engine.program.run(&link, &mut identity)?;
        }
        process.check_permission()?;
        match stop {
            Stop::NoMm => Err(Error::NoProcess(pid)),
            Stop::Exec => Err(Error::Executed(pid)),
            _ => Ok(Self { link, identity, began }),
        }
    }
}

/// Where the records of runs go.
enum Sink {
    /// To lines, of which there is one for each mapping.
    Lines,
    Sums(Box<Sums>),
    Sample(Box<Sampler>),
}

/// A scan that was begun, with its runs so far and what the next one is asked for.
pub(crate) struct Session<'a> {
    engine: &'a mut Engine,
    begun: &'a Begun,
    pid: u32,
    want: Want,
    sink: Sink,
    limit: Duration,
    thp: Option<Eligibility<'a>>,
    runs: Runs,
    /// What the first run was asked for.
    first: Control,
    /// What the next run is asked for.
    asked: Control,
    patience: Duration,
    /// How long it has waited for writers.
    waited: Duration,
    /// Runs since the last that made progress.
    in_vain: u32,
}

impl<'a> Session<'a> {
    /// Prepares the runs of a scan that was begun.
    pub(crate) fn new(
        engine: &'a mut Engine,
        process: &'a Process,
        begun: &'a Begun,
        options: &Options,
        room: Mappings,
    ) -> Result<Self> {
        let Options {
            want,
            budget,
            limit,
            sum_alone,
            sample,
            ..
        } = *options;
        let sink = match sample {
            Sample::All if sum_alone => Sink::Sums(Box::default()),
            Sample::All => Sink::Lines,
            part => Sink::Sample(Box::new(Sampler::new(process, part, any_seed())?)),
        };
        let want = if matches!(sink, Sink::Sample(_)) {
            Want::Pages
        } else {
            want
        };
        let is_of_lines = matches!(sink, Sink::Lines);
        if want >= Want::Tables {
            engine.layout.find_swap_if_used();
        }
        let is_thp_told = want == Want::Pages && engine.thp == ThpRule::Known && is_of_lines;
        let form = match sink {
            Sink::Lines => WANT_NAMES,
            Sink::Sums(_) => WANT_SUMS,
            Sink::Sample(_) => 0,
        };
        let generations = engine.generations.filter(|_| want == Want::Pages && options.ages);
        let ages = if generations.is_some() { WANT_AGES } else { 0 };
        let generations = generations.unwrap_or_default();
        let identity = &begun.identity;
        let first = Control {
            mm: identity.found_mm,
            exec_id: identity.found_exec_id,
            started: identity.found_started,
            generation_shift: generations.shift,
            node_shift: generations.node_shift,
            want: form
                | ages
                | match want {
                    Want::Counters | Want::Ranges => 0,
                    Want::Tables => WANT_TABLES,
                    Want::Pages => WANT_TABLES | WANT_PAGES,
                },
            max_records: MAX_RECORDS as u32,
            budget_ns: nanoseconds(budget),
            // An entry takes five nanoseconds at least.
            max_entries: u32::try_from(nanoseconds(budget) / 5).unwrap_or(u32::MAX),
            ..engine.layout.asked()
        };
        Ok(Self {
            pid: process.pid(),
            want,
            limit,
            thp: is_thp_told.then(|| Eligibility::new(engine.thp_sizes.settings(), process)),
            runs: Runs::new(room, std::mem::take(&mut engine.known)),
            first,
            asked: first,
            patience: PATIENCE.min(limit / 10),
            waited: Duration::ZERO,
            in_vain: 0,
            sink,
            engine,
            begun,
        })
    }

    /// Makes runs until the end of the address space, or of the time.
    ///
    /// # Errors
    /// [`Error::NoProcess`], [`Error::Executed`].
    pub(crate) fn run(mut self) -> Result<Found> {
        let partial = loop {
            if let ControlFlow::Break(partial) = self.step()? {
                break partial;
            }
        };
        let identity = &self.begun.identity;
        let has_vsyscall = identity.context_flags & Vsyscall::CONTEXT_FLAG != 0;
        if let (None, true, Some(vsyscall)) = (partial, has_vsyscall, &self.engine.vsyscall) {
            self.runs.push(vsyscall);
        }
        self.engine.known = self.runs.take_known();
        let elapsed = self.begun.began.elapsed();
        let wanted = Field::ALL.into_iter().filter(|&field| Want::of(field) <= self.want);
        let of_sum = wanted.clone().filter(|field| field.scope() != Scope::Mapping);
        let fields = match self.sink {
            Sink::Lines => wanted.collect(),
            Sink::Sums(_) => of_sum.collect(),
            Sink::Sample(_) => Sampler::fields(),
        };
        let has_ages = self.has_ages();
        let mut found = self.runs.end(fields, elapsed, partial, validation(identity));
        match self.sink {
            Sink::Lines => {}
            Sink::Sums(sums) => {
                let stats = *sums.stats();
                sums.end(stats, has_ages, &mut found);
            }
            Sink::Sample(sampler) => sampler.end(&mut found),
        }
        Ok(found)
    }

    /// Makes a run and adds what it found. Breaks at the end of the address space, or with the
    /// reason why the scan is not whole.
    fn step(&mut self) -> Result<ControlFlow<Option<Partial>>> {
        let mut control = self.asked;
        if let Sink::Sample(sampler) = &self.sink {
            sampler.ask(&mut control);
        }
        let stop = self.make_run(&mut control)?;
        let are_validated = self.take(&control, stop);
        let is_progress = control.next > self.asked.start || stop == Stop::End;
        self.asked.start = control.next;
        self.in_vain = if is_progress { 0 } else { self.in_vain + 1 };
        match stop {
            Stop::End => return Ok(ControlFlow::Break(None)),
            Stop::Budget => self.give_more(),
            Stop::Rejected => self.wait_for_writer(),
            Stop::NoMm => return Err(Error::NoProcess(self.pid)),
            Stop::OtherMm | Stop::Exec => return Err(Error::Executed(self.pid)),
        }
        if is_progress {
            let first = &self.first;
            (self.asked.budget_ns, self.asked.max_entries) = (first.budget_ns, first.max_entries);
            // A writer that stays inside does so for the next leaf too.
            if are_validated {
                (self.asked.take_unvalidated, self.asked.attempts) = (0, first.attempts);
            }
        }
        if self.begun.began.elapsed() > self.limit {
            return Ok(ControlFlow::Break(Some(Partial::OutOfTime(control.next))));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn has_ages(&self) -> bool {
        self.first.want & WANT_AGES != 0
    }

    fn make_run(&mut self, control: &mut Control) -> Result<Stop> {
        // A run that loses its CPU half way holds back RCU's grace periods.
        let _boost = self.engine.may_boost.then(|| Boost::begin().ok());
        self.engine.program.run(&self.begun.link, control)
    }

    /// Adds what a run found; returns whether all its lines are validated.
    fn take(&mut self, control: &Control, stop: Stop) -> bool {
        self.runs.count(control, stop);
        let places = Places {
            start_brk: control.start_brk,
            brk: control.brk,
            start_stack: control.start_stack,
            heap: self.engine.heap,
        };
        let program = &self.engine.program;
        let (records, names) = (program.records(control), program.names(control));
        match &mut self.sink {
            Sink::Lines => {
                let thp = self.thp.as_ref();
                let has = Has {
                    pages: self.want >= Want::Tables,
                    ages: self.has_ages(),
                };
                self.runs.add(records, names, &places, has, |record| thp?.of(record));
            }
            Sink::Sums(sums) => records.iter().for_each(|record| {
                let stats = sums.add_mappings(record);
                sums.add(&stats);
            }),
            Sink::Sample(sampler) => sampler.add(records, Duration::from_nanos(control.ns)),
        }
        records.iter().all(|record| record.flags & RECORD_UNVALIDATED == 0)
    }

    /// Gives the next run more than the last ones had, if they made no progress.
    fn give_more(&mut self) {
        if self.in_vain >= NO_PROGRESS {
            let most = nanoseconds(*Options::BUDGETS.end());
            self.asked.budget_ns = self.asked.budget_ns.saturating_mul(2).min(most);
            self.asked.max_entries = self.asked.max_entries.saturating_mul(2);
            self.in_vain = 0;
        }
    }

    /// Waits for a writer that was inside.
    ///
    /// After too long a time the next run takes what fits together without validation.
    fn wait_for_writer(&mut self) {
        if self.waited >= self.patience {
            (self.asked.take_unvalidated, self.asked.attempts) = (1, 16);
        }
        let pause = (PAUSES.0 * self.in_vain.max(1)).min(PAUSES.1);
        std::thread::sleep(pause);
        self.waited += pause;
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a seed that differs from scan to scan.
fn any_seed() -> u32 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_nsec as u32 ^ std::process::id().rotate_left(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Why;
    use crate::source::Content;

    #[test]
    fn page_tables_that_cannot_be_read_leave_their_fields_out_and_never_count_as_empty() {
        let mut engine = match Engine::load() {
            Ok(engine) => engine,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        // A hole that the kernel leaves for a hypervisor, with four levels and with five.
        engine.layout.page_offset = if engine.layout.levels == 5 {
            0xff00_0000_0000_0000
        } else {
            0xffff_8000_0000_0000
        };
        let process = Process::open(std::process::id()).unwrap();
        for sum_alone in [false, true] {
            let options = Options::new().sum_alone(sum_alone);
            let found = scan(&mut engine, &process, &options, Mappings::default()).unwrap();
            let unknown = match &found.content {
                Content::Mappings(mappings) => {
                    let unknown = mappings.own_stats().iter().map(|stats| stats.unknown);
                    unknown
                        .reduce(|all, one| if one.contains(Field::Rss) { all } else { one })
                        .unwrap()
                }
                Content::Sum(sum) => sum.stats.unknown,
                Content::Counters(_) => panic!("no counters were asked for"),
            };
            assert!(
                unknown.contains(Field::Rss) && unknown.contains(Field::SwapPss),
                "{unknown:?}"
            );
            let mappings = found.report.mappings;
            assert!(mappings > Some(20));
            if sum_alone {
                let is_so =
                    |left_out: &crate::LeftOut| left_out.why == Why::UnreadTable && Some(left_out.mappings) == mappings;
                assert!(found.report.left_out.iter().all(is_so), "{}", found.report);
            }
        }
    }
}
