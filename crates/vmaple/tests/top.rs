//! `vmaple top`: on a terminal, recorded and replayed, and where there is none.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use running::scan::{Killed, methods, sleep};
use running::{outcome, vmaple};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

fn is_possible() -> bool {
    let is_possible = methods().contains(&"bpf");
    if !is_possible {
        println!("skipped: no scan by BPF");
    }
    is_possible
}

#[test]
fn without_a_terminal_it_prints_one_table() {
    if !is_possible() {
        return;
    }
    let (one, other) = (sleep(), sleep());
    let (code, out, err) = outcome(vmaple(&format!("top {} {}", one.pid(), other.pid())));
    assert_eq!(code, 0, "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        (lines.len(), lines[0]),
        (3, "PID\tPSS\tUSS\tRSS\tSWAP\tMAPPINGS"),
        "{out}"
    );
    assert!(lines[1..].iter().all(|line| line.contains(" sleep\t")), "{out}");
}

#[test]
fn what_was_recorded_is_shown_again_and_no_record_is_written_over() {
    if !is_possible() {
        return;
    }
    let target = sleep();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("rounds");
    let file = file.to_str().unwrap();
    let (code, out, err) = outcome(vmaple(&format!("top {} --record {file}", target.pid())));
    assert_eq!(code, 0, "{err}");
    let (code, again, err) = outcome(vmaple(&format!("top --replay {file}")));
    assert_eq!((code, again), (0, out), "{err}");
    let (code, _, err) = outcome(vmaple(&format!("top {} --record {file}", target.pid())));
    assert!(code == 1 && err.contains("--record") && err.contains("exists"), "{err}");
    let (code, _, err) = outcome(vmaple("top --replay /dev/null"));
    assert!(code == 1 && err.contains("no round in it"), "{err}");
}

#[test]
fn on_a_terminal_it_is_a_screen_that_is_left_by_a_key_and_by_a_signal() {
    if !is_possible() {
        return;
    }
    let target = sleep();
    for end in ["q", "TERM"] {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let name = ptsname(&terminal, vec![]).unwrap().into_string().unwrap();
        let side = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_vmaple"))
            .args(["top", &target.pid().to_string(), "--every", "100ms"])
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut terminal = File::from(terminal);
        let mut keys = terminal.try_clone().unwrap();
        let mut shown = String::new();
        let mut read = |until: &str| {
            let mut bytes = [0; 4096];
            while !shown.contains(until) {
                let mut is_readable = [PollFd::new(&terminal, PollFlags::IN)];
                let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
                assert_eq!(poll(&mut is_readable, Some(&limit)), Ok(1), "no {until:?} in {shown:?}");
                // EIO: the last user of the other side is gone.
                let count = terminal.read(&mut bytes).unwrap_or(0);
                assert!(count > 0, "no {until:?} in {shown:?}");
                shown += &String::from_utf8_lossy(&bytes[..count]);
            }
        };
        read("sleep");
        match end {
            "q" => keys.write_all(b"q").unwrap(),
            _ => {
                let pid = rustix::process::Pid::from_raw(child.pid().cast_signed()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            }
        }
        read("\x1b[?1049l");
        let status = child.0.wait().unwrap();
        assert_eq!(status.code(), Some(if end == "q" { 0 } else { 130 }), "{end}");
    }
}
