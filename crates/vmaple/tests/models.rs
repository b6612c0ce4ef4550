//! Real, short experiments on models: the same order and rules as with the kernel's processes, in
//! threads.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;

use running::{experiment, load, outcome, roles_of, start_and_wait_for_roles, vmaple_with, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use vmaple_repro::plan::{Reading, SETTLE_NS, Target};
use vmaple_repro::report::{Exporter, Json, Report};
use vmaple_repro::sample::Misreads;

const MODELS: [Target; 3] = [Target::V54, Target::V617, Target::Maple];

#[test]
fn models_run_in_the_talks_order_and_tell_what_a_kernel_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let args = "repro --target v5.4,v6.17,maple --file maps --busy 0,3 --samples 1 --region 4MiB --fragment 100 --details \
                --export-csv {}/a.csv --export-svg {}/a.svg --export-markdown {}/a.md";
    let is_enough = |report: &Report| {
        report.samples.iter().all(|sample| {
            let faults = sample.faults.as_ref().unwrap();
            // Beside readers its first fault may wait for as long as it has.
            let faulted = faults.mapped.count > 0 && (faults.fresh.count > 0 || sample.busy > 0);
            faulted && (sample.busy == 0 || sample.longest_scan_ns > 0)
        })
    };
    let (report, out, _) = experiment(args, dir.path(), is_enough).unwrap();
    assert_eq!(Json::read(&Json.export(&report).unwrap()).unwrap(), report);
    let order: Vec<_> = report.samples.iter().map(|s| (s.busy, s.target)).collect();
    let expected = [0, 3].into_iter().flat_map(|busy| MODELS.map(|target| (busy, target)));
    assert!(order.iter().copied().eq(expected), "{order:?}");
    for sample in &report.samples {
        assert!(sample.operations > 0 && !sample.hang);
        assert_eq!(sample.calls.count, sample.operations);
        assert_eq!(sample.maps + sample.unmaps, sample.operations);
        let model = sample.model.as_ref().unwrap();
        // Each call takes the lock; fragments are not counted.
        assert!(model.held.count >= sample.operations && model.held.count < sample.operations + 100);
    }
    for sample in &report.samples[3..] {
        let t = sample.timeline;
        assert!(t.scanners_go_ns > 0 && t.first_scan_ns >= t.scanners_go_ns, "{t:?}");
        assert!(t.busy_go_ns >= t.scanners_go_ns + SETTLE_NS, "{t:?}");
        assert!(t.busy_up_ns >= t.busy_go_ns && t.first_call_ns >= t.busy_up_ns, "{t:?}");
    }
    for part in [
        "maps of the model v5.4 | mapper CPU",
        "maps of the model v6.17 |",
        "maps of the model maple |",
        "The writers' lock",
        "v5.4 maps               |             v6.17 maps              |             maple maps",
        "#Busy |   Median   Minimum   Maximum #Hangs |   Median   Minimum   Maximum #Hangs |   Median",
    ] {
        assert!(out.contains(part), "no '{part}' in {out}");
    }
    let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("a.csv").contains("\nv6.17,maps,3,") && read("a.md").contains("model maple"));
    assert!(read("a.svg").contains("maple maps"));
    let (code, out, err) = outcome(vmaple_with("compare {}/a.json", dir.path()));
    assert!(code == 0 && out.contains("v5.4 maps"), "{out}{err}");
}

#[test]
fn each_file_of_each_model_shows_what_is_so() {
    let dir = tempfile::tempdir().unwrap();
    let args = "repro --target v5.4,v6.17,maple --file maps,smaps,smaps_rollup,pagemap --busy 1 --samples 1 \
                --region 1MiB --fragment 100 --details";
    let is_enough = |report: &Report| report.samples.iter().all(|sample| sample.longest_scan_ns > 0);
    let (report, out, _) = experiment(args, dir.path(), is_enough).unwrap();
    let files = Reading::ALL.into_iter().filter(|file| file.is_of_models());
    let expected = MODELS
        .into_iter()
        .flat_map(|target| files.clone().map(move |file| (target, Some(file))));
    assert!(report.samples.iter().map(|s| (s.target, s.file)).eq(expected));
    for sample in &report.samples {
        assert!(sample.operations > 0 && !sample.hang);
        assert_eq!(
            sample.misreads,
            Some(Misreads::default()),
            "{} {:?}",
            sample.target,
            sample.file
        );
    }
    for part in [
        "smaps_rollup of the model v5.4 (page by page)",
        "smaps of the model maple (page tables by their counters)",
        "pagemap of the model v6.17 |",
    ] {
        assert!(out.contains(part), "no '{part}' in {out}");
    }
}

#[test]
fn a_reader_that_stopped_makes_kernels_hang_and_maple_not() {
    // v5.4 reads both files under the same lock.
    frozen(&MODELS, "maps");
    frozen(&MODELS[1..], "smaps");
}

/// Runs an experiment in which all readers of a file of these models are stopped in a read.
fn frozen(targets: &[Target], file: &str) {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("a.json");
    let names: Vec<_> = targets.iter().map(ToString::to_string).collect();
    let args = format!(
        "repro --freeze --details --target {} --file {file} --busy 2 --samples 1 --duration 200ms --region 16MiB \
         --export-json {{}}",
        names.join(",")
    );
    let (code, out, err) = outcome(vmaple_with(&args, &json));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("frozen in a read") && out.contains(" >="), "{out}");
    let report = load(&json);
    assert!(report.samples.iter().map(|s| s.target).eq(targets.iter().copied()));
    for sample in &report.samples {
        assert!(sample.scans == 0 && sample.misreads.is_none() && sample.longest_scan_ns > 0);
        let model = sample.model.as_ref().unwrap();
        let faults = sample.faults.as_ref().unwrap();
        if sample.target == Target::Maple {
            assert!(!sample.hang && !sample.cut_short && sample.operations > 1, "{sample:?}");
            assert!(model.writer_waits == 0 && model.oldest_section_eras > 0 && model.deferred_bytes > 0);
            // One may be on its way at the end, in a thread that was kept from its CPU. But none
            // waited for the readers: others came after it.
            assert!(faults.mapped.count + faults.fresh.count > 1, "{faults:?}");
            continue;
        }
        // Its first call waited until the readers were let go: its true length is unknown.
        assert!(sample.hang && sample.cut_short && sample.operations == 1, "{sample:?}");
        if sample.target == Target::V54 {
            // Thread B waits behind the mapper, wherever it comes first.
            assert_eq!(model.writer_waits, 1);
            assert!(faults.mapped_cut_short != faults.fresh_cut_short);
        }
    }
    assert!(!err.contains("preempted") && !err.contains("starved"), "{err}");
}

#[test]
fn threads_of_a_model_are_placed_as_processes_are() {
    let child = start_and_wait_for_roles("repro --target v5.4 --busy 2 --samples 1 --duration 10m", 1);
    let (model, spec) = roles_of(child.id()).remove(0);
    assert!(spec.contains("\"v5.4\""), "{spec}");
    let thread = |task: fs::DirEntry| {
        let read = |name| fs::read_to_string(task.path().join(name)).ok();
        let status = read("status")?;
        let cpus = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
        // The nineteenth field of all, of which the second is the name in parentheses.
        let nice = read("stat")?.rsplit_once(')')?.1.split_whitespace().nth(16)?.to_owned();
        Some(format!("{} {} {nice}", read("comm")?.trim(), cpus.trim()))
    };
    let cpus = vmaple_repro::machine::sched::allowed_cpus().unwrap();
    let (mapper, busy) = (cpus[0], cpus[cpus.len() - 1]);
    let busy_task = format!("vmaple-busy {busy} 0");
    let scanner = format!("vmaple-scanner {busy} 15");
    let expected = [
        &busy_task,
        &busy_task,
        &format!("vmaple-faults {mapper} 0"),
        &format!("vmaple-mapper {mapper} 0"),
        &scanner,
        &scanner,
    ];
    wait_until("its threads to be placed", || {
        let tasks = fs::read_dir(format!("/proc/{model}/task")).unwrap();
        let mut threads: Vec<_> = tasks.flatten().filter_map(thread).collect();
        threads.sort_unstable();
        threads.iter().eq(expected)
    });
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert_eq!(child.end().0, Some(130));
}

#[test]
fn a_model_that_dies_fails_its_run() {
    let child = start_and_wait_for_roles("repro --target maple --busy 2 --samples 1 --duration 10m", 1);
    let controller = child.id();
    let (model, _) = roles_of(controller).remove(0);
    kill_process(Pid::from_raw(model).unwrap(), Signal::KILL).unwrap();
    let (code, _, err) = child.end();
    assert_eq!(code, Some(1));
    assert!(
        err.contains(&format!("running the model (PID {model}): it was killed by signal 9")),
        "{err}"
    );
    assert_eq!(roles_of(controller), []);
}
