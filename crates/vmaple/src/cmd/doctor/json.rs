//! What `vmaple doctor` finds, as one object. docs/json.md describes it.

use std::time::SystemTime;

use serde::Serialize;
use vmaple_repro::machine::Machine;
use vmaple_repro::run::mmap_lock::{self, LockUse};
use vmaple_scan::{Method, Options, Scanner};

use crate::cmd::print;
use crate::exit::Exit;

/// The form and its version. A change that breaks a reader raises the version.
const SCHEMA: &str = "vmaple-doctor/1";

#[derive(Serialize)]
struct Object {
    schema: &'static str,
    time: String,
    version: &'static str,
    machine: Machine,
    /// The method that a scan takes without --method.
    scan_takes: Option<&'static str>,
    scan: Vec<MethodObject>,
    /// `None` if this kernel does not describe itself.
    page_tables_freed_by_rcu: Option<bool>,
    /// `None` if they could not be counted.
    locks: Option<Vec<LockObject>>,
    locks_why: Option<String>,
}

#[derive(Serialize)]
struct MethodObject {
    method: &'static str,
    is_possible: bool,
    why: Option<String>,
}

#[derive(Serialize)]
struct LockObject {
    file: &'static str,
    calls: u64,
    mmap_lock_acquisitions: u64,
}

/// Prints the object. The exit code says whether a scan by BPF is possible.
pub(super) fn run() -> anyhow::Result<Exit> {
    let scan: Vec<_> = [Method::Bpf, Method::Boosted]
        .map(|method| {
            let scanner = Scanner::with(Options::new().method(method));
            MethodObject {
                method: method.name(),
                is_possible: scanner.is_ok(),
                why: scanner.err().map(|why| why.to_string()),
            }
        })
        .into();
    let (locks, locks_why) = match mmap_lock::measure(&std::env::current_exe()?) {
        Ok(uses) => (Some(uses.iter().map(LockObject::of).collect()), None),
        Err(why) => (None, Some(why.to_string())),
    };
    let takes = scan
        .iter()
        .find(|method| method.is_possible)
        .map(|method| method.method);
    let object = Object {
        schema: SCHEMA,
        time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::this(),
        scan_takes: takes,
        scan,
        page_tables_freed_by_rcu: vmaple_scan::frees_tables_by_rcu(),
        locks,
        locks_why,
    };
    print(&(serde_json::to_string(&object)? + "\n"))?;
    Ok(if takes == Some(Method::Bpf.name()) {
        Exit::Done
    } else {
        Exit::NotPossible
    })
}

impl LockObject {
    fn of(used: &LockUse) -> Self {
        Self {
            file: used.file.name(),
            calls: used.calls,
            mmap_lock_acquisitions: used.acquisitions,
        }
    }
}
