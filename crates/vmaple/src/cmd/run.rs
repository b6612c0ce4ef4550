//! `vmaple run --proc`: a command for which /proc is the live tree.

#![allow(unsafe_code)] // a mount namespace, and a file descriptor that was inherited

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};

use anyhow::{Context, bail};
use rustix::fs::CWD;
use rustix::io::FdFlags;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::process::{Pid, Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use vmaple_fuse::{Detached, Users};

use crate::cli::RunOptions;
use crate::cmd::mount;
use crate::log_to_stderr;

/// The first argument of the process that becomes the command.
pub(crate) const COMMAND: &str = "__with-proc";

/// Runs the command, and returns its exit code; 128 and more if a signal ended it, as a shell.
pub(crate) fn run(options: &RunOptions) -> anyhow::Result<ExitCode> {
    log_to_stderr::start();
    let tree = Detached::new(mount::live(&options.live_options)?, Users::All)?;
    // For the one child; this process executes no other.
    rustix::io::fcntl_setfd(tree.as_fd(), FdFlags::empty())?;
    // The terminal's are for the command; this process ends after it.
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM])?;
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        .arg(tree.as_fd().as_raw_fd().to_string())
        .args(&options.command)
        .spawn()
        .context("starting the command")?;
    // Not for the command.
    mount::allow_many_files()?;
    let pid = Pid::from_child(&child);
    let handle = signals.handle();
    let forwards = std::thread::spawn(move || {
        for _ in signals.forever().filter(|&signal| signal == SIGTERM) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    });
    let status = wait(&mut child);
    handle.close();
    let _ = forwards.join();
    let status = status.context("waiting for the command")?;
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        match child.wait() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// Mounts the tree over /proc in a mount namespace of this process alone, and becomes the command.
pub(crate) fn perform(mut args: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let (Some(fd), Some(program)) = (args.next(), args.next()) else {
        bail!("a mount and a command are expected");
    };
    let fd = fd
        .to_str()
        .and_then(|fd| fd.parse().ok())
        .context("a file descriptor is expected")?;
    // What serves /proc ends with the parent.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // SAFETY: a mount namespace of its own changes nothing that Rust knows of; files stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        .context("a mount namespace of its own: it needs CAP_SYS_ADMIN: run as root")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("making mounts private")?;
    // SAFETY: the parent has opened it for this process, which closes it when it becomes the
    // command.
    let tree = unsafe { BorrowedFd::borrow_raw(fd) };
    move_mount(tree, "", CWD, "/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).context("mounting over /proc")?;
    rustix::io::fcntl_setfd(tree, FdFlags::CLOEXEC)?;
    let error = Command::new(&program).args(args).exec();
    eprintln!("vmaple: executing {}: {error}", program.display());
    // As a shell says it.
    Ok(ExitCode::from(if error.kind() == ErrorKind::NotFound {
        127
    } else {
        126
    }))
}
