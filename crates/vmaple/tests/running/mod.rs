//! Running `vmaple` as a user would, and looking for what it leaves behind.

#![allow(dead_code)] // each test file uses its own part

pub(crate) mod scan;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// Exit code, standard output, standard error.
pub(crate) fn outcome(mut command: Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The roles that the process `controller` has started and that still live, by PID and specification.
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
pub(crate) fn start_and_wait_for_roles(args: &str, count: usize) -> Child {
    let mut child = vmaple(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the roles to start", || {
        assert!(child.try_wait().unwrap().is_none(), "vmaple {args} ended early");
        roles_of(child.id()).len() >= count
    });
    child
}
