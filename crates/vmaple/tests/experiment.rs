//! Real, short experiments: the order of the start, the hang rule, what is printed and saved.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;

use running::{experiment, load, outcome, roles_of, start_and_wait_for_roles, vmaple, vmaple_with, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use vmaple_repro::plan::{HANG_GRACE_NS, ProcFile, Reading, SETTLE_NS, Scanner};
use vmaple_repro::report::{Json, Report};

#[test]
fn mapper_then_scanners_then_a_second_later_busy_tasks_then_go() {
    let dir = tempfile::tempdir().unwrap();
    let args = "repro --target kernel --busy 0,3 --samples 1 --file maps";
    let is_enough = |report: &Report| {
        report.samples.iter().all(|sample| {
            let faults = sample.faults.as_ref().unwrap();
            faults.mapped.count > 0 && faults.fresh.count > 0
        })
    };
    let (report, ..) = experiment(args, dir.path(), is_enough).unwrap();
    let [alone, loaded] = report.samples.as_slice() else {
        panic!("{} samples", report.samples.len());
    };
    assert_eq!((alone.file, alone.busy, alone.scans), (None, 0, 0));
    assert!(alone.operations > 0);
    assert_eq!((loaded.file, loaded.busy), (Some(Reading::MAPS), 3));
    let t = loaded.timeline;
    // All times are after the mapper mapped its region.
    assert!(t.scanners_go_ns > 0, "{t:?}");
    assert!(t.first_scan_ns >= t.scanners_go_ns, "{t:?}");
    assert!(t.busy_go_ns >= t.scanners_go_ns + SETTLE_NS, "{t:?}");
    assert!(t.busy_up_ns >= t.busy_go_ns, "{t:?}");
    assert!(t.first_call_ns >= t.busy_up_ns, "{t:?}");
    // And so the figures of a run are those of its calls.
    for sample in &report.samples {
        assert_eq!(sample.calls.count, sample.operations);
        assert_eq!(sample.maps + sample.unmaps, sample.operations);
        assert_eq!(sample.worst_ns, Some(sample.calls.max_ns));
    }
}

#[test]
fn a_mapper_that_is_not_done_five_seconds_late_is_a_hang_and_its_interferers_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("hang.json");
    let args = format!(
        "repro --busy 1 --samples 1 --duration 300ms --file none --details --fail-on-hang --export-json {}",
        json.display()
    );
    let child = start_and_wait_for_roles(&args, 3);
    let role = |name: &str| roles_of(child.id()).into_iter().find(|(_, spec)| spec.contains(name));
    let (mapper, _) = role("\"mapper\":{").unwrap();
    let mapper = Pid::from_raw(mapper).unwrap();
    // A stopped mapper stands for one that waits for a lock.
    kill_process(mapper, Signal::STOP).unwrap();
    wait_until("the interferers to be killed", || {
        role("\"busy\":{").is_none() && role("\"scanner\":{").is_none()
    });
    assert!(role("\"mapper\":{").is_some(), "the mapper was killed too");
    kill_process(mapper, Signal::CONT).unwrap();
    let (code, text, _) = child.end();
    assert_eq!(code, Some(3), "--fail-on-hang");
    assert!(text.contains("    *1\n") && text.contains("  hangs\n"), "{text}");
    let report = load(&json);
    assert!(report.samples[0].hang);
    // It was stopped before the go, and went on after the kill.
    let t = report.samples[0].timeline;
    assert!(t.first_call_ns >= t.busy_up_ns + HANG_GRACE_NS, "{t:?}");
}

/// Kills a role while the first of two runs at level 2 goes on: exit code 1, the run before it is
/// reported.
fn killed(role: &str, expected: &str) {
    let child = start_and_wait_for_roles(
        "repro --target kernel --busy 0,2 --samples 1 --duration 4s --file maps --details",
        5,
    );
    let controller = child.id();
    let roles = roles_of(controller);
    let (pid, _) = roles.iter().find(|(_, spec)| spec.contains(role)).unwrap();
    kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL).unwrap();
    let (code, out, err) = child.end();
    assert_eq!(code, Some(1));
    assert!(
        err.contains(&format!("{expected} (PID {pid}): it was killed by signal 9")),
        "{err}"
    );
    assert!(
        err.contains("those of the 1 runs before") && out.contains("\n    0 "),
        "{out}{err}"
    );
    assert_eq!(roles_of(controller), []);
}

#[test]
fn a_mapper_that_dies_fails_its_run_but_not_the_ones_before() {
    killed("\"mapper\":{", "the mapper");
}

#[test]
fn a_scanner_or_busy_task_that_dies_fails_its_run_rather_than_look_starved() {
    killed("\"scanner\":{", "a scanner or busy task");
    killed("\"busy\":{", "a scanner or busy task");
}

#[test]
fn results_go_to_standard_output_or_to_the_files_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let args = "repro --target kernel --busy 0,1 --samples 2 --duration 150ms --file none,maps --details \
                --export-csv {}/a.csv --export-markdown {}/a.md --export-svg {}/a.svg --export-json {}/a.json";
    let (code, out, err) = outcome(vmaple_with(args, dir.path()));
    assert_eq!(code, 0, "{err}");
    for part in [
        "/proc/PID/maps | mapper CPU",
        "#Busy    Median   Minimum   Maximum #Hangs\n    0 ",
        "Noise floor: longest gap",
    ] {
        assert!(out.contains(part), "no '{part}' in {out}");
    }
    assert!(
        err.contains("Plan: 6 runs") && err.contains("warning: 2 samples"),
        "{err}"
    );
    let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("a.csv").lines().count(), 7);
    assert!(read("a.md").contains("| #busy |") && read("a.svg").ends_with("</svg>\n"));
    let report = load(&dir.path().join("a.json"));
    assert_eq!(report.samples.len(), 6);
    // Samples of all kinds are interleaved, the seeds go with the sample.
    let order: Vec<_> = report.samples.iter().map(|s| (s.sample, s.busy, s.seed)).collect();
    assert_eq!(
        order,
        [(0, 0, 1), (0, 1, 1), (0, 1, 1), (1, 0, 2), (1, 1, 2), (1, 1, 2)]
    );

    // The saved run can be compared with itself, and drawn.
    let args = "compare {}/a.json {}/a.json --export-svg {}/b.svg --export-markdown {}/b.md";
    let (code, out, err) = outcome(vmaple_with(args, dir.path()));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("maps #1 a") && out.contains("none #2 a"), "{out}");
    assert_eq!(out.matches("Noise floor").count(), 2, "{out}");
    assert!(read("b.svg").contains("none #1 a") && read("b.md").contains("| 1 |"));

    // Only whole files, under their own names.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6);
}

#[test]
fn json_on_standard_output_is_alone_there() {
    let (code, out, err) = outcome(vmaple(
        "repro --target kernel --busy 0 --samples 1 --duration 100ms --export-json -",
    ));
    assert_eq!(code, 0, "{err}");
    assert_eq!(Json::read(&out).unwrap().samples.len(), 1);
}

#[test]
fn a_worst_case_above_the_limit_exits_with_3() {
    let args = "repro --target kernel --file maps --busy 0 --samples 1 --duration 100ms --fail-above";
    assert_eq!(outcome(vmaple(&format!("{args} 1ns"))).0, 3);
    assert_eq!(outcome(vmaple(&format!("{args} 1h"))).0, 0);
}

#[test]
fn every_file_of_this_kernel_can_be_scanned() {
    for file in Reading::ALL {
        let dir = tempfile::tempdir().unwrap();
        let args = format!("repro --target kernel --busy 1 --samples 1 --fragment 100 --file {file}");
        let is_enough = |report: &Report| report.samples[0].longest_scan_ns > 0;
        let Some((report, ..)) = experiment(&args, dir.path(), is_enough) else {
            continue;
        };
        let sample = &report.samples[0];
        // A kernel may show lines that overlap.
        assert_eq!(
            sample.misreads.is_some(),
            file.content().is_some_and(ProcFile::is_of_models),
            "{file}"
        );
        assert!(
            file.scanner() != Scanner::Bpf || sample.misreads.is_some_and(|misreads| misreads.overlaps == 0),
            "{file}: {:?}",
            sample.misreads
        );
        assert!(
            sample
                .misreads
                .is_none_or(|misreads| misreads.misses == 0 && misreads.torn == 0),
            "{file}"
        );
        // Fragments are not counted as operations of the run.
        assert!(
            sample.operations > 0 && sample.operations == sample.calls.count,
            "{file}"
        );
    }
}

#[test]
fn scanners_of_all_kinds_stand_side_by_side_in_every_form_of_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let args = "repro --busy 0,1 --samples 1 --file smaps,none --scanner proc,bpf,boosted --details \
                --export-csv {}/a.csv --export-markdown {}/a.md --export-svg {}/a.svg";
    let is_enough = |report: &Report| {
        let mut scanned = report.samples.iter().filter(|sample| sample.busy > 0);
        scanned.all(|sample| sample.longest_scan_ns > 0)
    };
    let Some((report, out, _)) = experiment(args, dir.path(), is_enough) else {
        return;
    };
    for part in [
        "| /proc/PID/smaps |",
        "| /proc/PID/smaps by the BPF scan (takes no lock) |",
        "| /proc/PID/smaps, one mapping a read at real-time priority |",
        "| /proc/PID/statm (takes no lock: the control) |",
    ] {
        assert!(out.contains(part), "no '{part}' in {out}");
    }
    let labels = [
        "",
        "kernel smaps",
        "kernel smaps-bpf",
        "kernel smaps-boosted",
        "kernel none",
    ];
    let is_side_by_side = |line: &str| line.split('|').map(str::trim).eq(labels);
    assert!(out.lines().any(is_side_by_side), "{out}");
    // In this order, with the nobody of all of them at level 0.
    let files: Vec<_> = report
        .samples
        .iter()
        .map(|s| s.file.map_or("nobody", Reading::name))
        .collect();
    assert_eq!(files, ["nobody", "smaps", "smaps-bpf", "smaps-boosted", "none"]);
    let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
    for name in ["a.csv", "a.svg"] {
        assert!(
            read(name).contains("smaps-bpf") && read(name).contains("smaps-boosted"),
            "{name}"
        );
    }
    assert!(read("a.md").contains("by the BPF scan") && read("a.md").contains("at real-time priority"));
    let (code, out, err) = outcome(vmaple_with("compare {}/a.json {}/a.json", dir.path()));
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("smaps-bpf #1 a") && out.contains("smaps-boosted #2 a"),
        "{out}"
    );
}

#[test]
fn busy_tasks_sleep_by_turns_when_they_are_told_to() {
    // Longer than it takes on a machine with any load; it is ended before.
    let args = "repro --busy 1 --samples 1 --duration 10m --file none --busy-duration 1ms";
    let child = start_and_wait_for_roles(args, 3);
    let (busy, _) = roles_of(child.id())
        .into_iter()
        .find(|(_, spec)| spec.contains("\"busy\":{"))
        .unwrap();
    // One that only spins sleeps a few times before it begins.
    wait_until("the busy task to have slept", || {
        let status = fs::read_to_string(format!("/proc/{busy}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches"));
        let sleeps = line.and_then(|l| l.split_once(':')?.1.trim().parse::<u64>().ok());
        sleeps.unwrap() > 100
    });
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert_eq!(child.end().0, Some(130));
}
