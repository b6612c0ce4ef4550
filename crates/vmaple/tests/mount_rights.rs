//! What a user may read through `vmaple mount --live`: what the user may read in /proc.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod running;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use running::mounted::{Live, as_user};
use running::scan::{Killed, copy_program, found, sleep};
use running::wait_until;

/// A user without rights, and another.
const USERS: [u32; 2] = [65534, 65533];

/// Directories and files, of which some are for the owner alone, and some for tracers.
const FILES: &str = "maps smaps smaps_rollup numa_maps cmdline environ status stat io auxv pagemap mem stack syscall \
                     limits wchan";

/// A process of another user's.
fn sleep_of(uid: u32) -> Killed {
    let mut command = Command::new("setpriv");
    let id = uid.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "sleep"]);
    Killed::sleep(&mut command)
}

/// A set-user-ID program of root's that sleeps, in a place that every user can reach.
fn set_user_id_sleep(place: &Path) -> PathBuf {
    let program = place.join("sleep");
    copy_program(&found("sleep"), &program);
    fs::set_permissions(place, PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
    program
}

/// What a user can do with the files of processes in a tree: the exit code of each.
fn outcomes(root: &Path, pids: &[u32], uid: u32, capabilities: &str) -> BTreeMap<String, String> {
    let script = format!(
        "for pid in {} self; do for name in {FILES}; do head -c 1 {root}/$pid/$name >/dev/null 2>&1; echo $pid/$name $?; done; \
         ls {root}/$pid/fd >/dev/null 2>&1; echo $pid/fd $?; readlink {root}/$pid/exe >/dev/null 2>&1; echo $pid/exe $?; \
         for right in r w x; do test -$right {root}/$pid/environ; echo $pid/environ-$right $?; done; done; \
         for name in sys/net/core/bpf_jit_harden sys/kernel/ostype sys/fs/protected_hardlinks kmsg vmallocinfo version; do \
         head -c 1 {root}/$name >/dev/null 2>&1; echo $name $?; done",
        pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
        root = root.display()
    );
    let output = as_user(uid, capabilities, &script).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.lines().count() > 60,
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(file, code)| (file.to_owned(), code.to_owned())).collect()
}

#[test]
fn what_a_user_may_read_of_any_process_is_what_the_user_may_read_in_proc() {
    let Some(live) = Live::mount("--allow-other") else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let program = set_user_id_sleep(place.path());
    let mut raised = as_user(USERS[0], "", &format!("exec {} 1000", program.display()));
    let raised = Killed(raised.spawn().unwrap());
    wait_until("the set-user-ID program", || {
        fs::read_to_string(format!("/proc/{}/comm", raised.pid())).is_ok_and(|name| name == "sleep\n")
    });
    let (roots, own, others) = (sleep(), sleep_of(USERS[0]), sleep_of(USERS[1]));
    let pids = [roots.pid(), own.pid(), others.pid(), raised.pid()];
    for uid in [USERS[0], 0] {
        for capabilities in [
            "",
            "+sys_ptrace",
            "+dac_read_search",
            "+sys_ptrace,+dac_read_search,+sys_admin",
        ] {
            let theirs = outcomes(Path::new("/proc"), &pids, uid, capabilities);
            let ours = outcomes(&live.root(), &pids, uid, capabilities);
            for (file, code) in &theirs {
                // Writing is for nobody there.
                if !file.ends_with("-w") {
                    assert_eq!(ours.get(file), Some(code), "{file} as {uid} with '{capabilities}'");
                }
            }
        }
    }
    // So that the test shows something.
    let alone = outcomes(&live.root(), &pids, USERS[0], "");
    let code = |pid: u32, file: &str| alone[&format!("{pid}/{file}")] == "0";
    assert!(code(own.pid(), "maps") && code(own.pid(), "environ") && code(roots.pid(), "cmdline"));
    for pid in [roots.pid(), others.pid(), raised.pid()] {
        for file in ["maps", "smaps", "smaps_rollup", "environ", "fd", "exe"] {
            assert!(!code(pid, file), "{pid}/{file}");
        }
    }
}

#[test]
fn rights_in_another_user_namespace_are_none_here() {
    let Some(live) = Live::mount("--allow-other") else {
        return;
    };
    let roots = sleep();
    let read = |root: &Path| {
        let script = format!(
            "unshare -U -r sh -c 'id -u; head -c 1 {}/{}/maps'",
            root.display(),
            roots.pid()
        );
        let output = as_user(USERS[0], "", &script).output().unwrap();
        (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (theirs, said) = read(Path::new("/proc"));
    if !theirs.starts_with('0') {
        println!("skipped: {said}");
        return;
    }
    assert_eq!(read(&live.root()).0, theirs);
    assert_eq!(theirs, "0\n", "root there reads nothing of root's here");
}

#[test]
fn another_user_gets_in_only_if_that_was_asked_for() {
    let Some(live) = Live::mount("") else { return };
    let script = format!("cat {}/version", live.root().display());
    let output = as_user(USERS[0], "", &script).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"));
}

/// A shell that does one line after the other.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(uid: u32) -> Self {
        let mut command = as_user(uid, "", "while read line; do eval \"$line\"; echo; done");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Has a line done that prints at most one line.
    fn does(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        said
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_file_that_was_open_before_a_program_of_roots_is_executed_does_not_show_that() {
    let Some(live) = Live::mount("--allow-other") else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let program = set_user_id_sleep(place.path());
    let mut target = Shell::start(USERS[0]);
    let mut reader = Shell::start(USERS[0]);
    let pid = target.child.id();
    target.does("");
    for (fd, name) in [(3, "maps"), (4, "smaps"), (5, "smaps_rollup"), (6, "environ")] {
        reader.does(&format!("exec {fd}<{}", live.at(format!("{pid}/{name}")).display()));
    }
    // It can be read while the process is the user's.
    let first = reader.does(&format!("head -c 30 {}", live.at(format!("{pid}/maps")).display()));
    assert!(first.contains('-'), "{first}");
    writeln!(target.input, "exec {} 1000", program.display()).unwrap();
    wait_until("the set-user-ID program", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    for fd in 3..=6 {
        // Nothing but the end of the line.
        let shown = reader.does(&format!("wc -c <&{fd} 2>/dev/null | tr -d '\\n'"));
        assert!(matches!(shown.trim(), "0" | ""), "descriptor {fd}: {shown}");
    }
}
