//! The arguments of processes, next to /proc/PID/cmdline.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::process::{Child, Command, Stdio};

use vmaple_scan::{Error, Method, Options, Process, Scanner};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a shell that waits, with these arguments.
fn waiting(arguments: &[String]) -> Killed {
    let mut command = Command::new("sh");
    command.args(["-c", "read _", "name"]).args(arguments);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let child = Killed(child);
    // Until it is no copy of this process any more.
    let cmdline = || fs::read(format!("/proc/{}/cmdline", child.0.id())).unwrap();
    while !cmdline().starts_with(b"sh\0-c\0") {
        std::thread::yield_now();
    }
    child
}

fn scanner() -> Option<Scanner> {
    match Scanner::with(Options::new().method(Method::Bpf)) {
        Ok(scanner) => Some(scanner),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

#[test]
fn arguments_are_those_of_cmdline_of_any_length_and_bytes() {
    let Some(mut scanner) = scanner() else { return };
    let long = |bytes: usize| "x".repeat(bytes);
    for arguments in [
        vec![],
        vec!["é".to_owned(), String::new(), "a b".to_owned()],
        vec![long(5000), long(4096), long(1)],
        vec![long(100_000)],
    ] {
        let child = waiting(&arguments);
        let pid = child.0.id();
        let theirs = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let ours = scanner.arguments(&Process::open(pid).unwrap()).unwrap().unwrap();
        // At most eight pages, the first of which it may share.
        let most = theirs.len().min(7 * 4096);
        assert!(
            ours.len() >= most && theirs.starts_with(&ours),
            "{} of {} bytes",
            ours.len(),
            theirs.len()
        );
        assert!(ours.len() == theirs.len() || theirs.len() > most);
    }
}

#[test]
fn a_process_that_has_ended_has_none() {
    let Some(mut scanner) = scanner() else { return };
    let mut child = waiting(&[]);
    let process = Process::open(child.0.id()).unwrap();
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let error = scanner.arguments(&process).unwrap_err();
    assert!(matches!(error, Error::NoProcess(_)), "{error}");
}

#[test]
fn other_methods_have_none() {
    let mut scanner = Scanner::with(Options::new().method(Method::Plain)).unwrap();
    let process = Process::open(std::process::id()).unwrap();
    assert_eq!(scanner.arguments(&process).unwrap(), None);
}
