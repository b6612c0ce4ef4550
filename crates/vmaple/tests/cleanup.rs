//! Nothing survives the end of an experiment, however it comes.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use running::{VMAPLE, outcome, roles_of, start_and_wait_for_roles, vmaple, wait_until};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use vmaple_repro::machine::sched::allowed_cpus;
use vmaple_repro::plan::{PlacementRequest, Plan, Preset, Slice};
use vmaple_repro::run::cgroup;
use vmaple_repro::run::experiment::{self, Progress};

static ROLES_AT_PANIC: AtomicUsize = AtomicUsize::new(0);

fn signal(controller: u32, signal: Signal) {
    kill_process(Pid::from_raw(controller.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn an_interrupted_experiment_prints_what_it_has_and_leaves_no_process() {
    for how in [Signal::INT, Signal::TERM] {
        let child = start_and_wait_for_roles(
            "repro --target kernel --busy 0,20 --samples 1 --duration 3s --file maps --details",
            40,
        );
        let controller = child.id();
        signal(controller, how);
        let (code, text, _) = child.end();
        assert_eq!(code, Some(130));
        assert_eq!(roles_of(controller), []);
        assert!(text.contains("\n    0 "), "no row of the run that was done: {text}");
        assert!(text.contains("Interrupted"), "{text}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let child = start_and_wait_for_roles(
        "repro --target kernel --busy 5 --samples 1 --duration 10m --file maps",
        11,
    );
    let controller = child.id();
    signal(controller, Signal::INT);
    // It may have ended by the first already.
    let _ = kill_process(Pid::from_raw(controller.cast_signed()).unwrap(), Signal::INT);
    assert_eq!(child.end().0, Some(130));
    wait_until("the roles to die", || roles_of(controller).is_empty());
}

#[test]
fn a_second_signal_ends_a_controller_that_the_first_leaves_waiting() {
    // A pipe without a reader: writing the report to it waits for one.
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let args = format!(
        "repro --target kernel --busy 0 --samples 1 --duration 10m --export-json {}",
        pipe.display()
    );
    let mut child = start_and_wait_for_roles(&args, 1);
    let controller = child.id();
    signal(controller, Signal::INT);
    wait_until("the roles to end", || roles_of(controller).is_empty());
    assert!(!child.has_ended());
    signal(controller, Signal::INT);
    wait_until("the controller to end", || child.has_ended());
    assert_eq!(child.end().0, Some(130));
}

#[test]
fn no_process_survives_a_killed_controller() {
    let mut child = start_and_wait_for_roles("repro --busy 20 --samples 1 --duration 10m --file smaps", 41);
    let controller = child.id();
    child.kill();
    child.end();
    wait_until("the roles to die", || roles_of(controller).is_empty());
}

#[test]
fn no_model_survives_a_killed_or_interrupted_controller() {
    for how in [Signal::KILL, Signal::INT] {
        let child = start_and_wait_for_roles("repro --target maple --busy 20 --samples 1 --duration 10m", 1);
        let controller = child.id();
        wait_until("its threads to start", || {
            let model = roles_of(controller);
            let tasks = model.first().map(|(pid, _)| fs::read_dir(format!("/proc/{pid}/task")));
            // Mapper, thread B, and 20 of each.
            tasks.is_some_and(|tasks| tasks.is_ok_and(|tasks| tasks.count() == 42))
        });
        signal(controller, how);
        let code = child.end().0;
        assert_eq!(code, (how == Signal::INT).then_some(130));
        wait_until("the model to die", || roles_of(controller).is_empty());
    }
}

#[test]
fn no_process_survives_a_panic() {
    let panicked = std::thread::spawn(|| {
        let placement = PlacementRequest::default().place(&allowed_cpus().unwrap()).unwrap();
        let plan = Plan {
            busy: vec![2],
            samples: 1,
            duration_ns: 100_000_000,
            ..Plan::preset(Preset::Check, placement)
        };
        let (stop, _never) = std::io::pipe().unwrap();
        let panic_amid_the_roles = |progress: Progress<'_>| {
            if let Progress::Up = progress {
                let roles = roles_of(std::process::id()).len();
                ROLES_AT_PANIC.store(roles, Relaxed);
                panic!("on purpose");
            }
        };
        experiment::run(&plan, Path::new(VMAPLE), vec![], stop.as_fd(), panic_amid_the_roles)
    })
    .join();
    assert!(panicked.is_err());
    assert_eq!(ROLES_AT_PANIC.load(Relaxed), 5);
    // Killed and reaped by the unwinding, not by the end of the thread some time later.
    assert_eq!(roles_of(std::process::id()), []);
}

/// Where a run with this slice would make its cgroup, if this machine lets it.
fn cgroup_parent(slice: Slice) -> Option<PathBuf> {
    Some(cgroup::parent(slice).ok()??.dir)
}

#[test]
fn the_cgroup_of_a_slice_is_gone_after_the_run_and_after_a_kill() {
    for slice in ["weight=1", "quota=5ms/100ms", "cpuset"] {
        let Some(parent) = cgroup_parent(slice.parse().unwrap()) else {
            println!("skipped: no cgroup for {slice} here");
            continue;
        };
        let cgroup = |controller: u32| parent.join(format!("vmaple-{controller}"));
        let args = format!("repro --target kernel --busy 2 --samples 1 --file maps --slice {slice} --duration");
        let (code, _, err) = outcome(vmaple(&format!("{args} 200ms")));
        assert_eq!(code, 0, "{err}");

        // Mapper, janitor, two scanners, two busy tasks.
        let mut child = start_and_wait_for_roles(&format!("{args} 10m"), 6);
        let controller = child.id();
        wait_until("the scanners to join", || {
            let members = fs::read_to_string(cgroup(controller).join("cgroup.procs")).unwrap_or_default();
            members.lines().count() == 2
        });
        child.kill();
        child.end();
        wait_until("the roles to die", || roles_of(controller).is_empty());
        assert!(!cgroup(controller).exists(), "{slice}: the cgroup was left behind");
        let left: Vec<_> = fs::read_dir(&parent)
            .unwrap()
            .flatten()
            .filter(|e| {
                e.file_name()
                    .to_string_lossy()
                    .starts_with(&format!("vmaple-{controller}"))
            })
            .collect();
        assert!(left.is_empty());
    }
}

#[test]
fn two_thousand_roles_start_and_stop() {
    // Long enough that this test sees them before the run ends, however busy the machine is.
    let args = "repro --busy 1000 --samples 1 --duration 5min --file none --yes-load";
    let child = start_and_wait_for_roles(args, 2001);
    let controller = child.id();
    signal(controller, Signal::INT);
    assert_eq!(child.end().0, Some(130));
    assert_eq!(roles_of(controller), []);
}
