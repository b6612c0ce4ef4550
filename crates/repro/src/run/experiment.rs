//! The whole experiment: every kind of run in turn, sample by sample, so that a drift of the
//! machine affects all of them alike.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::machine::{Machine, noise, sched};
use crate::plan::{Cell, Plan, ProcFile, Reading, Target};
use crate::report::{Noise, Report, SCHEMA};
use crate::role::{procmap_query_supported, scanner};
use crate::sample::Sample;

use super::cgroup::{self, ScannerCgroup};
use super::limits;
use super::setup::Setup;

/// What an experiment reports while it runs; never between a mapper's first call and its last.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A run starts.
    Starts(Cell, u32),
    /// All roles of the run are up, and the mapper is about to begin.
    Up,
    /// A run is over.
    Done(&'a Sample),
}

/// Checks that this machine and kernel allow all of `plan`, without starting anything.
///
/// # Errors
/// [`Error::NotPossible`] names what is missing.
pub fn check(plan: &Plan) -> Result<()> {
    if plan.targets.contains(&Target::Kernel) {
        plan.files.iter().copied().try_for_each(check_file)?;
    }
    cgroup::parent(plan.slice)?;
    for nice in [0, plan.slice.nice()] {
        sched::check_nice(nice).map_err(|e| {
            Error::NotPossible(format!(
                "{e}; run as root, or from a shell whose nice value is 0, with --slice nice=0 or above"
            ))
        })?;
    }
    limits::check(plan)
}

/// Checks that this kernel can be read so.
///
/// # Errors
/// [`Error::NotPossible`] if not.
pub fn check_file(file: Reading) -> Result<()> {
    // Otherwise another process would be read, under its locks.
    vmaple_scan::check_proc().map_err(|e| Error::NotPossible(e.to_string()))?;
    if !Path::new("/proc/self").join(file.proc_name()).exists() {
        return Err(Error::NotPossible(format!(
            "this kernel has no /proc/PID/{}: choose another --file",
            file.proc_name()
        )));
    }
    if file == Reading::Proc(ProcFile::ProcmapQuery) && !procmap_query_supported() {
        return Err(Error::NotPossible(
            "this kernel has no PROCMAP_QUERY (Linux 6.11 and later have): choose another --file".into(),
        ));
    }
    scanner(file).map(drop)
}

/// Runs `plan`, until it is done or `stop` becomes readable.
///
/// Roles run in processes of the program `exe`, those of a model in one.
///
/// `exe` must hand its second argument to [`super::task::perform`] when its first is
/// [`super::task::COMMAND`]. Roles are killed when the calling thread ends. The thread is bound to
/// the controller's CPU, and may be left there.
///
/// A run that fails ends the experiment; the report has its error and all runs before it.
///
/// # Errors
/// Fails if the machine does not allow the plan (see [`check`]) or the first run fails. No process
/// is left in any case.
pub fn run(
    plan: &Plan,
    exe: &Path,
    argv: Vec<String>,
    stop: BorrowedFd<'_>,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Report> {
    check(plan)?;
    let start = SystemTime::now();
    let machine = Machine::this();
    let mut cpus = plan.placement.busy.clone();
    cpus.push(plan.placement.mapper);
    cpus.sort_unstable();
    let spin_ns = plan.duration_ns.min(noise::SPIN_NS);
    let before = noise::measure(&cpus, spin_ns)?;
    sched::pin(plan.placement.controller)?;
    let slice = ScannerCgroup::new(plan.slice, &plan.placement.busy, exe)?;
    let setup = Setup {
        plan,
        exe,
        cgroup: slice.as_ref(),
        stop,
    };
    let real_time_controller = sched::go_real_time();
    let mut samples = Vec::new();
    let ended = all_runs(&setup, &mut samples, &mut progress);
    sched::go_normal();
    let error = match ended {
        // Without a single run there is only the error to report.
        Err(error) if samples.is_empty() => return Err(error),
        ended => ended.err(),
    };
    let complete = samples.len() == plan.cells().len() * plan.samples as usize;
    let time = |t| humantime::format_rfc3339_seconds(t).to_string();
    Ok(Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        argv,
        start: time(start),
        end: time(SystemTime::now()),
        interrupted: !complete && error.is_none(),
        error: error.map(|e| e.to_string()),
        machine,
        real_time_controller,
        plan: plan.clone(),
        noise: Noise {
            before,
            after: if complete {
                noise::measure(&cpus, spin_ns)?
            } else {
                vec![]
            },
        },
        samples,
    })
}

/// Adds one sample of each kind after the other, until all are there, the user stops it, or a run
/// fails.
fn all_runs(setup: &Setup<'_>, samples: &mut Vec<Sample>, progress: &mut impl FnMut(Progress<'_>)) -> Result<()> {
    for sample in 0..setup.plan.samples {
        for cell in setup.plan.cells() {
            progress(Progress::Starts(cell, sample));
            let Some(done) = setup.run(cell, sample, || progress(Progress::Up))? else {
                return Ok(());
            };
            progress(Progress::Done(&done));
            samples.push(done);
        }
    }
    Ok(())
}
