//! The processes of a run: started, watched, and ended with the value that holds them.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::fs::MemfdFlags;

use crate::error::{Error, Result};

use super::task::{COMMAND, RoleSpec, Task};

/// A child process of a run.
struct Process {
    child: Child,
    name: &'static str,
}

/// Kills and reaps all of them: kills every one before it reaps the first, so that none gains from
/// the end of another.
fn end(processes: &mut Vec<Process>) {
    for process in &mut *processes {
        // It may have ended by itself.
        let _ = process.child.kill();
    }
    for mut process in processes.drain(..) {
        let _ = process.child.wait();
    }
}

/// The mapper's process, and those of its interferers, if these are not threads of it.
pub(crate) struct Processes<'a> {
    /// The program that lets [`super::task::perform`] take over.
    exe: &'a Path,
    /// Standard error of all roles.
    errors: File,
    mapper: Vec<Process>,
    interferers: Vec<Process>,
}

impl Drop for Processes<'_> {
    fn drop(&mut self) {
        end(&mut self.mapper);
        end(&mut self.interferers);
    }
}

impl<'a> Processes<'a> {
    /// Prepares to start processes.
    pub(crate) fn new(exe: &'a Path) -> Result<Self> {
        Ok(Self {
            exe,
            // A file in memory: unlike a pipe, it never blocks a writer.
            errors: rustix::fs::memfd_create("vmaple-output", MemfdFlags::CLOEXEC)
                .map(File::from)
                .map_err(|e| Error::failed("making a file in memory", e))?,
            mapper: vec![],
            interferers: vec![],
        })
    }

    /// Starts the mapper, or the model that it is a thread of; returns its standard output.
    pub(crate) fn start_mapper(&mut self, task: Task, ledger: impl AsFd) -> Result<ChildStdout> {
        let mut mapper = self.spawn(task, ledger, Stdio::piped())?;
        let output = mapper.child.stdout.take();
        self.mapper.push(mapper);
        output.ok_or_else(|| Error::failed("starting the mapper", "it has no standard output"))
    }

    pub(crate) fn start_interferer(&mut self, task: Task, ledger: impl AsFd) -> Result<()> {
        let interferer = self.spawn(task, ledger, Stdio::null())?;
        self.interferers.push(interferer);
        Ok(())
    }

    fn spawn(&self, task: Task, ledger: impl AsFd, stdout: Stdio) -> Result<Process> {
        let name = match task {
            Task::Mapper(_) => "the mapper",
            Task::Model(_) => "the model",
            _ => "a scanner or busy task",
        };
        let spec = RoleSpec::of(task)?;
        let failed = |e: &dyn std::fmt::Display| Error::failed("starting a role", e);
        let ledger = rustix::io::dup(ledger).map_err(|e| failed(&e))?;
        let errors = self.errors.try_clone().map_err(|e| failed(&e))?;
        let child = Command::new(self.exe)
            .args([COMMAND, &spec])
            .stdin(ledger)
            .stdout(stdout)
            .stderr(errors)
            .process_group(0) // a Ctrl-C is the controller's to handle
            .spawn()
            .map_err(|e| failed(&e))?;
        Ok(Process { child, name })
    }

    pub(crate) fn mapper_pid(&self) -> i32 {
        self.mapper.first().map_or(0, |p| p.child.id()).cast_signed()
    }

    pub(crate) fn end_interferers(&mut self) {
        end(&mut self.interferers);
    }

    /// Fails if a role has ended that should not have.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        for process in self.mapper.iter_mut().chain(&mut self.interferers) {
            if let Ok(Some(status)) = process.child.try_wait() {
                let (pid, name) = (process.child.id(), process.name);
                return Err(self.failed(pid, name, status));
            }
        }
        Ok(())
    }

    /// Returns the error of a mapper that has ended without a result.
    pub(crate) fn mapper_failed(&mut self) -> Error {
        let Some(Process { child, name }) = self.mapper.first_mut() else {
            return Error::failed("running the mapper", "it was never started");
        };
        let (pid, name) = (child.id(), *name);
        match child.wait() {
            Ok(status) => self.failed(pid, name, status),
            Err(e) => Error::failed(format!("waiting for {name} (PID {pid})"), e),
        }
    }

    /// Returns the error of a role that ended with `status`, with what it wrote.
    fn failed(&mut self, pid: u32, name: &str, status: ExitStatus) -> Error {
        let mut text = String::new();
        let _ = self.errors.rewind();
        let _ = self.errors.read_to_string(&mut text);
        let own = format!("[{pid}] ");
        let said: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&own)).collect();
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (_, Some(signal)) => format!("was killed by signal {signal}"),
            _ => "ended".into(),
        };
        Error::failed(
            format!("running {name} (PID {pid})"),
            format!("it {how}{}{}", if said.is_empty() { "" } else { ": " }, said.join("; ")),
        )
    }
}
