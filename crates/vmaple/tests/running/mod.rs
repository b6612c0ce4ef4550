//! Running `vmaple` as a user would, and looking for what it leaves behind.

#![allow(dead_code)] // each test file uses its own part

pub(crate) mod exposition;
pub(crate) mod mounted;
pub(crate) mod scan;

use std::fs;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use vmaple_repro::report::{Json, Report};

pub(crate) const VMAPLE: &str = env!("CARGO_BIN_EXE_vmaple");

/// `vmaple` with `args` (separated by blanks) after their `{}`s were replaced by `path`.
pub(crate) fn vmaple_with(args: &str, path: &Path) -> Command {
    let mut command = Command::new(VMAPLE);
    command.args(args.split_whitespace().map(|a| a.replace("{}", path.to_str().unwrap())));
    command
}

pub(crate) fn vmaple(args: &str) -> Command {
    vmaple_with(args, Path::new(""))
}

/// A `vmaple` that runs. It ends with this at the latest.
///
/// What it wrote and how it ended is printed when it has ended, which a test shows when it fails.
pub(crate) struct Running {
    child: Child,
    command: String,
    out: fs::File,
    err: fs::File,
    /// Whether its end has been printed.
    is_over: bool,
}

impl Running {
    /// Starts it, without input.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with(command, |_| {})
    }

    /// The same, with its standard output to be read from a pipe meanwhile.
    pub(crate) fn start_with_reader(command: Command) -> (Self, BufReader<ChildStdout>) {
        let mut running = Self::start_with(command, |command| {
            command.stdout(Stdio::piped());
        });
        let out = running.child.stdout.take().unwrap();
        (running, BufReader::new(out))
    }

    /// The same, with what `change` makes different.
    pub(crate) fn start_with(mut command: Command, change: impl FnOnce(&mut Command)) -> Self {
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap());
        command.stderr(err.try_clone().unwrap());
        change(&mut command);
        Self {
            child: command.spawn().unwrap(),
            command: format!("{command:?}"),
            out,
            err,
            is_over: false,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// What it has written to standard error so far.
    pub(crate) fn err(&self) -> String {
        String::from_utf8(written(&self.err)).unwrap()
    }

    /// Waits for its end: exit code (none if a signal ended it), standard output, standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (code, out, err) = self.end_bytes();
        (code, String::from_utf8(out).unwrap(), err)
    }

    /// The same, with an output that need not be text.
    fn end_bytes(&mut self) -> (Option<i32>, Vec<u8>, String) {
        let status = self.child.wait().unwrap();
        let (out, err) = (written(&self.out), self.err());
        if !std::mem::replace(&mut self.is_over, true) {
            println!("--- {}: {status}", self.command);
            println!(
                "{}{}",
                shown("standard output", &out),
                shown("standard error", err.as_bytes())
            );
        }
        (status.code(), out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.child.kill();
            self.end_bytes();
        }
    }
}

/// The whole of a file, whose place is shared with a process that writes to it.
fn written(file: &fs::File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What a process wrote, without the middle if that is long.
fn shown(name: &str, bytes: &[u8]) -> String {
    const MOST: usize = 100;
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().collect();
    let mut shown = format!("--- {name}: {} lines\n", lines.len());
    for (i, line) in lines.iter().enumerate() {
        if i < MOST || i + MOST >= lines.len() {
            shown += &format!("{line}\n");
        } else if i == MOST {
            shown += "...\n";
        }
    }
    shown
}

/// Exit code, standard output, standard error.
pub(crate) fn outcome(command: Command) -> (i32, String, String) {
    let (code, out, err) = Running::start(command).end();
    (code.unwrap_or(-1), out, err)
}

/// The same, with an output that need not be text.
pub(crate) fn outcome_bytes(command: Command) -> (i32, Vec<u8>, String) {
    let (code, out, err) = Running::start(command).end_bytes();
    (code.unwrap_or(-1), out, err)
}

/// Runs an experiment, and again ten and a hundred times as long, until its report `is_enough`.
///
/// On a busy machine a short run may end before a scanner or a faulting thread has had the CPU.
/// Returns the report and both outputs, or nothing if this machine cannot run it.
pub(crate) fn experiment(
    args: &str,
    dir: &Path,
    is_enough: impl Fn(&Report) -> bool,
) -> Option<(Report, String, String)> {
    for duration in ["200ms", "2s", "20s"] {
        let args = format!("{args} --duration {duration} --export-json {{}}/a.json");
        let (code, out, err) = outcome(vmaple_with(&args, dir));
        if code == 77 {
            println!("skipped: {err}");
            return None;
        }
        assert_eq!(code, 0, "{err}");
        let report = load(&dir.join("a.json"));
        if is_enough(&report) {
            return Some((report, out, err));
        }
        println!("not enough in {duration}");
    }
    panic!("not enough in 20 s: {args}");
}

pub(crate) fn load(path: &Path) -> Report {
    Json::read(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The roles that the process `controller` has started and that still live, by PID and
/// specification.
pub(crate) fn roles_of(controller: u32) -> Vec<(i32, String)> {
    let tag = format!("\"controller\":{controller},");
    let role = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let cmdline = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (cmdline.contains("__role") && cmdline.contains(&tag)).then_some((pid, cmdline))
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(role).collect()
}

/// Looks again and again until `done`, at most a minute.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts `vmaple` and waits until `count` of its roles live.
pub(crate) fn start_and_wait_for_roles(args: &str, count: usize) -> Running {
    let mut running = Running::start(vmaple(args));
    wait_until("the roles to start", || {
        assert!(!running.has_ended(), "vmaple {args} ended early");
        roles_of(running.id()).len() >= count
    });
    running
}
