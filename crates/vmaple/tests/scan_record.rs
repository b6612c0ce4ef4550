//! `vmaple scan --perfetto` and `--heat-map`: files that all rounds go to.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;

use running::scan::{methods, sleep};
use running::{outcome, vmaple_with, wait_until};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn rounds_go_to_a_trace_and_a_picture_next_to_what_is_printed() {
    let target = sleep();
    for method in methods() {
        let dir = tempfile::tempdir().unwrap();
        let args = format!(
            "scan {} --method {method} --every 10ms --format rollup --perfetto {{}}/a.pftrace --heat-map {{}}/a.svg",
            target.pid()
        );
        let running = running::Running::start(vmaple_with(&args, dir.path()));
        let bytes = |name: &str| fs::metadata(dir.path().join(name)).map_or(0, |meta| meta.len());
        // A trace grows; a picture is drawn again at the end.
        wait_until("two rounds", || bytes("a.pftrace") > 0 && bytes("a.svg") > 0);
        let first = bytes("a.pftrace");
        wait_until("another round", || bytes("a.pftrace") > first);
        kill_process(Pid::from_raw(running.id().cast_signed()).unwrap(), Signal::INT).unwrap();
        let (code, out, _) = running.end();
        assert_eq!(code, Some(130));
        assert!(out.contains("[rollup]"), "{out}");
        let svg = fs::read_to_string(dir.path().join("a.svg")).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        let title = format!("sleep {}: resident memory over ", target.pid());
        assert!(svg.contains(&title) && svg.contains("[stack]"), "{svg}");
        let trace = fs::read(dir.path().join("a.pftrace")).unwrap();
        assert!(trace.windows(7).any(|text| text == b"[stack]"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_recording_that_cannot_be_made_is_refused_before_the_first_round() {
    let (target, other) = (sleep(), sleep());
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &str, why: &str| {
        let (code, out, err) = outcome(vmaple_with(&format!("scan {args}"), &dir.path().join("a")));
        assert!(
            code == 2 && out.is_empty() && err.contains(why),
            "{args}: {code}, {err}"
        );
    };
    for (args, why) in [
        ("--heat-map -", "standard output has what --format prints"),
        (
            "--perfetto /no-such-directory/a",
            "cannot write to /no-such-directory/a",
        ),
        ("--perfetto {} --heat-map {}", "give each its own file"),
        ("--perfetto {} --cpu 5ms", "cannot be used with"),
        (
            "--heat-map {} --method counters --format rollup",
            "are made of mappings",
        ),
    ] {
        refused(&format!("{} {args}", target.pid()), why);
    }
    refused(
        &format!("{} {} --heat-map {{}}", target.pid(), other.pid()),
        "the number of one process",
    );
    refused("--all --heat-map {}", "cannot be used with");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_printed_is_the_same_with_a_recording() {
    let target = sleep();
    let dir = tempfile::tempdir().unwrap();
    // plain reads another file for mappings than for sums, and says what that lacks.
    for method in methods().into_iter().filter(|method| *method != "plain") {
        let keys = |args: &str| {
            let args = format!("scan {} --method {method} --format json --sums {args}", target.pid());
            let (code, out, err) = outcome(vmaple_with(&args, dir.path()));
            assert_eq!(code, 0, "{err}");
            let object: serde_json::Value = serde_json::from_str(&out).unwrap();
            let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            (keys(&object), keys(&object["sum"]))
        };
        let (of_all, of_sum) = keys("");
        let (recorded, of_recorded_sum) = keys("--perfetto {}/a.pftrace");
        assert_eq!((&of_all, of_sum), (&recorded, of_recorded_sum), "{method}");
        assert!(!of_all.contains(&"mappings".to_owned()));
    }
}
