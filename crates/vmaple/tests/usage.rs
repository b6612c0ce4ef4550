//! Help, bad input and exit codes: nothing here makes any load.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use running::{outcome, vmaple, vmaple_with};

/// Expects an exit code and a part of standard error, and nothing on standard
/// output.
fn refused(args: &str, code: i32, part: &str) {
    let (got, out, err) = outcome(vmaple(args));
    assert_eq!(got, code, "vmaple {args}: {err}");
    assert!(err.contains(part), "vmaple {args}: no '{part}' in: {err}");
    assert_eq!(out, "", "vmaple {args}");
}

#[test]
fn values_out_of_range_are_usage_errors_that_say_what_would_do() {
    refused("repro --file smap", 2, "use one of maps, smaps");
    refused("repro --busy -1", 2, "-1");
    refused("repro --busy 1,x", 2, "expected a whole number");
    refused("repro --samples 99999999999", 2, "out of range");
    refused("repro --busy 20000", 2, "at most 10000");
    refused("repro --samples 0", 2, "--samples 0: 1 to 10000");
    refused("repro --duration 1ms", 2, "100ms to 1h");
    refused("repro --duration 3", 2, "--duration");
    refused("repro --region 5", 2, "whole pages");
    refused("repro --region 1TiB", 2, "vm.max_map_count");
    refused("repro --slice nice=77", 2, "outside -20..19");
    refused("repro --slice quota=2ms", 2, "needs a period");
    refused("repro --preset long", 2, "check, test, talk");
    refused("repro --fail-above fast", 2, "--fail-above");
    refused("frobnicate", 2, "frobnicate");
}

#[test]
fn what_a_target_does_not_have_is_a_usage_error_that_says_what_does() {
    refused("repro --target v5.5", 2, "use one of kernel, v5.4, v6.17, maple");
    refused(
        "repro --target maple --file numa_maps",
        2,
        "the models have no numa_maps; take some of maps, smaps, smaps_rollup, pagemap",
    );
    refused("repro --target v5.4 --file none", 2, "the control none is the kernel's");
    refused("repro --target v5.4 --slice cpuset", 2, "take nice=N");
    refused(
        "repro --target kernel,maple --freeze",
        2,
        "cannot be stopped inside the kernel's read",
    );
    refused("repro --freeze --file procmap-query", 2, "cannot be stopped");
}

#[test]
fn scanners_other_than_proc_are_of_maps_and_smaps_of_the_kernels_processes() {
    refused("repro --scanner fast", 2, "use one of proc, bpf, boosted");
    refused("repro --file pagemap --scanner bpf", 2, "pagemap is read by proc alone");
    refused(
        "repro --file smaps --scanner boosted --target maple",
        2,
        "--target maple: smaps-boosted reads real processes, not models",
    );
    refused(
        "repro --file smaps --scanner proc,bpf --freeze",
        2,
        "take --scanner proc",
    );
    refused(
        "repro --file smaps --scanner bpf --freeze --target v5.4",
        2,
        "take --scanner proc",
    );
    for (args, files) in [
        (
            "--file smaps,none --scanner proc,boosted",
            "targets kernel; files smaps, smaps-boosted, none;",
        ),
        (
            "--file maps,smaps --scanner boosted",
            "targets kernel; files maps-boosted, smaps-boosted;",
        ),
        // What is read by read(2) alone stands beside.
        (
            "--file pagemap,maps --scanner proc,boosted",
            "files pagemap, maps, maps-boosted;",
        ),
        ("--file maps,maps-boosted --scanner proc", "files maps, maps-boosted;"),
        (
            "--file maps --scanner proc",
            "targets kernel, v5.4, v6.17, maple; files maps;",
        ),
    ] {
        let (code, _, err) = outcome(vmaple(&format!("repro --dry-run {args}")));
        if code == 77 {
            println!("skipped: {err}");
            continue;
        }
        assert!(code == 0 && err.contains(files), "{args}: {err}");
    }
}

#[test]
fn without_a_choice_the_targets_are_those_that_have_all_that_is_asked_for() {
    for (args, targets) in [
        ("--file maps", "targets kernel, v5.4, v6.17, maple;"),
        (
            "--file smaps,smaps_rollup,pagemap,none",
            "targets kernel, v5.4, v6.17, maple;",
        ),
        ("--file numa_maps", "targets kernel;"),
        ("--freeze --file pagemap", "targets v5.4, v6.17, maple;"),
    ] {
        let (code, _, err) = outcome(vmaple(&format!("repro --dry-run {args}")));
        assert!(code == 0 && err.contains(targets), "{args}: {err}");
    }
}

#[test]
fn cpus_that_do_not_exist_or_would_show_nothing_are_usage_errors() {
    refused("repro --cpu-mapper 4095", 2, "no such CPU here");
    refused("repro --cpu-busy 4095", 2, "no such CPU here");
    refused("repro --cpu-controller 4095", 2, "no such CPU here");
    refused("repro --busy-cpus 4095", 2, "can be busy");
    refused("repro --cpu-mapper 0 --cpu-busy 0", 2, "not for the lock");
}

#[test]
fn one_cpu_is_told_and_counts_as_not_possible() {
    // The affinity of this thread passes on to what it starts.
    let mut one = rustix::thread::CpuSet::new();
    one.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    refused("repro", 77, "this process may use 1 CPU");
}

#[test]
fn a_limit_that_forbids_the_processes_is_told_before_any_starts() {
    let (code, out, err) = outcome(vmaple("repro --busy 10000 --dry-run"));
    // A machine that could run 20000 processes says its plan instead.
    if code == 0 {
        assert!(err.contains("10000 scanners"), "{err}");
    } else {
        assert_eq!((code, out.as_str()), (77, ""));
        assert!(err.contains("level 10000 needs"), "{err}");
    }
}

#[test]
fn an_export_that_cannot_be_written_is_refused_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    for option in ["--export-json", "--export-csv", "--export-markdown", "--export-svg"] {
        for path in ["{}", "{}/missing/file"] {
            let (code, out, err) = outcome(vmaple_with(&format!("repro {option} {path}"), dir.path()));
            assert_eq!((code, out.as_str()), (2, ""), "{err}");
            assert!(err.contains("cannot write to"), "{err}");
            assert!(!err.contains("Plan:"), "the run was planned already: {err}");
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    refused("repro --export-json - --export-csv -", 2, "two exports to -");
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    let (code, _, err) = outcome(vmaple_with("repro --export-svg {}/link", dir.path()));
    assert!(code == 2 && err.contains("a link to nothing"), "{err}");
}

#[test]
fn a_dry_run_prints_the_plan_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = outcome(vmaple_with("repro --dry-run --export-json {}/a.json", dir.path()));
    assert_eq!((code, out.as_str()), (0, ""));
    // With the BPF scan where it is possible.
    let plan = |runs: u32, scans: &str| {
        format!(
            "{runs} runs of 700ms (targets kernel, v5.4, v6.17, maple; files maps, smaps, none{scans}; levels 0, 1, 10; 3 samples)"
        )
    };
    let plans = [plan(78, ", maps-bpf, smaps-bpf"), plan(66, "")];
    assert!(plans.iter().any(|plan| err.contains(plan)), "{err}");
    assert!(err.contains("at most 10 scanners (nice=15)"), "{err}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn reports_that_are_missing_cut_short_or_foreign_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    let compare = |text: &str, part: &str| {
        std::fs::write(&file, text).unwrap();
        let (code, out, err) = outcome(vmaple_with("compare {}", &file));
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(part) && err.contains("a.json"), "{err}");
    };
    compare("", "cut short");
    compare("{\"schema\":\"vmaple-repro/1\",\"ver", "cut short");
    compare("{\"results\": []}", "no report of vmaple repro");
    compare("{\"schema\":\"vmaple-repro/2\"}", "vmaple-repro/2");
    compare("{\"schema\":\"vmaple-repro/1\"}", "missing field");
    compare("<html>", "expected value");
    refused("compare /nonexistent.json", 1, "No such file");
    refused("compare", 2, "FILE.json");
}

#[test]
fn a_role_without_a_specification_is_a_usage_error() {
    refused("__role", 2, "vmaple starts its own processes");
    refused("__role {}", 2, "vmaple starts its own processes");
}

#[test]
fn short_help_fits_a_screen_and_long_help_has_groups_defaults_and_examples() {
    for args in ["-h", "repro -h", "scan -h", "compare -h", "doctor -h"] {
        let mut command = vmaple(args);
        command.env("COLUMNS", "100");
        let (code, out, _) = outcome(command);
        assert_eq!(code, 0);
        assert!(
            out.lines().count() <= 40,
            "vmaple {args}: {} lines",
            out.lines().count()
        );
        assert!(out.lines().all(|l| l.chars().count() <= 100), "{out}");
    }
    let (_, out, _) = outcome(vmaple("scan --help"));
    for part in [
        "Possible values:",
        "[default: auto]",
        "[default: 200us]",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(out.contains(part), "no {part}");
    }
    let (_, out, _) = outcome(vmaple("repro --help"));
    for part in [
        "Workload:",
        "Placement:",
        "Output:",
        "Limits:",
        "[default: 128MiB]",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(out.contains(part), "no {part}");
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_same_definitions() {
    let (code, out, _) = outcome(vmaple("completions bash"));
    assert!(code == 0 && out.contains("--export-svg") && !out.contains("__role"));
    assert!(out.contains("vmaple,scan)") && out.contains("--budget"), "{out}");
    let (code, out, _) = outcome(vmaple("man"));
    assert!(code == 0 && out.starts_with(".ie") && out.contains("vmaple"));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(outcome(vmaple_with("man {}", dir.path())).0, 0);
    let read = |page: &str| std::fs::read_to_string(dir.path().join(page)).unwrap();
    assert_eq!(read("vmaple.1"), out);
    // The page names others, which are there.
    let pages: Vec<_> = out.lines().filter_map(|line| line.strip_suffix("(1)")).collect();
    assert_eq!(
        pages.len() + 1,
        std::fs::read_dir(dir.path()).unwrap().count(),
        "{pages:?}"
    );
    for page in pages {
        let text = read(&format!("{}.1", page.replace('\\', "")));
        let title = text.lines().find(|line| line.starts_with(".TH ")).unwrap();
        assert!(
            title.contains(concat!("\"vmaple ", env!("CARGO_PKG_VERSION"), "\"")),
            "{title}"
        );
    }
    assert!(read("vmaple-scan.1").contains("[\\fIPID\\fR]"));
    let scan = std::fs::read_to_string(dir.path().join("vmaple-scan.1")).unwrap();
    assert!(
        scan.contains("prometheus") && scan.contains("not with these rights"),
        "{scan}"
    );
}

#[test]
fn doctor_answers_without_load() {
    let (code, out, err) = outcome(vmaple("doctor"));
    assert_eq!(code, 0, "{err}");
    for part in [
        "Linux",
        "This machine",
        "scan by bpf ",
        "scan boosted ",
        "scan without --method ",
        "real-time class",
        "slice quota=2ms/100ms",
        "/dev/fuse",
        "Noise floor",
    ] {
        assert!(out.contains(part), "no {part} in {out}");
    }
    // Where the tracepoint is available, smaps_rollup takes the lock once on every kernel so far,
    // and statm never.
    if !out.contains("not measured") {
        assert!(out.contains("none (statm)        0 in   1 calls"), "{out}");
        assert!(out.contains("smaps_rollup        1 in   1 calls"), "{out}");
        // Where it is possible, the scan takes none.
        for name in ["maps-bpf", "smaps-bpf"] {
            let line = out
                .lines()
                .find(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert_eq!(line.is_some(), out.contains("scan by bpf            possible"), "{out}");
            assert!(
                line.is_none_or(|line| line.contains(&format!("{name:<18}  0 in "))),
                "{out}"
            );
        }
    }
}

#[test]
fn doctor_says_in_json_whether_a_scan_is_possible_and_in_its_exit_code_too() {
    let (code, out, err) = outcome(vmaple("doctor --json"));
    let found: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    assert_eq!(found["schema"], "vmaple-doctor/1");
    let bpf = &found["scan"][0];
    assert_eq!(bpf["method"], "bpf");
    assert_eq!(code, if bpf["is_possible"] == true { 0 } else { 77 }, "{out}");
    assert_eq!(bpf["why"].is_null(), bpf["is_possible"] == true, "{out}");
    assert!(found["locks"].is_array() != found["locks_why"].is_string(), "{out}");
    assert!(found["machine"]["release"].is_string(), "{out}");
}
