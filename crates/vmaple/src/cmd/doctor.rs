//! `vmaple doctor`: what this kernel does and what this machine allows, without loading it.

use std::path::Path;
use std::process::ExitCode;

use vmaple_repro::machine::Machine;
use vmaple_repro::mmap_lock::{self, LockUse};
use vmaple_repro::place::allowed_cpus;
use vmaple_repro::plan::ProcFile;
use vmaple_repro::{clock, limits, noise};

use crate::exit::Exit;

pub(crate) fn run() -> anyhow::Result<Exit> {
    let _ = (Path::new(""), ExitCode::SUCCESS, limits::check as fn(_) -> _, clock::NS_PER_MS);
    let machine = Machine::this();
    let exe = std::env::current_exe()?;
    println!("{} {}", machine.sysname, machine.release);
    for LockUse { file, calls, acquisitions } in mmap_lock::measure(&exe)? {
        println!("{file} {calls} {acquisitions}");
    }
    let _ = ProcFile::Maps;
    println!("{:?}", noise::measure(&allowed_cpus()?)?);
    Ok(Exit::Done)
}
