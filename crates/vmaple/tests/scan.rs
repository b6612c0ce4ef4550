//! `vmaple scan`: what it prints in each form, and what it says of how it read.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use running::scan::{Killed, Mapped, methods, proc_file, scan, sleep};
use running::{outcome, vmaple};
use serde_json::Value;

/// What of smaps is of this process alone: the rest changes with who shares the pages of files.
fn of_its_own(smaps: &str) -> Vec<&str> {
    let shared = [
        "Pss",
        "Shared",
        "Private_Clean",
        "Referenced",
        "SwapPss",
        "Locked",
        "THPeligible",
    ];
    smaps
        .lines()
        .filter(|line| !shared.iter().any(|name| line.starts_with(name)))
        .collect()
}

#[test]
fn each_method_prints_what_the_kernel_says_of_a_sleeping_process() {
    let target = sleep();
    for method in methods() {
        let (code, maps, err) = scan(&[&target], &format!("--format maps --method {method}"));
        assert_eq!((code, maps), (0, proc_file(&target, "maps")), "{method}: {err}");
        let (code, smaps, err) = scan(&[&target], &format!("--method {method}"));
        assert_eq!(code, 0, "{method}: {err}");
        let kernels = proc_file(&target, "smaps");
        let (ours, theirs) = (of_its_own(&smaps), of_its_own(&kernels));
        let difference = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert_eq!((difference, ours.len()), (None, theirs.len()), "{method}");
        let (code, rollup, err) = scan(&[&target], &format!("--format rollup --method {method}"));
        assert_eq!(code, 0, "{method}: {err}");
        let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        for name in ["Rss:", "Anonymous:", "Private_Dirty:", "Swap:"] {
            let theirs = line(&proc_file(&target, "smaps_rollup"), name);
            assert_eq!(line(&rollup, name), theirs, "{method}");
        }
    }
}

#[test]
fn a_report_on_standard_error_says_what_was_held() {
    let target = sleep();
    for method in methods() {
        let (_, out, err) = scan(&[&target], &format!("--method {method}"));
        let report = err.lines().last().unwrap();
        let said: &[&str] = match method {
            "bpf" => &["RCU alone", " run", "rejected", "mmap_lock taken: 0 times", "validated"],
            "boosted" => &[
                "at real-time priority",
                "reads",
                "mmap_lock taken: as this kernel's file",
            ],
            _ => &["the kernel's locks", "reads", "mmap_lock taken: as this kernel's file"],
        };
        let common = [
            format!("process {}: method {method}: held", target.pid()),
            "longest".to_owned(),
        ];
        for part in common.iter().map(String::as_str).chain(said.iter().copied()) {
            assert!(report.contains(part), "{method}: no '{part}' in {report}");
        }
        assert!(!out.contains("mmap_lock"), "{out}");
        let warned = err.contains("warning: ");
        assert_eq!(warned, method == "plain", "{err}");
    }
}

#[test]
fn only_the_values_that_are_asked_for_are_printed() {
    let target = sleep();
    let (code, out, err) = scan(&[&target], "--fields Rss,vmflags");
    assert_eq!(code, 0, "{err}");
    let is_label = |line: &&str| line.split_whitespace().next().unwrap().ends_with(':');
    let labels: HashSet<_> = out
        .lines()
        .filter(is_label)
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(labels, HashSet::from(["Rss", "VmFlags"]));
    assert_eq!(
        out.lines().filter(|line| line.starts_with("Rss:")).count(),
        proc_file(&target, "maps").lines().count()
    );
    let (_, out, _) = scan(&[&target], "--format rollup --fields pss,swap");
    let labels: Vec<_> = out.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(labels, ["Pss", "Swap"]);
}

#[test]
fn what_the_kernel_has_counted_is_asked_of_no_mapping() {
    let target = sleep();
    for (args, counted) in [
        ("--format rollup --fields rss", true),
        ("--format rollup --fields rss,rss_anon,page_tables", true),
        ("--format prometheus --fields size,rss", true),
        // Of what is swapped out status leaves out shared memory, and smaps does not.
        ("--format rollup --fields rss,swap", false),
        ("--format rollup --fields rss,pss", false),
        ("--format smaps --fields rss", false),
        ("--format rollup", false),
        ("--format rollup --method counters", true),
        ("--format json --method counters --fields rss", true),
    ] {
        let (code, out, err) = scan(&[&target], args);
        assert_eq!(code, 0, "{args}: {err}");
        let by = ["method counters", "method=\"counters\"", "\"method\":\"counters\""];
        let is_counted = by.iter().any(|by| out.contains(by) || err.contains(by));
        assert_eq!(is_counted, counted, "{args}: {out}{err}");
    }
    let (_, out, err) = scan(&[&target], "--format rollup --fields rss,rss_anon");
    assert!(
        err.contains("held no lock") && err.contains("mmap_lock taken: 0 times"),
        "{err}"
    );
    let lines: Vec<Vec<_>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines.iter().map(|line| line[0]).collect::<Vec<_>>(),
        ["rss:", "rss_anon:"]
    );
    let status = proc_file(&target, "status");
    for (line, name) in lines.iter().zip(["VmRSS:", "RssAnon:"]) {
        let kernels = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(line[1..].join(" "), kernels.trim());
    }
}

#[test]
fn of_several_processes_those_that_can_be_scanned_are_each_under_a_line_of_its_own() {
    let (a, b) = (sleep(), sleep());
    let mut command = vmaple(&format!("scan {} 4294967295 {} {0} --format maps", a.pid(), b.pid()));
    command.env("TZ", "UTC");
    let (code, out, err) = outcome(command);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("process 4294967295: no such process"), "{err}");
    let parts: Vec<_> = out.split("==> ").skip(1).collect();
    assert_eq!(parts.len(), 2, "{out}");
    for (part, process) in parts.into_iter().zip([&a, &b]) {
        let (header, text) = part.split_once(" <==\n").unwrap();
        let (pid, time) = header.split_once(' ').unwrap();
        assert_eq!(pid, process.pid().to_string());
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
        assert_eq!(text, proc_file(process, "maps"));
    }
}

#[test]
fn json_is_an_object_a_line_whose_every_key_is_documented() {
    let (a, b) = (sleep(), sleep());
    let (code, out, err) = scan(&[&a, &b], "--format json");
    assert_eq!(code, 0, "{err}");
    let objects: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    for (object, process) in objects.iter().zip([&a, &b]) {
        assert_eq!(object["schema"], "vmaple-scan/1");
        assert_eq!(object["pid"], process.pid());
        let mappings = object["mappings"].as_array().unwrap();
        let maps = proc_file(process, "maps");
        assert_eq!(mappings.len(), maps.lines().count());
        for (mapping, line) in mappings.iter().zip(maps.lines()) {
            let text = |key: &str| mapping[key].as_str().unwrap().to_owned();
            let start = format!("{}-{} {} ", text("start"), text("end"), text("perms"));
            assert!(
                line.starts_with(&start) && line.ends_with(&text("name")),
                "{mapping} {line}"
            );
        }
        for key in ["size_bytes", "rss_bytes", "anonymous_bytes"] {
            let bytes = |value: &Value| value[key].as_u64().unwrap();
            let own = mappings.iter().filter(|mapping| mapping["name"] != "[vsyscall]");
            assert_eq!(bytes(&object["sum"]), own.map(bytes).sum::<u64>(), "{key}");
        }
    }
    let (_, out, _) = scan(&[&a], "--format json --fields pss");
    let few: Value = serde_json::from_str(&out).unwrap();
    assert!(
        few["sum"]["pss_bytes"].is_u64() && few["sum"]["rss_bytes"].is_null(),
        "{few}"
    );
    let (_, out, _) = scan(&[&a], "--format json --method counters");
    let counters: Value = serde_json::from_str(&out).unwrap();
    assert!(
        counters["counters"]["process"]["rss_bytes"].as_u64() > Some(0),
        "{counters}"
    );

    let documented = include_str!("../../../docs/json.md");
    let mut keys = HashSet::new();
    for object in objects.iter().chain([&counters]) {
        all_keys(object, &mut keys);
    }
    for key in keys {
        assert!(
            documented.contains(&format!("`{key}`")),
            "docs/json.md does not have {key}"
        );
    }
}

fn all_keys(value: &Value, keys: &mut HashSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                keys.insert(key.clone());
                all_keys(value, keys);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| all_keys(value, keys)),
        _ => {}
    }
}

#[test]
fn metrics_of_many_processes_stand_together_each_series_once_and_names_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a\"b\\c\nd");
    let sleep_file = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("sleep"))
        .find(|file| file.exists())
        .unwrap();
    // coreutils in one file are called by their name.
    fs::copy(sleep_file, &odd).unwrap();
    let odd = Killed::sleep(Command::new(&odd).arg0("sleep"));
    let many: Vec<_> = (0..20).map(|_| sleep()).chain([odd]).collect();
    let many: Vec<_> = many.iter().collect();
    for args in ["", "--method counters"] {
        let (code, out, err) = scan(&many, &format!("--format prometheus {args}"));
        assert_eq!(code, 0, "{err}");
        check_exposition(&out);
        let of_pids = |metric: &str| {
            let lines = out.lines().filter(|line| line.starts_with(metric));
            lines.filter(|line| line.contains("field=\"rss\"")).count()
        };
        assert_eq!(of_pids("vmaple_memory_bytes{"), many.len());
        assert!(out.contains("comm=\"a\\\"b\\\\c\\nd\",method="), "{out}");
        let acquisitions = out
            .lines()
            .filter(|line| line.starts_with("vmaple_scan_mmap_lock_acquisitions{"));
        assert!(acquisitions.clone().all(|line| line.ends_with(" 0")), "{out}");
    }
}

/// The rules of the text format, as far as they concern gauges.
fn check_exposition(text: &str) {
    let mut seen = HashSet::new();
    let mut series = HashSet::new();
    let mut lines = text.lines().peekable();
    assert!(text.ends_with('\n'));
    while let Some(help) = lines.next() {
        let (name, help) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(!help.is_empty() && seen.insert(name), "{name} twice");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(lines.next().unwrap(), format!("# TYPE {name} gauge"));
        let mut samples = 0;
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let (labels, value) = sample.strip_prefix(name).unwrap().rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0, "{sample}");
            assert!(series.insert(format!("{name}{labels}")), "{sample} twice");
            let inside = labels.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            // Outside of names there is nothing else that is quoted.
            let quotes = inside.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            assert!(
                quotes % 2 == 0 && quotes == 2 * inside.matches("=\"").count(),
                "{sample}"
            );
            samples += 1;
        }
        assert!(samples > 0, "{name} without samples");
    }
}

#[test]
fn file_names_of_any_bytes_are_printed_as_the_kernel_prints_them() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"x \xff\n\\ (deleted)"));
    fs::write(&odd, "x").unwrap();
    let file = fs::File::open(&odd).unwrap();
    let _mapped = Mapped::new(1, Some(&file));
    let pid = std::process::id();
    let inode = format!(" {} ", file.metadata().unwrap().ino());
    let line_of = |maps: &[u8]| {
        let mut lines = maps.split_inclusive(|&b| b == b'\n');
        let has = |line: &&[u8]| line.windows(inode.len()).any(|part| part == inode.as_bytes());
        lines.find(has).map(<[u8]>::to_vec).unwrap()
    };
    let kernels = line_of(&fs::read("/proc/self/maps").unwrap());
    for method in methods() {
        let out = vmaple(&format!("scan {pid} --format maps --method {method}"))
            .output()
            .unwrap();
        assert_eq!(line_of(&out.stdout), kernels, "{method}");
    }
    let (code, out, err) = outcome(vmaple(&format!("scan {pid} --format json")));
    assert!(code == 0 && serde_json::from_str::<Value>(&out).is_ok(), "{err}");
}
