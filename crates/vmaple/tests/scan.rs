//! `vmaple scan`: what it prints in each form, and what it says of how it read.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use running::scan::{Killed, Mapped, copy_program, found, methods, proc_file, scan, sleep};
use running::{outcome, outcome_bytes, vmaple};
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
        let (_, out, err) = scan(&[&target], &format!("--method {method} -v"));
        let report = err.lines().last().unwrap();
        let said: &[&str] = match method {
            "bpf" => &["held RCU alone, no lock of the process", " run"],
            "boosted" => &["at real-time priority", " reads"],
            _ => &["held the kernel's locks", " reads"],
        };
        let common = [
            format!("process {}: ", target.pid()),
            format!("by {method}: "),
            "longest ".to_owned(),
        ];
        for part in common.iter().map(String::as_str).chain(said.iter().copied()) {
            assert!(report.contains(part), "{method}: no '{part}' in {report}");
        }
        // As smaps of it all is whole there is nothing to say first.
        assert!(
            report.contains(&format!("{}: by ", target.pid())) && report.len() < 180,
            "{report}"
        );
        let (_, _, err) = scan(&[&target], &format!("--format rollup --method {method}"));
        let begin = err.lines().last().unwrap().split(" | ").next().unwrap();
        assert_eq!(
            begin.contains("LEFT OUT: Pss_Anon") && begin.contains("ROUNDED: "),
            method == "boosted",
            "{err}"
        );
        assert!(!out.contains("held"), "{out}");
        // By itself it says what was held, and for how long, and no more.
        let (_, _, short) = scan(&[&target], &format!("--method {method}"));
        let short = short.lines().last().unwrap();
        assert!(
            short.contains("held") && !short.contains("longest") && short.len() < report.len(),
            "{short}"
        );
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
        let by = ["by counters", "method=\"counters\"", "\"method\":\"counters\""];
        let is_counted = by.iter().any(|by| out.contains(by) || err.contains(by));
        assert_eq!(is_counted, counted, "{args}: {out}{err}");
    }
    let (_, out, err) = scan(&[&target], "--format rollup --fields rss,rss_anon,vm_swap,page_tables");
    assert!(err.contains("held no lock"), "{err}");
    let status = proc_file(&target, "status");
    let ours: Vec<_> = out.lines().skip(1).map(|line| line.split_once(':').unwrap()).collect();
    assert_eq!(
        ours.iter().map(|(label, _)| *label).collect::<Vec<_>>(),
        ["Rss", "RssAnon", "VmSwap", "VmPTE"]
    );
    for ((_, value), name) in ours.iter().zip(["VmRSS:", "RssAnon:", "VmSwap:", "VmPTE:"]) {
        let kernels = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(value.trim(), kernels.trim());
    }
}

#[test]
fn a_roll_up_has_the_kernels_form_whatever_is_asked_for() {
    let target = sleep();
    for fields in ["", "rss", "rss,pss", "rss,rss_anon", "rss,vmswap", "size,rss"] {
        let fields = if fields.is_empty() {
            String::new()
        } else {
            format!("--fields {fields}")
        };
        let (code, out, err) = scan(&[&target], &format!("--format rollup {fields}"));
        assert_eq!(code, 0, "{err}");
        let mut lines = out.lines();
        let header = lines.next().unwrap();
        assert!(
            header.ends_with(" [rollup]") && header.contains(" ---p 00000000 00:00 0 "),
            "{out}"
        );
        let of_kernel = proc_file(&target, "smaps_rollup");
        let rss = |text: &str| {
            let mut lines = text.lines().filter(|line| line.starts_with("Rss:"));
            let (line, more) = (lines.next().unwrap().to_owned(), lines.next());
            assert_eq!(more, None, "{text}");
            line
        };
        assert_eq!(rss(&out).len(), rss(&of_kernel).len(), "{out}");
        for line in lines {
            // `Name:`, as wide as the kernel's, and kilobytes.
            let (name, value) = line.split_at(16);
            assert!(
                name.trim_end().ends_with(':') && name.starts_with(|c: char| c.is_ascii_uppercase()),
                "{out}"
            );
            assert!(value.len() == 11 && value.ends_with(" kB"), "{out}");
        }
    }
}

#[test]
fn a_name_means_one_thing_whichever_others_are_asked_for() {
    let target = sleep();
    // Shared memory that is swapped out is in Swap, and not in VmSwap.
    for fields in ["swap,rss_anon", "locked,rss_anon", "vm_swap,pss", "pss,vm_locked"] {
        for format in ["rollup", "prometheus"] {
            let (code, out, err) = scan(&[&target], &format!("--format {format} --fields {fields}"));
            assert_eq!((code, out.as_str()), (2, ""), "{fields}: {err}");
            assert!(err.contains("ask for them apart"), "{err}");
        }
    }
    let (_, out, err) = scan(&[&target], "--format json --method counters");
    let counters: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    let process = &counters["counters"]["process"];
    assert!(
        process["vm_swap_bytes"].is_u64() && process["vm_locked_bytes"].is_u64(),
        "{out}"
    );
    assert!(
        process["swap_bytes"].is_null() && process["locked_bytes"].is_null(),
        "{out}"
    );
    let (_, out, _) = scan(&[&target], "--format prometheus --method counters");
    assert!(
        out.contains("vmaple_process_vm_swap_bytes{") && !out.contains("_process_swap_bytes"),
        "{out}"
    );
}

#[test]
fn a_quiet_scan_says_nothing_of_how_it_read() {
    let target = sleep();
    for args in ["--format maps", "--format rollup --fields rss"] {
        let (_, loud, err) = scan(&[&target], args);
        assert!(err.contains(": held "), "{err}");
        let (code, out, err) = scan(&[&target], &format!("{args} --quiet"));
        assert_eq!((code, out, err.as_str()), (0, loud, ""));
    }
    let (code, _, err) = outcome(vmaple(&format!("scan {} 4294967295 --quiet", target.pid())));
    assert!(code == 1 && err.contains("no such process"), "{err}");
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
        assert_eq!(object["schema"], "vmaple-scan/2");
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
        let (_, out, _) = outcome_bytes(vmaple(&format!("scan {pid} --format maps --method {method}")));
        assert_eq!(line_of(&out), kernels, "{method}");
    }
    let (code, out, err) = outcome(vmaple(&format!("scan {pid} --format json")));
    assert_eq!(code, 0, "{err}");
    let object: Value = serde_json::from_str(&out).unwrap();
    let mappings = object["mappings"].as_array().unwrap();
    let inode = file.metadata().unwrap().ino();
    let odd = mappings.iter().find(|mapping| mapping["inode"] == inode).unwrap();
    let name = odd["name"].as_str().unwrap();
    assert!(name.ends_with("/x \u{fffd}\n\\ (deleted)"), "{name}");
    let bytes = odd["name_bytes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|byte| byte.as_u64().unwrap() as u8);
    assert!(bytes.collect::<Vec<_>>().ends_with(b"/x \xff\n\\ (deleted)"), "{odd}");
    // Where the name is text it says all.
    let has_bytes = |mapping: &&Value| !mapping["name_bytes"].is_null();
    assert_eq!(mappings.iter().filter(has_bytes).count(), 1);
}

#[test]
fn json_says_which_process_a_number_stands_for() {
    let dir = tempfile::tempdir().unwrap();
    // The kernel cuts a name after 15 bytes, here within a letter.
    let file = dir
        .path()
        .join("\u{43f}\u{440}\u{438}\u{43b}\u{43e}\u{436}\u{435}\u{43d}");
    copy_program(&found("sleep"), &file);
    let target = Killed::sleep(Command::new(&file).arg0("sleep"));
    let stat = fs::read(format!("/proc/{}/stat", target.pid())).unwrap();
    let after_name = String::from_utf8(stat[stat.iter().rposition(|&b| b == b')').unwrap() + 2..].to_vec()).unwrap();
    let ticks: u64 = after_name.split(' ').nth(19).unwrap().parse().unwrap();
    for args in ["", "--method counters"] {
        let (code, out, err) = scan(&[&target], &format!("--format json {args}"));
        assert_eq!(code, 0, "{err}");
        let object: Value = serde_json::from_str(&out).unwrap();
        let comm = fs::read(format!("/proc/{}/comm", target.pid())).unwrap();
        let comm = comm.strip_suffix(b"\n").unwrap();
        assert!(std::str::from_utf8(comm).is_err());
        assert_eq!(object["comm"], String::from_utf8_lossy(comm).as_ref());
        assert_eq!(object["comm_bytes"], Value::from(comm));
        assert_eq!(
            object["started_ns"],
            ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second())
        );
    }
    let (_, out, _) = scan(&[&sleep()], "--format json");
    let object: Value = serde_json::from_str(&out).unwrap();
    assert!(object["comm"] == "sleep" && object["comm_bytes"].is_null(), "{object}");
}
