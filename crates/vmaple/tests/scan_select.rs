//! `vmaple scan` of processes that are selected by what they are, and of groups of them.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use running::scan::{Killed, copy_program, found, methods, proc_file};
use running::{Running, VMAPLE, outcome, vmaple, wait_until};
use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A copy of sleep(1) under a name that no other process has.
struct Sleeper {
    _dir: TempDir,
    path: PathBuf,
}

impl Sleeper {
    /// The name ends with `suffix`, and is shorter than the 15 bytes that the kernel keeps.
    fn new(suffix: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("v{}{suffix}", std::process::id()));
        copy_program(&found("sleep"), &path);
        Self { _dir: dir, path }
    }

    fn start(&self) -> Killed {
        Killed::sleep(&mut Command::new(&self.path))
    }

    fn name(&self) -> &str {
        self.path.file_name().unwrap().to_str().unwrap()
    }
}

/// Returns the processes of `vmaple scan ARGS`, without its exit code where it is 0.
fn selected(args: &str) -> Vec<u32> {
    let (code, out, err) = outcome(vmaple(&format!("scan --method counters --format json {args}")));
    assert_eq!(code, 0, "{args}: {err}");
    out.lines().map(pid).collect()
}

fn pid(line: &str) -> u32 {
    let object: Value = serde_json::from_str(line).unwrap();
    assert!(object.get("error").is_none(), "{line}");
    object["pid"].as_u64().unwrap().try_into().unwrap()
}

/// Expects that no process matches.
fn none_matches(args: &str) {
    let (code, out, err) = outcome(vmaple(&format!("scan --method counters --format rollup {args}")));
    assert_eq!((code, out.as_str()), (1, ""), "{args}: {err}");
    assert!(err.contains("vmaple: no process matches"), "{args}: {err}");
}

#[test]
fn a_process_has_to_match_every_option() {
    let (one, other) = (Sleeper::new("a"), Sleeper::new("ab"));
    let processes = [one.start(), other.start(), one.start()];
    let mut pids = processes.each_ref().map(Killed::pid);
    let name = one.name();
    assert_eq!(selected(&format!("--name ^{name}$")), [pids[0], pids[2]]);
    let user = getuid().as_raw();
    let cgroups = proc_file(&processes[1], "cgroup");
    let cgroup = cgroups.lines().next().unwrap().rsplit(':').next().unwrap();
    let all = format!(
        "--name ^{name} --user {user} --cgroup {cgroup} --children-of {}",
        std::process::id()
    );
    pids.sort_unstable();
    assert_eq!(selected(&all), pids);
    none_matches(&format!("--name ^{name} --cgroup /{name}"));
    none_matches(&format!("--name ^{name} --user {}", user + 1));
    none_matches(&format!("--name ^{name} --children-of {}", pids[0]));
    none_matches(&format!("--name ^{name}c"));
}

#[test]
fn children_of_children_are_selected_and_the_process_itself_is_not() {
    let inner = "sleep 1000 & sleep 1000 & wait";
    let shell = Command::new("sh")
        .args(["-c", &format!("sh -c '{inner}' & wait")])
        .stdin(Stdio::null())
        .process_group()
        .spawn()
        .unwrap();
    let shell = Group(Killed(shell));
    let args = format!("--children-of {}", shell.0.pid());
    let sleeps = || {
        let args = format!("{args} --name ^sleep$ --quiet");
        let (_, out, _) = outcome(vmaple(&format!("scan --method counters --format json {args}")));
        out.lines().count() == 2
    };
    wait_until("both sleeps", sleeps);
    let found = selected(&args);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(!found.contains(&shell.0.pid()), "{found:?}");
}

/// A process and its children, killed with this.
struct Group(Killed);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.0.0), Signal::KILL);
    }
}

trait OwnGroup {
    fn process_group(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

#[test]
fn numbers_come_from_standard_input() {
    let process = Sleeper::new("i").start();
    let with = |input: &str| {
        let mut child = Command::new(VMAPLE)
            .args(["scan", "-", "--method", "counters", "--format", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = with(&format!(" {0}\n{0}\n", process.pid()));
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().map(pid).collect::<Vec<_>>(), [process.pid()]);
    let (code, _, err) = with("12 x");
    assert!(
        code == 2 && err.contains("'x' of standard input: expected a process's number"),
        "{err}"
    );
    let (code, _, err) = with("\n");
    assert!(code == 1 && err.contains("standard input names no process"), "{err}");
}

#[test]
fn a_round_finds_processes_that_came_and_forgets_those_that_went() {
    let sleeper = Sleeper::new("r");
    let first = sleeper.start();
    let args = format!(
        "scan --method counters --format json --every 20ms --name ^{}$",
        sleeper.name()
    );
    let (running, reader) = Running::start_with_reader(vmaple(&args));
    let mut lines = reader.lines().map(|line| pid(&line.unwrap()));
    assert_eq!(lines.next(), Some(first.pid()));
    let second = sleeper.start();
    assert!(lines.any(|pid| pid == second.pid()));
    drop(first);
    // The second alone, twice in a row.
    let mut last = 0;
    assert!(lines.any(|pid| std::mem::replace(&mut last, pid) == pid));
    assert_eq!(last, second.pid());
    drop(second);
    let third = sleeper.start();
    assert!(lines.any(|pid| pid == third.pid()));
    kill_process(Pid::from_raw(running.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    lines.for_each(drop);
    let (code, _, err) = running.end();
    assert_eq!(code, Some(130), "{err}");
    assert!(
        err.contains("vmaple: no process matches") || err.contains("1 process scanned"),
        "{err}"
    );
    assert!(!err.contains("has ended") && !err.contains("no such process"), "{err}");
}

#[test]
fn a_scan_of_all_processes_ends_well_beside_processes_that_come_and_go() {
    let mut shell = Command::new("sh")
        .args(["-c", "while :; do /bin/true; done"])
        .spawn()
        .map(Killed)
        .unwrap();
    for _ in 0..3 {
        let (code, out, err) = outcome(vmaple("scan --all --method counters --format rollup --fields rss"));
        // A security module may forbid to read the first process.
        assert!(code == 0 || (code == 77 && err.contains("LEFT OUT: ")), "{err}");
        assert!(out.contains(&format!("==> {} ", shell.pid())), "{out}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(" processes scanned"), "{err}");
    }
    assert!(shell.0.try_wait().unwrap().is_none());
}

/// Returns the objects of `vmaple scan ARGS`.
fn objects(args: &str) -> Vec<Value> {
    let (code, out, err) = outcome(vmaple(&format!("scan --quiet --format json {args}")));
    assert_eq!(code, 0, "{args}: {err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_group_is_the_sum_of_its_processes() {
    let (one, other) = (Sleeper::new("g"), Sleeper::new("h"));
    let _processes = [one.start(), other.start(), one.start(), one.start()];
    let names = format!("--name ^v{}[gh]$", std::process::id());
    for method in methods() {
        let each = objects(&format!("--method {method} {names}"));
        let groups = objects(&format!("--method {method} {names} --group-by name"));
        assert_eq!(groups.len(), 2, "{groups:?}");
        for group in &groups {
            let own: Vec<_> = each.iter().filter(|scan| scan["comm"] == group["group"]).collect();
            let sum = |key: &str| own.iter().map(|scan| scan["sum"][key].as_u64().unwrap()).sum::<u64>();
            assert_eq!(group["processes"], own.len());
            // Other processes that come and go change what is shared, but not what is resident.
            assert_eq!(group["rss_bytes"], sum("rss_bytes"), "{method}");
            assert_eq!(group["swap_bytes"], sum("swap_bytes"), "{method}");
            let of = |key: &str| group[key].as_u64().unwrap();
            assert!(of("uss_bytes") >= sum("private_dirty_bytes") && sum("private_dirty_bytes") > 0);
            assert!(of("uss_bytes") <= of("pss_bytes") && of("pss_bytes") <= of("rss_bytes"));
            // A sum that the kernel made says of no mapping.
            if method == "bpf" {
                assert_eq!(group["mappings"], sum("mappings"));
                assert!(group["max_map_count_ratio"].as_f64().unwrap() > 0.0);
            }
        }
        let (_, table, _) = outcome(vmaple(&format!(
            "scan --method {method} {names} --group-by name --top 1"
        )));
        let first: Vec<_> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
        assert_eq!(first.len(), 4, "{table}");
        assert_eq!((first[0], first[2], first[3]), ("NAME", "(1 more)", "(all)"), "{table}");
    }
}

#[test]
fn groups_in_every_form_have_the_same_values() {
    let sleeper = Sleeper::new("f");
    let _processes = [sleeper.start(), sleeper.start()];
    let scan = |format: &str| {
        let args = format!(
            "scan --method plain --quiet --name ^{}$ --group-by exe {format}",
            sleeper.name()
        );
        let (code, out, err) = outcome(vmaple(&args));
        assert_eq!(code, 0, "{err}");
        out
    };
    let exe = sleeper.path.to_str().unwrap();
    let object: Value = serde_json::from_str(&scan("--format json")).unwrap();
    assert_eq!(
        (object["group"].as_str(), object["by"].as_str()),
        (Some(exe), Some("exe"))
    );
    let rss = object["rss_bytes"].as_u64().unwrap();
    let csv = scan("--format csv");
    let (head, line) = csv.trim_end().split_once('\n').unwrap();
    let value = |name: &str| {
        line.split(',')
            .nth(head.split(',').position(|part| part == name).unwrap())
            .unwrap()
    };
    assert_eq!(
        (value("exe"), value("processes"), value("rss_bytes")),
        (exe, "2", rss.to_string().as_str())
    );
    let metrics = scan("--format prometheus");
    let sample = format!("vmaple_group_rss_bytes{{by=\"exe\",group=\"{exe}\"}} {rss}\n");
    assert!(metrics.contains(&sample), "no '{sample}' in {metrics}");
    let table = scan("");
    assert!(
        table.starts_with("EXE ") && table.contains(&format!(" {rss} ")),
        "{table}"
    );
}

#[test]
fn options_of_groups_that_do_not_go_together_are_usage_errors() {
    for (args, part) in [
        ("--format csv", "--format csv is of groups: add --group-by"),
        ("--group-by name --format maps", "--group-by prints sums of groups"),
        ("--group-by name --method counters", "--group-by needs Pss and Uss"),
        ("--group-by name --fields pss", "cannot be used with"),
        (
            "--group-by pod",
            "possible values: pid, name, exe, cgroup, user, unit, container",
        ),
    ] {
        let (code, out, err) = outcome(vmaple(&format!("scan --all {args}")));
        assert!(code == 2 && out.is_empty() && err.contains(part), "{args}: {err}");
    }
}
