//! `vmaple run --proc`: a command for which /proc is the live tree.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs;
use std::process::Command;

use running::scan::sleep;
use running::{Running, VMAPLE, outcome, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Runs a script of the shell's with the tree as its /proc.
fn run(script: &str) -> Option<(i32, String, String)> {
    let mut command = Command::new(VMAPLE);
    command.args(["run", "--proc", "--", "sh", "-c", script]);
    let (code, out, err) = outcome(command);
    if err.contains("it needs CAP_SYS_ADMIN") || err.contains("/dev/fuse") || err.contains("the kernel's own") {
        println!("skipped: {err}");
        return None;
    }
    Some((code, out, err))
}

#[test]
fn the_command_sees_proc_as_it_is_and_no_other_process_sees_the_mount() {
    let sleep = sleep();
    let pid = sleep.pid();
    let Some((code, out, err)) = run(&format!(
        "grep -c ' /proc fuse.vmaple ' /proc/mounts; cat /proc/{pid}/maps; readlink /proc/$$/exe; echo $$; readlink /proc/self/../self"
    )) else {
        return;
    };
    assert_eq!(code, 0, "{err}");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let rest = out
        .strip_prefix("1\n")
        .and_then(|rest| rest.strip_prefix(maps.as_str()));
    assert_eq!(rest.unwrap().lines().count(), 3, "{out}");
    assert_eq!(err, "");
    assert!(!fs::read_to_string("/proc/mounts").unwrap().contains(" /proc fuse"));
}

#[test]
fn the_exit_code_is_the_commands() {
    let Some((code, ..)) = run("exit 7") else { return };
    assert_eq!(code, 7);
    assert_eq!(run("kill -9 $$").unwrap().0, 128 + 9);
    let mut command = Command::new(VMAPLE);
    command.args(["run", "--proc", "--", "/nonexistent"]);
    let (code, _, err) = outcome(command);
    assert!(code == 127 && err.contains("executing /nonexistent"), "{code} {err}");
    let mut command = Command::new(VMAPLE);
    command.args(["run", "--proc"]);
    assert_eq!(outcome(command).0, 2);
}

#[test]
fn the_command_ends_with_vmaple_and_a_request_to_end_is_handed_on() {
    for (signal, expected) in [(Signal::TERM, Some(9)), (Signal::KILL, None)] {
        let mut command = Command::new(VMAPLE);
        command.args([
            "run",
            "--proc",
            "--",
            "sh",
            "-c",
            "trap 'exit 9' TERM; echo $$; while :; do sleep 0.01; done",
        ]);
        let (mut running, mut out) = Running::start_with_reader(command);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        if line.is_empty() {
            println!("skipped: {}", running.err());
            wait_until("the end", || running.has_ended());
            return;
        }
        let pid = line.trim().to_owned();
        kill_process(Pid::from_raw(running.id().cast_signed()).unwrap(), signal).unwrap();
        let code = running.end().0;
        wait_until("the command to end", || !fs::exists(format!("/proc/{pid}")).unwrap());
        assert_eq!(code, expected);
    }
}
