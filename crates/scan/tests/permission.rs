//! A caller that may not read /proc/PID/maps may not scan the process, though the program could.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // becomes another user

mod targets;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use targets::{ANON, RW, Target, copy_program, map, scanner, write};
use vmaple_scan::{Error, Method, Options, Scanner, Want};

const AGAIN: &str = "VMAPLE_TEST_AGAIN";
const NOBODY: u32 = 65534;
const SYS_PTRACE: u64 = 1 << 19;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Runs a test in a process of its own, as it gives up rights for good. Returns a process of root's
/// there, and `None` here.
fn apart(test: &str) -> Option<u32> {
    if let Ok(other) = std::env::var(AGAIN) {
        return Some(other.parse().unwrap());
    }
    drop(scanner()?);
    let roots = Target::new(|| write(map(10, RW, ANON), 10, 1));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(AGAIN, roots.pid().to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    eprint!("{text}");
    None
}

/// Becomes a user whose only rights are these capabilities of Linux.
fn become_nobody(capabilities: u64) {
    // SAFETY: changes the rights of this process alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    keep(capabilities);
}

/// Gives up all capabilities but these.
fn keep(capabilities: u64) {
    /// `_LINUX_CAPABILITY_VERSION_3`, of the calling thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let [low, high] = [capabilities as u32, (capabilities >> 32) as u32];
    // Effective, permitted, inheritable; lower and upper half.
    let data = [low, low, 0, high, high, 0];
    // SAFETY: header and data live on, and have the form of version 3.
    let set = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    assert_eq!(set, 0);
    // As after exec(2): what belongs to this process is the new user's.
    // SAFETY: of this process alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }, 0);
}

/// Starts a program of this user's, without capabilities.
fn sleeping() -> Killed {
    let mut command = Command::new("sleep");
    command.arg("100").stdout(Stdio::null()).stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

/// Checks whether a process may be scanned, whatever /proc allows the program.
fn assert_scans(scanner: &mut Scanner, pid: u32, may: bool) {
    match scanner.scan(pid) {
        Ok(scan) => assert!(may && scan.rollup().mappings > 0, "{:?}", scan.report()),
        Err(error) => assert!(
            !may && matches!(error, Error::NotPermitted(_)) && error.pid() == Some(pid),
            "{error}"
        ),
    }
}

fn may_read(pid: u32) -> bool {
    fs::File::open(format!("/proc/{pid}/maps")).is_ok()
}

/// Checks that the scanner is as permissive as /proc.
fn assert_as_proc(scanner: &mut Scanner, pid: u32, may: bool) {
    assert_eq!(may_read(pid), may, "/proc/{pid}/maps");
    match scanner.scan(pid) {
        Ok(scan) => assert!(may && scan.rollup().stats.rss > 0),
        Err(error) => {
            assert!(
                !may && matches!(error, Error::NotPermitted(_)) && error.pid() == Some(pid),
                "{error}"
            );
            assert!(error.to_string().contains("EACCES"), "{error}");
        }
    }
}

#[test]
fn another_user_gets_eacces() {
    let Some(other) = apart("another_user_gets_eacces") else {
        return;
    };
    let mut scanner = scanner().unwrap();
    assert_as_proc(&mut scanner, other, true); // as root
    become_nobody(0);
    assert_as_proc(&mut scanner, other, false);
    // What this user may read it may scan, with what was loaded before.
    let own = Target::new(|| write(map(10, RW, ANON), 10, 1));
    assert_as_proc(&mut scanner, own.pid(), true);
    let hidden = Target::new(|| {
        // SAFETY: of the target alone.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    });
    assert_as_proc(&mut scanner, hidden.pid(), false);
}

#[test]
fn a_program_that_runs_with_the_rights_of_another_user_is_refused() {
    let Some(_) = apart("a_program_that_runs_with_the_rights_of_another_user_is_refused") else {
        return;
    };
    let mut scanner = scanner().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // The user `nobody` will remove it.
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let path = dir.path().join("sleep");
    let sleep = ["/bin/sleep", "/usr/bin/sleep"]
        .into_iter()
        .find(|path| fs::exists(path).unwrap())
        .unwrap();
    copy_program(sleep.as_ref(), &path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    let start = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command
            .arg("100")
            .uid(NOBODY)
            .gid(NOBODY)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Killed(command.spawn().unwrap())
    };
    let (plain, with_rights) = (start(sleep.as_ref()), start(&path));
    become_nobody(0);
    let is_roots = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .any(|line| line.starts_with("Uid:") && line.split('\t').nth(2) == Some("0"))
    };
    if !is_roots(with_rights.0.id()) {
        eprintln!("skipped: {} does not run with root's rights (nosuid)", path.display());
        return;
    }
    assert_as_proc(&mut scanner, plain.0.id(), true);
    assert_as_proc(&mut scanner, with_rights.0.id(), false);
}

#[test]
fn without_root_two_capabilities_are_enough_and_without_them_no_method_is_taken_unasked() {
    let test = "without_root_two_capabilities_are_enough_and_without_them_no_method_is_taken_unasked";
    let Some(other) = apart(test) else { return };
    become_nobody(BPF | PERFMON | SYS_PTRACE);
    let mut scanner = Scanner::new().unwrap();
    // The right to look at others is another one.
    assert_scans(&mut scanner, other, true);
    drop(scanner);
    keep(BPF | PERFMON);
    let mut scanner = Scanner::new().unwrap();
    assert_eq!(scanner.method(), Method::Bpf, "{:?}", scanner.passed_over());
    let own = sleeping();
    assert_scans(&mut scanner, own.0.id(), true);
    // There are kernels where CAP_PERFMON may read every process's maps; it is given to run the
    // program, not for that.
    eprintln!("/proc/{other}/maps is readable: {}", may_read(other));
    assert_scans(&mut scanner, other, false);
    for want in [Want::Ranges, Want::Pages] {
        for sum_alone in [false, true] {
            let options = Options::new().method(Method::Plain).want(want).sum_alone(sum_alone);
            assert_scans(&mut Scanner::with(options).unwrap(), other, false);
        }
    }

    keep(0);
    let error = Scanner::new().unwrap_err();
    assert!(matches!(error, Error::NotPossible(_)), "{error}");
    let text = error.to_string();
    for part in [
        "not by bpf: ",
        "CAP_BPF",
        "not by boosted: ",
        "CAP_SYS_NICE",
        "--method plain",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\n'), "{text}");
    let mut scanner = Scanner::with(Options::new().method(Method::Plain)).unwrap();
    let own = Target::new(|| write(map(10, RW, ANON), 10, 1));
    assert_as_proc(&mut scanner, own.pid(), true);
}

#[test]
fn a_program_that_has_the_capabilities_by_its_file_shows_its_user_no_more_than_he_may_read() {
    if std::env::var(AGAIN).is_ok() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        if u64::from_str_radix(effective, 16).unwrap() != BPF | PERFMON {
            eprintln!("skipped: a file's capabilities are not taken here (nosuid)");
            return;
        }
        let scanner = Scanner::new().unwrap();
        assert_eq!(scanner.method(), Method::Bpf, "{:?}", scanner.passed_over());
        // A user who executes it may read what the user could read without it.
        let own = sleeping();
        for method in [Method::Bpf, Method::Plain] {
            let mut scanner = Scanner::with(Options::new().method(method)).unwrap();
            assert_scans(&mut scanner, own.0.id(), true);
            assert_scans(&mut scanner, std::process::id(), true);
            let roots = std::env::var(AGAIN).unwrap().parse().unwrap();
            eprintln!("/proc/{roots}/maps is readable: {}", may_read(roots));
            assert_scans(&mut scanner, roots, false);
        }
        return;
    }
    let Some(_alone) = scanner() else { return };
    let roots = Target::new(|| write(map(10, RW, ANON), 10, 1));
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("test");
    copy_program(&std::env::current_exe().unwrap(), &path);
    // `struct vfs_cap_data`: revision 2 with "effective"; permitted and inheritable, lower and
    // upper half.
    let data = [0x0200_0001, 0, 0, ((BPF | PERFMON) >> 32) as u32, 0];
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let attribute = c"security.capability";
    // SAFETY: path, name and value live on.
    let set = unsafe {
        libc::setxattr(
            name.as_ptr(),
            attribute.as_ptr(),
            data.as_ptr().cast(),
            size_of_val(&data),
            0,
        )
    };
    if set != 0 {
        eprintln!("skipped: {}: {}", path.display(), std::io::Error::last_os_error());
        return;
    }
    let output = Command::new(&path)
        .args([
            "--exact",
            "a_program_that_has_the_capabilities_by_its_file_shows_its_user_no_more_than_he_may_read",
            "--nocapture",
        ])
        .env(AGAIN, roots.pid().to_string())
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    eprint!("{text}");
}

/// A process that ends when this is dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
