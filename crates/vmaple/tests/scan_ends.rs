//! `vmaple scan` where something is not as it should be, and how it ends.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};

use running::scan::{Killed, Mapped, copy_program, methods, proc_file, sleep};
use running::{Running, VMAPLE, outcome, vmaple, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Expects an exit code and a part of standard error, and nothing on standard
/// output.
fn refused(args: &str, code: i32, part: &str) {
    let (got, out, err) = outcome(vmaple(args));
    assert_eq!((got, out.as_str()), (code, ""), "vmaple {args}: {err}");
    assert!(err.contains(part), "vmaple {args}: no '{part}' in: {err}");
}

#[test]
fn bad_options_are_usage_errors_that_say_what_would_do() {
    refused("scan", 2, "<PID>");
    for pid in ["x", "self", "0x10", "4294967296"] {
        refused(&format!("scan {pid}"), 2, "a process's number");
    }
    refused("scan redis-server", 2, "$(pgrep -x redis-server)");
    refused("scan -1", 2, "-1");
    refused(
        "scan 1 --format xml",
        2,
        "possible values: summary, maps, smaps, rollup, csv, folded, treemap, json, prometheus",
    );
    refused(
        "scan 1 --method fast",
        2,
        "possible values: auto, bpf, counters, boosted, plain",
    );
    refused("scan 1 --budget fast", 2, "--budget");
    refused("scan 1 --budget 0s", 2, "--budget 0s: 10us to 10ms");
    refused("scan 1 --budget 1s", 2, "--budget 1s: 10us to 10ms");
    refused("scan 1 --limit 0s", 2, "--limit 0s: 1ms to 1h");
    refused("scan 1 --every 0s", 2, "--every 0s: 10ms to 7days");
    refused(
        "scan 1 --fields bogus",
        2,
        "'bogus' is no field of this format: use some of size, kernelpagesize",
    );
    refused("scan 1 --fields rss,", 2, "'' is no field");
    refused("scan 1 --fields rss_anon", 2, "'rss_anon' is no field");
    refused(
        "scan 1 --format rollup --fields vmflags",
        2,
        "what the kernel counts of whole processes, size, rss, rss_anon",
    );
    refused("scan 1 --format rollup --fields rss_anon,pss", 2, "ask for them apart");
    refused(
        "scan 1 --format json --method counters --fields pss",
        2,
        "'pss' is no field of this format: use some of size, rss,",
    );
    refused("scan 1 --format maps --fields rss", 2, "--format maps has no values");
    refused(
        "scan 1 --method counters",
        2,
        "--method counters is for --format rollup, json and prometheus",
    );
}

#[test]
fn a_process_that_is_none_a_zombie_and_a_kernel_thread_are_told_apart() {
    for method in methods() {
        refused(
            &format!("scan 4294967295 --method {method}"),
            1,
            "process 4294967295: no such process",
        );
        let zombie = sleep();
        kill_process(Pid::from_raw(zombie.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
        wait_until("it to be a zombie", || {
            proc_file(&zombie, "status").contains("State:\tZ")
        });
        refused(
            &format!("scan {} --method {method}", zombie.pid()),
            1,
            "it has ended, and its parent has not waited",
        );
        // In a PID namespace of its own there is none.
        if fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
            refused(&format!("scan 2 --method {method}"), 1, "it is a kernel thread");
        } else {
            println!("skipped: no kernel thread to be seen here");
        }
    }
}

/// This program where another user can start it, and one who may; nothing where we are not root.
fn as_nobody() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("vmaple");
    copy_program(Path::new(VMAPLE), &program);
    Some((dir, program))
}

const NOBODY: u32 = 65534;

fn nobodys(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

fn nobody_scans(program: &Path, pid: u32, args: &str) -> (i32, String, String) {
    let mut command = nobodys(program);
    command.arg("scan").arg(pid.to_string()).args(args.split_whitespace());
    outcome(command)
}

#[test]
fn without_rights_nothing_is_read_unless_plain_is_asked_for() {
    let Some((_dir, program)) = as_nobody() else { return };
    let own = Killed::sleep(&mut nobodys(Path::new("sleep")));
    let (code, out, err) = nobody_scans(&program, own.pid(), "--format maps");
    assert_eq!((code, out.as_str()), (77, ""), "{err}");
    for part in ["bpf", "boosted", "CAP_SYS_NICE", "--method plain"] {
        assert!(err.contains(part), "no '{part}' in {err}");
    }
    assert!(
        !err.contains("not permitted") || err.contains("CAP_BPF and CAP_PERFMON"),
        "{err}"
    );
    let (code, out, err) = nobody_scans(&program, own.pid(), "--format maps --method plain");
    assert_eq!((code, out), (0, proc_file(&own, "maps")), "{err}");
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(lines[0].starts_with("warning: ") && lines[1].contains("plain"), "{err}");
    for method in ["bpf", "boosted"] {
        let (code, out, err) = nobody_scans(&program, own.pid(), &format!("--method {method}"));
        assert_eq!((code, out.as_str()), (77, ""), "{err}");
        assert!(err.starts_with(&format!("vmaple: --method {method}: ")), "{err}");
    }
    // What the kernel has counted needs no rights.
    let (code, out, err) = nobody_scans(&program, own.pid(), "--format rollup --fields rss");
    assert!(code == 0 && out.contains("Rss:"), "{err}");
}

#[test]
fn who_may_not_read_maps_gets_eacces() {
    let Some((_dir, program)) = as_nobody() else { return };
    let roots = sleep();
    let (code, out, err) = nobody_scans(&program, roots.pid(), "--method plain");
    assert_eq!((code, out.as_str()), (77, ""), "{err}");
    assert!(err.contains("EACCES"), "{err}");
}

#[test]
fn a_scan_that_is_over_its_limit_prints_what_it_has_and_says_so() {
    // Each page a mapping of its own: more than can be looked at in the time.
    let own = Mapped::new(40_000, None);
    own.split();
    let pid = std::process::id();
    for method in methods() {
        let (code, out, err) = outcome(vmaple(&format!("scan {pid} --limit 1ms --method {method}")));
        assert_eq!(code, 3, "{method}: {err}");
        let below = err.split("PARTIAL: out of time; below 0x").nth(1).expect(&err);
        let below = u64::from_str_radix(below.split(' ').next().unwrap(), 16).unwrap();
        let ends = out.lines().filter_map(|line| {
            let range = line.split_once(' ')?.0.split_once('-')?;
            u64::from_str_radix(range.1, 16).ok()
        });
        let last = ends.filter(|&end| end < 1 << 63).max().unwrap_or(0);
        assert!(last <= below, "{last:x} {below:x}");
    }
}

/// `vmaple scan` with its standard output to be read.
fn started(args: &str) -> (Running, BufReader<ChildStdout>) {
    Running::start_with_reader(vmaple(&format!("scan {args}")))
}

/// The exit code of what ends by itself, and what it said on standard error.
fn ended(mut child: Running) -> (Option<i32>, String) {
    wait_until("it to end", || child.has_ended());
    let (code, _, err) = child.end();
    (code, err)
}

#[test]
fn scans_go_on_until_the_processes_have_ended() {
    let (a, b) = (sleep(), sleep());
    let (pid_a, pid_b) = (u64::from(a.pid()), u64::from(b.pid()));
    let (child, out) = started(&format!("{pid_a} {pid_b} --format json --fields rss --every 10ms"));
    let pid_of = |line: String| serde_json::from_str::<Value>(&line).unwrap()["pid"].as_u64().unwrap();
    let mut pids = out.lines().map_while(Result::ok).map(pid_of);
    let order: Vec<_> = pids.by_ref().take(4).collect();
    assert_eq!(order, [pid_a, pid_b, pid_a, pid_b]);
    drop(a);
    // Twice the same: the other is left out.
    let mut before = 0;
    pids.find(|&pid| std::mem::replace(&mut before, pid) == pid);
    assert_eq!(before, pid_b);
    drop(b);
    let (code, err) = ended(child);
    assert_eq!(code, Some(0), "{err}");
    assert!(pids.all(|pid| pid == pid_b));
    let told = format!("vmaple: process {pid_a} has ended\nvmaple: process {pid_b} has ended\n");
    assert!(err.ends_with(&told), "{err}");
}

#[test]
fn a_signal_ends_scans_between_two_of_them() {
    let target = sleep();
    for how in [Signal::INT, Signal::TERM] {
        let (child, mut out) = started(&format!("{} --format json --every 1h", target.pid()));
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), how).unwrap();
        assert_eq!(ended(child).0, Some(130));
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert!(
            serde_json::from_str::<Value>(&line).is_ok() && rest.is_empty(),
            "{line}{rest}"
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_scans() {
    let target = sleep();
    for format in ["json", "rollup"] {
        let (child, mut out) = started(&format!("{} --format {format} --every 10ms", target.pid()));
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        assert_eq!(ended(child).0, Some(0), "{format}");
    }
}

#[test]
fn a_scan_needs_nobody_who_reads_standard_error() {
    let target = sleep();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let command = vmaple(&format!("scan {} --format rollup", target.pid()));
    let child = Running::start_with(command, |command| {
        command.stderr(writer);
    });
    let (code, text, _) = child.end();
    assert_eq!(code, Some(0));
    assert!(text.contains("Rss:"), "{text}");
}

/// Runs `vmaple` with `args` in a shell that redirects its descriptors.
fn redirected(args: &str, redirection: &str) -> (i32, String, String) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec \"$0\" {args} {redirection}"), VMAPLE]);
    outcome(command)
}

#[test]
fn results_that_have_nowhere_to_go_are_an_error() {
    let target = sleep();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a");
    let scan = format!("scan {} --format rollup --fields rss", target.pid());
    for args in [
        scan.as_str(),
        "doctor",
        "repro --busy 0 --samples 1",
        "man",
        "completions bash",
        "--help",
    ] {
        let (code, _, err) = redirected(args, ">&-");
        assert!(
            code == 1 && err.contains("standard output is closed"),
            "{args}: {code} {err}"
        );
    }
    // Those that write to a file, or print nothing, need no standard output.
    for args in [
        format!("{scan} --output {}", file.display()),
        "repro --dry-run".into(),
        format!("man {}", dir.path().display()),
    ] {
        let (code, _, err) = redirected(&args, ">&-");
        assert_eq!(code, 0, "{args}: {err}");
    }
    // Thrown away on purpose: also by a caller that opens it to be read and written, as Python and
    // daemon(3) do.
    for redirection in [">/dev/null", "1<>/dev/null", "2>&-", "<&-"] {
        let (code, out, err) = redirected(&scan, redirection);
        assert_eq!(code, 0, "{redirection}: {err}");
        assert_eq!(out.is_empty(), redirection.contains("null"), "{redirection}");
    }
}

#[test]
fn a_number_that_becomes_another_processs_is_not_scanned_on() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    // A PID namespace of its own, where a number can be had again.
    let script = r#"
        sleep 1000 & P=$!
        "$0" scan $P --format maps --every 10ms --method $1 >out 2>err & V=$!
        until grep -q sleep out; do sleep 0.01; done
        # Between two scans or in one: it sees neither the end nor the begin.
        kill -STOP $V
        kill -9 $P; wait $P 2>/dev/null
        until [ "$(ps -o state= $V)" = T ]; do sleep 0.01; done
        echo $((P-1)) >/proc/sys/kernel/ns_last_pid
        tail -f /dev/null & Q=$!
        until grep -q tail /proc/$Q/maps; do sleep 0.01; done
        echo "$P $Q"
        kill -CONT $V
        until ! kill -0 $V 2>/dev/null || grep -q tail out; do sleep 0.01; done
        kill $V 2>/dev/null; wait $V; echo "exit $?"
        grep -c tail out
    "#;
    for method in methods() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["-p", "-f", "-m", "--mount-proc", "bash", "-c", script, VMAPLE, method]);
        command.current_dir(dir.path());
        let (code, out, err) = outcome(command);
        let words: Vec<_> = out.split_whitespace().collect();
        let [p, q, "exit", exit, lines] = words[..] else {
            println!("skipped: no PID namespace here: {code} {out}{err}");
            return;
        };
        let said = fs::read_to_string(dir.path().join("err")).unwrap();
        assert_eq!(p, q, "the number came not again");
        assert_eq!((exit, lines), ("0", "0"), "{said}");
        assert!(said.ends_with(&format!("process {p} has ended\n")), "{said}");
    }
}
