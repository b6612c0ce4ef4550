//! `vmaple scan --format prometheus`, and results in a file.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use running::exposition::Exposition;
use running::scan::{Killed, copy_program, found, methods, proc_file, scan, sleep};
use running::{Running, outcome, vmaple, vmaple_with, wait_until};

fn parsed(text: &str) -> Exposition {
    Exposition::parse(text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"))
}

#[test]
fn the_reader_of_these_tests_refuses_what_is_no_exposition() {
    let family = "# HELP a Some.\n# TYPE a gauge\na{pid=\"1\",x=\"\\\\ \\\" \\n\"} 1\na{pid=\"2\",x=\"\"} 2e3\n";
    let read = parsed(family);
    assert_eq!(read.of("a")[0].label("x"), Some("\\ \" \n"));
    assert_eq!(read.value("a", 2), Some(2000.0));
    for wrong in [
        family.repeat(2),
        family.trim_end().to_owned(),
        family.replace("# TYPE a gauge\n", ""),
        family.replace("# HELP a Some.\n", ""),
        family.replace("pid=\"2\",x=\"\"", "x=\"\\\\ \\\" \\n\",pid=\"1\""),
        family.replace("} 1\n", "} 1 5\n"),
        family.replace("} 1\n", "} one\n"),
        family.replace("\\\\", "\\"),
        family.replace("\\\"", "\""),
        family.replace("a{pid=\"2\"", "b{pid=\"2\""),
        family.replace("x=\"\"", "pid=\"2\""),
        family.replace("x=\"\"", "1x=\"\""),
        family.to_owned() + "# HELP b Some.\n# TYPE b gauge\n",
    ] {
        assert!(Exposition::parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn metrics_of_many_processes_stand_together_each_series_once_and_names_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a\"b\\c\nd");
    // coreutils in one file are called by their name.
    copy_program(&found("sleep"), &odd);
    let odd = Killed::sleep(Command::new(&odd).arg0("sleep"));
    let many: Vec<_> = (0..20).map(|_| sleep()).chain([odd]).collect();
    let many: Vec<_> = many.iter().collect();
    for args in ["", "--method counters"] {
        let (code, out, err) = scan(&many, &format!("--format prometheus {args}"));
        assert_eq!(code, 0, "{err}");
        let read = parsed(&out);
        assert_eq!(read.of("vmaple_process_rss_bytes").len(), many.len());
        assert_eq!(read.of("vmaple_up").len(), many.len());
        let last = read.of("vmaple_scan_info").last().unwrap();
        assert_eq!(last.label("comm"), Some("a\"b\\c\nd"), "{out}");
        for process in &many {
            let value = |name| read.value(name, process.pid());
            assert_eq!(value("vmaple_up"), Some(1.0));
            assert!(value("vmaple_process_rss_bytes") > Some(0.0));
            assert!(value("vmaple_process_start_time_seconds") > Some(1e9));
            assert!(value("vmaple_scan_mmap_lock_acquisitions").is_none_or(|n| n == 0.0));
        }
    }
}

#[test]
fn each_value_is_a_metric_of_its_own() {
    let target = sleep();
    for method in methods() {
        let (code, out, err) = scan(&[&target], &format!("--format prometheus --method {method}"));
        assert_eq!(code, 0, "{err}");
        let read = parsed(&out);
        for (name, line) in [
            ("rss", "Rss:"),
            ("anonymous", "Anonymous:"),
            ("private_dirty", "Private_Dirty:"),
            ("swap", "Swap:"),
        ] {
            let rollup = proc_file(&target, "smaps_rollup");
            let kernels = rollup.lines().find_map(|text| text.strip_prefix(line)).unwrap();
            let kernels: f64 = kernels.trim().strip_suffix(" kB").unwrap().parse().unwrap();
            let ours = read.value(&format!("vmaple_process_{name}_bytes"), target.pid());
            assert_eq!(ours, Some(kernels * 1024.0), "{method} {name}");
        }
        // A sum over sizes of different kinds says nothing.
        assert!(!out.contains("field=\"rss\""), "{out}");
    }
}

#[test]
fn a_process_that_cannot_be_scanned_is_down_with_the_reason() {
    let target = sleep();
    for args in ["", "--method counters"] {
        let pids = format!("{} 4294967295", target.pid());
        let (code, out, err) = outcome(vmaple(&format!("scan {pids} --format prometheus {args}")));
        assert_eq!(code, 1, "{err}");
        let read = parsed(&out);
        assert_eq!(read.value("vmaple_up", target.pid()), Some(1.0));
        assert_eq!(read.value("vmaple_up", u32::MAX), Some(0.0));
        let [failed] = read.of("vmaple_scan_failed") else {
            panic!("{out}");
        };
        assert_eq!(failed.label("pid"), Some("4294967295"));
        assert_eq!(failed.label("reason"), Some("no-process"));
    }
}

#[test]
fn rounds_of_metrics_need_a_file() {
    for output in ["", " --output -"] {
        let (code, out, err) = outcome(vmaple(&format!("scan 1 --format prometheus --every 1s{output}")));
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains("--output FILE"), "{err}");
    }
}

#[test]
fn each_round_of_metrics_replaces_the_file_by_a_valid_exposition() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vmaple.prom");
    let (a, b) = (sleep(), sleep());
    let (pid_a, pid_b) = (a.pid(), b.pid());
    let args = format!("scan {pid_a} {pid_b} --format prometheus --every 10ms --output {{}}");
    let mut running = Running::start(vmaple_with(&args, &file));
    let mut texts = vec![];
    let mut read_until = |what: &str, is_done: &dyn Fn(&Exposition) -> bool| {
        wait_until(what, || {
            assert!(!running.has_ended(), "it ended early");
            // What is there at any moment is a whole round.
            let Ok(text) = fs::read_to_string(&file) else {
                return false;
            };
            let read = parsed(&text);
            let done = is_done(&read);
            texts.push(text);
            done
        });
        texts.dedup();
        texts.len()
    };
    let is_up = |read: &Exposition, pid| read.value("vmaple_up", pid);
    read_until("both", &|read| {
        is_up(read, pid_a) == Some(1.0) && is_up(read, pid_b) == Some(1.0)
    });
    drop(a);
    read_until("the first to be gone", &|read| {
        is_up(read, pid_a).is_none() && is_up(read, pid_b) == Some(1.0)
    });
    drop(b);
    let (code, out, err) = running.end();
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    let last = parsed(&fs::read_to_string(&file).unwrap());
    assert_eq!(is_up(&last, pid_b), Some(0.0));
    assert_eq!(last.of("vmaple_scan_failed")[0].label("reason"), Some("ended"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn any_form_can_go_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a");
    let (a, b) = (sleep(), sleep());
    for format in ["maps", "smaps", "rollup", "json", "prometheus"] {
        fs::write(&file, "old").unwrap();
        let args = format!("scan {} {} --format {format} --output {{}}", a.pid(), b.pid());
        let (code, out, err) = outcome(vmaple_with(&args, &file));
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        let text = fs::read_to_string(&file).unwrap();
        for process in [&a, &b] {
            assert!(text.contains(&process.pid().to_string()), "{text}");
        }
        assert!(!text.starts_with("old"));
    }
    let (code, _, err) = outcome(vmaple_with("scan 1 --output {}/missing/file", dir.path()));
    assert!(code == 2 && err.contains("cannot write to"), "{err}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_left_out_or_rounded_is_said_in_every_form() {
    if !methods().contains(&"boosted") {
        return;
    }
    let target = sleep();
    // One mapping a read: the kernel has the proportional sizes of a kind in the roll-up alone.
    let run = |args: &str| {
        let (code, out, err) = scan(&[&target], &format!("--method boosted {args}"));
        assert_eq!(code, 0, "{err}");
        (out, err)
    };
    let (out, err) = run("--format prometheus");
    let read = parsed(&out);
    let reasons: Vec<_> = read
        .of("vmaple_scan_left_out")
        .iter()
        .map(|sample| (sample.label("field").unwrap(), sample.label("why").unwrap()))
        .collect();
    assert!(reasons.contains(&("pss_anon", "sum-alone")), "{out}");
    assert!(
        read.value("vmaple_process_pss_anon_bytes", target.pid()).is_none(),
        "{out}"
    );
    assert!(
        read.value("vmaple_scan_rounded_bytes", target.pid()) > Some(0.0),
        "{out}"
    );
    assert_eq!(err, "");

    let (out, _) = run("--format json");
    let report = &serde_json::from_str::<serde_json::Value>(&out).unwrap()["report"];
    let left_out = report["left_out"].as_array().unwrap();
    assert!(
        left_out
            .iter()
            .any(|one| one["field"] == "pss_anon" && one["why"] == "sum-alone"),
        "{report}"
    );
    assert!(report["rounded"]["at_most_bytes"].as_u64() > Some(0), "{report}");

    let (_, err) = run("--format rollup --quiet");
    assert!(
        err.contains("LEFT OUT: Pss_Anon, Pss_File, Pss_Shmem of the sum (") && err.contains("ROUNDED: "),
        "{err}"
    );

    // Of what nobody asked for nothing is left out.
    let (out, err) = run("--format prometheus --fields anonymous,swap --quiet");
    assert!(
        !out.contains("left_out") && !out.contains("rounded") && err.is_empty(),
        "{out}{err}"
    );
    let (_, err) = run("--format rollup --fields anonymous --quiet");
    assert_eq!(err, "");
    let (_, err) = run("--quiet");
    assert_eq!(err, "");
}
