//! The arguments and the environment of processes, next to /proc/PID/cmdline and environ.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::os::unix::fs::FileExt;
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
fn arguments_and_environment_are_those_of_proc_of_any_length_and_bytes() {
    let Some(mut scanner) = scanner() else { return };
    let long = |bytes: usize| "x".repeat(bytes);
    for arguments in [
        vec![],
        vec!["é".to_owned(), String::new(), "a b".to_owned()],
        vec![long(5000), long(4096), long(1)],
        vec![long(100_000), long(100_000), long(100_000)],
    ] {
        let child = waiting(&arguments);
        let process = Process::open(child.0.id()).unwrap();
        same(&mut scanner, &process);
    }
}

/// Checks that both are whole and those of /proc; returns the arguments.
fn same(scanner: &mut Scanner, process: &Process) -> Vec<u8> {
    let ours = scanner.environment(process).unwrap().unwrap();
    assert!(ours.is_whole());
    assert!(ours.bytes() == process.read_file("environ").unwrap(), "environment");
    let ours = scanner.arguments(process).unwrap().unwrap();
    assert!(ours.is_whole());
    let theirs = process.read_file("cmdline").unwrap();
    assert!(
        ours.bytes() == theirs,
        "{} of {} bytes",
        ours.bytes().len(),
        theirs.len()
    );
    theirs
}

#[test]
fn what_a_process_writes_over_its_arguments_is_shown_as_the_kernel_shows_it() {
    let Some(mut scanner) = scanner() else { return };
    // Where this process's own are: it is its own target.
    let pid = std::process::id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let field = |n: usize| {
        after_name
            .split_whitespace()
            .nth(n - 3)
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    let (start, end, environment_end) = (field(48), field(49), field(51));
    let whole = environment_end - start;
    let memory = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let mut before = vec![0; whole];
    memory.read_exact_at(&mut before, start as u64).unwrap();
    let process = Process::open(pid).unwrap();
    let mut shown = |text: &[u8]| {
        memory.write_all_at(text, start as u64).unwrap();
        let shown = same(&mut scanner, &process);
        memory.write_all_at(&before, start as u64).unwrap();
        shown
    };
    let arguments = end - start;
    assert_eq!(shown(b"").len(), arguments);
    // Shorter, with NULs up to the end: the whole of it, still.
    let mut title = b"title".to_vec();
    title.resize(arguments, 0);
    assert_eq!(shown(&title).len(), arguments);
    // The last NUL is gone: it goes up to the next, in the environment.
    let title = vec![b'x'; arguments + 3];
    assert!(shown(&title).len() > arguments);
    let title = [vec![b'y'; arguments + 3], vec![0]].concat();
    assert_eq!(shown(&title).len(), arguments + 4);
    // No NUL at all.
    let title = vec![b'z'; whole];
    assert_eq!(shown(&title).len(), whole.min(4096));
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
    assert_eq!(scanner.environment(&process).unwrap(), None);
}
