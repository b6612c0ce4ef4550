//! The whole experiment: every kind of run in turn, sample by sample, so that a drift of the machine meets all of them alike.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Access, access};

use crate::cgroup::ScannerCgroup;
use crate::error::{Error, Result};
use crate::limits;
use crate::machine::Machine;
use crate::noise;
use crate::place;
use crate::plan::{Cell, Plan};
use crate::proc_file::ProcFile;
use crate::report::{Noise, Report, SCHEMA};
use crate::role::procmap_query_supported;
use crate::run::Runner;
use crate::sample::Sample;

/// What an experiment tells while it runs; always between runs, never during one.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A run starts.
    Starts(Cell, u32),
    /// A run is over.
    Done(&'a Sample),
}

/// Checks that this machine and kernel allow all of `plan`, without starting anything.
///
/// # Errors
/// [`Error::NotPossible`] names what is missing.
pub fn check(plan: &Plan) -> Result<()> {
    for &file in &plan.files {
        if !Path::new("/proc/self").join(file.proc_name()).exists() {
            return Err(Error::NotPossible(format!(
                "this kernel has no /proc/PID/{}: choose another --file",
                file.proc_name()
            )));
        }
        if file == ProcFile::ProcmapQuery && !procmap_query_supported() {
            return Err(Error::NotPossible(
                "this kernel has no PROCMAP_QUERY (Linux 6.11 and later have): choose another --file".into(),
            ));
        }
    }
    if let Some(parent) = crate::cgroup::parent(plan.slice)? {
        access(&parent.dir, Access::WRITE_OK).map_err(|e| {
            Error::NotPossible(format!(
                "--slice {}: may not make a cgroup in {} ({e}); run as root or use --slice nice=15",
                plan.slice,
                parent.dir.display()
            ))
        })?;
    }
    limits::check(plan)
}

/// Runs `plan` with the roles in processes of the program `exe`, until it is done or `stop` becomes readable.
///
/// `exe` must hand its second argument to [`crate::role::run`] when its first is [`crate::role::COMMAND`]. Roles are
/// killed when the calling thread ends. The thread is bound to the controller's CPU, and may be left there.
///
/// # Errors
/// Fails if the machine does not allow the plan (see [`check`]) or a role fails; no process is left then either.
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
    let before = noise::measure(&cpus)?;
    place::pin(plan.placement.controller)?;
    let cgroup = ScannerCgroup::new(plan.slice, &plan.placement.busy, exe)?;
    let runner = Runner {
        plan,
        exe,
        cgroup: cgroup.as_ref(),
        stop,
    };
    let real_time_controller = place::go_real_time();
    let samples = all_runs(&runner, &mut progress);
    place::go_normal();
    let samples = samples?;
    let interrupted = samples.len() < plan.cells().len() * plan.samples as usize;
    let time = |t| humantime::format_rfc3339_seconds(t).to_string();
    Ok(Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        argv,
        start: time(start),
        end: time(SystemTime::now()),
        interrupted,
        machine,
        real_time_controller,
        plan: plan.clone(),
        noise: Noise {
            before,
            after: if interrupted { vec![] } else { noise::measure(&cpus)? },
        },
        samples,
    })
}

/// One sample of each kind after the other; fewer if the user stops it.
fn all_runs(runner: &Runner<'_>, progress: &mut impl FnMut(Progress<'_>)) -> Result<Vec<Sample>, Error> {
    let mut samples = Vec::new();
    for sample in 0..runner.plan.samples {
        for cell in runner.plan.cells() {
            progress(Progress::Starts(cell, sample));
            let Some(done) = runner.run(cell, sample)? else {
                return Ok(samples);
            };
            progress(Progress::Done(&done));
            samples.push(done);
        }
    }
    Ok(samples)
}
