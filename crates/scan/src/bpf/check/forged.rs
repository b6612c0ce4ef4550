//! Attacks on the identity of the scanned process.
//!
//! Another program comes under the number of the one that the caller was allowed to read, or the
//! rights of a process change during the scan.

#![allow(unsafe_code)] // the attacker's system calls
#![allow(clippy::unwrap_used, clippy::multiple_unsafe_ops_per_block)] // tests

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::time::Duration;

use crate::bpf::engine::Engine;
use crate::bpf::scan::session::{Begun, Session};
use crate::error::{Error, Result};
use crate::kernel::release;
use crate::options::Options;
use crate::process::Process;
use crate::record::Mappings;
use crate::source::{Content, Found};

const NOBODY: u32 = 65534;
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
/// An order to an attacker, which answers with the number of its program.
#[derive(Clone, Copy)]
enum Do {
    /// Start a program of its own.
    Start = b'1' as isize,
    /// End it, and wait for it.
    End = b'k' as isize,
    /// Start a program that has the rights of root.
    StartWithRights = b'2' as isize,
    /// The same, but first take numbers until that of the ended program is next.
    TakeNumbersAndStartWithRights = b'3' as isize,
}

/// An ordinary user's process, which ends when this is dropped.
struct Attacker {
    pid: libc::pid_t,
    tell: std::io::PipeWriter,
    answer: std::io::PipeReader,
}

impl Attacker {
    /// Starts it. `with_rights` is a program with a set-user-ID bit.
    fn start(with_rights: &Path) -> Self {
        let (orders, tell) = std::io::pipe().unwrap();
        let (answer, reply) = std::io::pipe().unwrap();
        let with_rights = CString::new(with_rights.to_str().unwrap()).unwrap();
        // SAFETY: the child allocates nothing, as another thread may hold the allocator's lock.
        match unsafe { libc::fork() } {
            0 => attack(orders.as_raw_fd(), reply.as_raw_fd(), &with_rights),
            pid => {
                assert!(pid > 0);
                Self { pid, tell, answer }
            }
        }
    }

    fn order(&mut self, what: Do) -> u32 {
        self.tell.write_all(&[what as u8]).unwrap();
        let mut pid = [0; 4];
        self.answer.read_exact(&mut pid).unwrap();
        u32::from_ne_bytes(pid)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // SAFETY: a child that was not waited for keeps its number.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: a null pointer, as the status is not wanted.
        unsafe { libc::waitpid(self.pid, null_mut(), 0) };
    }
}

/// Obeys orders until the process is killed.
///
/// Its programs are started as by vfork(2), so that exec alone takes a `mm_struct`: on one CPU that
/// is the one which was freed last.
fn attack(orders: libc::c_int, reply: libc::c_int, with_rights: &CStr) -> ! {
    let own = SLEEP.iter().find(|path| {
        // SAFETY: the path outlives the call.
        unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
    });
    let own = own.copied().unwrap_or(SLEEP[0]);
    // SAFETY: of this type zeros are a value.
    let mut cpu: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: changes the attacker alone.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::CPU_SET(0, &mut cpu);
        libc::sched_setaffinity(0, size_of_val(&cpu), &raw const cpu);
        libc::setgroups(0, null());
        libc::setresgid(NOBODY, NOBODY, NOBODY);
        libc::setresuid(NOBODY, NOBODY, NOBODY);
    }
    let mut program = 0;
    loop {
        let mut order = 0_u8;
        // SAFETY: the byte outlives the call.
        if unsafe { libc::read(orders, (&raw mut order).cast(), 1) } != 1 {
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(0) };
        }
        match order {
            b'1' => program = spawn(own),
            b'k' => end(program),
            b'2' => program = spawn(with_rights),
            _ => {
                let wanted = program - 1;
                // Starting a program that does not exist takes a number. A number that others take
                // is missed, and comes again.
                let mut tries = 0;
                while last_pid() != wanted && tries < 100_000 {
                    spawn(c"/nonexistent");
                    tries += 1;
                }
                program = spawn(with_rights);
            }
        }
        // SAFETY: the number outlives the call.
        unsafe { libc::write(reply, (&raw const program).cast(), 4) };
    }
}

const SLEEP: [&CStr; 2] = [c"/bin/sleep", c"/usr/bin/sleep"];

fn spawn(program: &CStr) -> libc::pid_t {
    let arguments = [program.as_ptr(), c"100".as_ptr(), null()];
    let mut pid = 0;
    // SAFETY: strings that live on, each list with a null at its end.
    let failed = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            null(),
            null(),
            arguments.as_ptr().cast(),
            [null_mut()].as_ptr(),
        )
    };
    if failed == 0 { pid } else { 0 }
}

fn end(program: libc::pid_t) {
    // SAFETY: a child that was not waited for keeps its number.
    unsafe { libc::kill(program, libc::SIGKILL) };
    // SAFETY: a null pointer, as the status is not wanted.
    unsafe { libc::waitpid(program, null_mut(), 0) };
}

/// Returns the number that was given last in this PID namespace.
///
/// It is the last word of /proc/loadavg, which every user may read.
fn last_pid() -> libc::pid_t {
    let mut text = [0_u8; 128];
    // SAFETY: opens, reads and closes a file, into bytes that live on.
    let length = unsafe {
        let file = libc::open(c"/proc/loadavg".as_ptr(), libc::O_RDONLY);
        let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        length
    };
    let text = text.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
    let word = text
        .trim_ascii()
        .rsplit(|&byte| byte == b' ')
        .next()
        .unwrap_or_default();
    std::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Makes a copy of sleep(1) that runs with root's rights, in a directory.
///
/// Returns `None`, and prints why, where no program does.
fn with_rights() -> Option<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let flags = rustix::fs::statvfs(dir.path()).unwrap().f_flag;
    if flags.contains(rustix::fs::StatVfsMountFlags::NOSUID) || status.contains("NoNewPrivs:\t1") {
        eprintln!("skipped: programs do not run with the rights of their owner here (nosuid)");
        return None;
    }
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let path = dir.path().join("sleep");
    let sleep = SLEEP
        .map(|path| path.to_str().unwrap())
        .into_iter()
        .find(|path| fs::exists(path).unwrap());
    // By a process of its own: others that this one starts would have the copy open for writing.
    let copied = Command::new("cp").arg(sleep.unwrap()).arg(&path).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    Some((dir, path))
}

fn is_roots(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    uid.split('\t').nth(2) == Some("0")
}

/// Waits until something is so that becomes so by itself.
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("it does not come");
}

/// Loads the program; `None`, with a message, where that is not possible.
fn load() -> Option<Engine> {
    // SAFETY: asks for the user's number.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: it needs root");
        return None;
    }
    Engine::load().inspect_err(|why| eprintln!("skipped: {why}")).ok()
}

fn begin(engine: &mut Engine, process: &Process) -> Result<Begun> {
    Begun::new(engine, process, &Options::new())
}

/// Makes the rest of a scan.
fn go_on(engine: &mut Engine, process: &Process, begun: &Begun) -> Result<Found> {
    let found = Session::new(engine, process, begun, &Options::new(), Mappings::default())?.run()?;
    process.check_still()?;
    Ok(found)
}

/// Attacks `rounds` times, and checks that nothing of the second program is taken for the first's.
///
/// Returns how often both had one number, and how often one address of the `mm_struct` and one
/// number of executed programs too.
fn attacks(rounds: usize, second: &dyn Fn(&mut Attacker, u32) -> u32) -> Option<(usize, usize)> {
    let mut engine = load()?;
    let (_dir, path) = with_rights()?;
    let mut user = Attacker::start(&path);
    let (mut same_number, mut same_identity, mut taken) = (0, 0, 0);
    for _ in 0..rounds {
        let pid = user.order(Do::Start);
        let process = Process::open(pid).unwrap();
        let begun = begin(&mut engine, &process).unwrap();
        user.order(Do::End);
        let second = second(&mut user, pid);
        wait_until(|| is_roots(second));
        if second == pid {
            same_number += 1;
            let now = begin(&mut engine, &Process::open(pid).unwrap()).unwrap().identity;
            let of = |control: &crate::bpf::abi::Control| (control.found_mm, control.found_exec_id);
            same_identity += usize::from(of(&now) == of(&begun.identity));
            match go_on(&mut engine, &process, &begun) {
                Ok(found) => {
                    let is_empty = matches!(&found.content, Content::Mappings(mappings) if mappings.lines.is_empty());
                    taken += usize::from(!is_empty);
                }
                Err(Error::NoProcess(_) | Error::Executed(_)) => {}
                Err(e) => panic!("{e}"),
            }
        }
        user.order(Do::End);
    }
    eprintln!(
        "of {rounds}: same number {same_number}, same mm_struct and exec id {same_identity}, taken for the first {taken}"
    );
    assert_eq!(taken, 0);
    // Otherwise nothing was tried.
    assert!(same_identity > 0);
    Some((same_number, same_identity))
}

#[test]
fn another_program_of_the_same_number_address_and_exec_id_is_not_taken_for_the_first() {
    if fs::write(LAST_PID, "1000").is_err() {
        eprintln!("skipped: {LAST_PID} is not to be written");
        return;
    }
    attacks(300, &|user, pid| {
        fs::write(LAST_PID, (pid - 1).to_string()).unwrap();
        user.order(Do::StartWithRights)
    });
}

/// The same without any right. Numbers come again soon in a PID namespace that has few of them.
#[test]
fn a_user_who_takes_numbers_until_one_comes_again_is_not_shown_another_program() {
    const INSIDE: &str = "VMAPLE_TEST_INSIDE";
    let test = "bpf::forged::a_user_who_takes_numbers_until_one_comes_again_is_not_shown_another_program";
    if std::env::var(INSIDE).is_ok() {
        fs::write("/proc/sys/kernel/pid_max", "400").unwrap();
        attacks(20, &|user, _| user.order(Do::TakeNumbersAndStartWithRights));
        return;
    }
    if release() < (6, 14) {
        eprintln!("skipped: before Linux 6.14 pid_max is one for all PID namespaces");
        return;
    }
    if load().is_none() {
        return;
    }
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "")
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no unshare(1)");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    eprint!("{text}");
}

/// The time of the beginning tells two processes apart if all else is the same.
#[test]
fn a_process_that_began_at_another_time_is_another() {
    let Some(mut engine) = load() else { return };
    let process = Process::open(std::process::id()).unwrap();
    let mut begun = begin(&mut engine, &process).unwrap();
    assert!(begun.identity.found_started > 0);
    assert!(go_on(&mut engine, &process, &begun).is_ok());
    begun.identity.found_started += 1;
    assert!(matches!(go_on(&mut engine, &process, &begun), Err(Error::Executed(_))));
}

/// Calls `run` in a thread that has the rights of an ordinary user.
fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the system calls themselves, unlike libc's functions, change this thread
            // alone.
            let changed = unsafe {
                [
                    libc::syscall(libc::SYS_setgroups, 0, null::<libc::gid_t>()),
                    libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY),
                    libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY),
                ]
            };
            assert_eq!(changed, [0; 3]);
            run()
        });
        thread.join().unwrap()
    })
}

/// The process is like one that executes a program of more rights. It already has the new memory,
/// and with real-time locks the kernel does not say that it is executing.
#[test]
fn a_process_that_may_not_be_read_any_more_at_the_end_is_not_shown() {
    let Some(mut engine) = load() else { return };
    let (orders, mut tell) = std::io::pipe().unwrap();
    let (mut answer, reply) = std::io::pipe().unwrap();
    // SAFETY: the child calls nothing that another thread could have locked.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let mut byte = 0_u8;
        // SAFETY: changes the child alone; a byte that lives on.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::setgroups(0, null());
            libc::setresgid(NOBODY, NOBODY, NOBODY);
            libc::setresuid(NOBODY, NOBODY, NOBODY);
            for dumpable in [1, 0] {
                libc::prctl(libc::PR_SET_DUMPABLE, dumpable);
                libc::write(reply.as_raw_fd(), (&raw const byte).cast(), 1);
                libc::read(orders.as_raw_fd(), (&raw mut byte).cast(), 1);
            }
            libc::_exit(0)
        }
    }
    answer.read_exact(&mut [0]).unwrap();
    let result = as_nobody(|| {
        let process = Process::open(pid.cast_unsigned()).unwrap();
        let begun = begin(&mut engine, &process).unwrap();
        assert!(go_on(&mut engine, &process, &begun).is_ok());
        tell.write_all(&[1]).unwrap();
        answer.read_exact(&mut [0]).unwrap();
        go_on(&mut engine, &process, &begun).map(drop)
    });
    end(pid);
    assert!(
        matches!(result, Err(Error::NotPermitted(ref denied)) if denied.pid() == pid.cast_unsigned()),
        "{result:?}"
    );
}

#[test]
fn a_program_of_roots_that_the_process_executes_during_the_scan_is_not_shown() {
    let Some(mut engine) = load() else { return };
    let Some((_dir, path)) = with_rights() else { return };
    let mut child = Command::new("sh")
        .args(["-c", "read go; exec \"$0\" 100", path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .uid(NOBODY)
        .gid(NOBODY)
        .spawn()
        .unwrap();
    let pid = child.id();
    // It is ready once it waits for its order.
    wait_until(|| fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|call| call.starts_with("0 0x0 ")));
    let result = as_nobody(|| {
        let process = Process::open(pid).unwrap();
        let begun = begin(&mut engine, &process).unwrap();
        assert!(go_on(&mut engine, &process, &begun).is_ok());
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        wait_until(|| is_roots(pid));
        let result = go_on(&mut engine, &process, &begun).map(drop);
        // A scan that begins now fails too.
        assert!(matches!(begin(&mut engine, &process), Err(Error::NotPermitted(_))));
        result
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(result, Err(Error::Executed(_))), "{result:?}");
}
