//! `vmaple doctor`: what this kernel does and what this machine allows, without loading it.

mod json;

use std::fmt::Display;
use std::fs::OpenOptions;

use vmaple_repro::machine::noise;
use vmaple_repro::machine::sched::{allowed_cpus, check_nice, real_time_allowed};
use vmaple_repro::machine::{Machine, NS_PER_MS};
use vmaple_repro::plan::{Placement, PlacementRequest, Plan, Preset, Reading, Scanner, Slice};
use vmaple_repro::run::cgroup;
use vmaple_repro::run::experiment::check_file;
use vmaple_repro::run::limits;
use vmaple_repro::run::mmap_lock::{self, LockUse};
use vmaple_scan::{Method, Options};

use crate::cli::DoctorOptions;
use crate::cmd::print;
use crate::exit::Exit;

pub(crate) fn run(options: &DoctorOptions) -> anyhow::Result<Exit> {
    if options.json {
        return json::run();
    }
    let machine = Machine::this();
    let mut lines = vec![machine.to_string(), String::new()];
    match mmap_lock::measure(&std::env::current_exe()?) {
        Ok(uses) => lines.extend(locks(&uses)),
        Err(error) => lines.push(format!("Locks: not measured: {error}")),
    }
    lines.extend([String::new(), "This machine".to_owned()]);
    let cpus = allowed_cpus()?;
    let placement = PlacementRequest::default().place(&cpus);
    lines.extend(allowances(&placement, &machine));
    let used = placement.map_or(cpus, |p| [&[p.mapper], &p.busy[..]].concat());
    let gaps: Vec<_> = noise::measure(&used, noise::SPIN_NS)?
        .into_iter()
        .map(|gap| format!("{:.3} ms on CPU {}", gap.longest_ns as f64 / NS_PER_MS, gap.cpu))
        .collect();
    lines.extend([
        String::new(),
        format!("Noise floor: longest gap of a pinned spinner {}", gaps.join(", ")),
        String::new(),
    ]);
    print(&lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Prints which locks reading each file takes, and what follows.
fn locks(uses: &[LockUse]) -> Vec<String> {
    let mut lines = vec!["Acquisitions of mmap_lock by one scan of a sleeping process".to_owned()];
    lines.extend(uses.iter().map(
        |LockUse {
             file,
             calls,
             acquisitions,
         }| {
            let name = match file {
                Reading::Control => "none (statm)",
                file => file.name(),
            };
            format!("  {name:<16} {acquisitions:>4} in {calls:>3} calls")
        },
    ));
    lines.push(String::new());
    let names = |is: &dyn Fn(&&LockUse) -> bool| {
        let names = uses.iter().filter(|u| u.file != Reading::Control).filter(is);
        names.map(|u| u.file.name()).collect::<Vec<_>>().join(", ")
    };
    let by_bpf = |u: &LockUse| u.file.scanner() == Scanner::Bpf;
    let takes = names(&|u| u.acquisitions > 0);
    let not = names(&|u| u.acquisitions == 0 && !by_bpf(u));
    let bpf = names(&|u| u.acquisitions == 0 && by_bpf(u));
    if !takes.is_empty() {
        lines.push(format!(
            "{takes}: the reader holds mmap_lock. If it loses its CPU meanwhile, mmap(), munmap() and page\n\
             faults that need the lock wait in the process that is read, until the reader runs again."
        ));
    }
    if !not.is_empty() {
        lines.push(format!(
            "{not}: no mmap_lock while the process maps nothing. The kernel may take the lock of a single\n\
             mapping instead, which no tracepoint shows: a change of that mapping waits. `vmaple repro` measures how long."
        ));
    }
    if !bpf.is_empty() {
        lines.push(format!(
            "{bpf}: the same by `vmaple scan`, which takes no lock of the process at all."
        ));
    }
    lines
}

/// Prints what an experiment may do here.
fn allowances(placement: &vmaple_repro::Result<Placement>, machine: &Machine) -> Vec<String> {
    let files = Reading::ALL.into_iter().filter(|file| file.scanner() == Scanner::Proc);
    let files: Vec<_> = files
        .map(|file| match check_file(file) {
            Ok(()) => file.name().to_owned(),
            Err(_) => format!("no {file}"),
        })
        .collect();
    let scan = |method| vmaple_scan::Scanner::with(Options::new().method(method));
    let (bpf, boosted) = (scan(Method::Bpf), scan(Method::Boosted));
    let auto = match (&bpf, &boosted) {
        (Ok(_), _) => Ok("takes bpf"),
        (_, Ok(_)) => Ok("takes boosted"),
        _ => Err("exit code 77; --method plain reads under the kernel's locks"),
    };
    let mut rows = vec![
        row::<_, String>("files", Ok(files.join(", "))),
        row(
            "scan by bpf",
            bpf.map(|_| "possible: what it says of a process of its own is what the kernel says"),
        ),
        row("scan boosted", boosted.map(|_| "possible")),
        row::<_, String>("page tables", Ok(page_tables())),
        row("scan without --method", auto),
        row(
            "CPUs",
            placement.as_ref().map(|p| {
                format!(
                    "mapper and controller on {}, scanners and busy tasks on {:?}",
                    p.mapper, p.busy
                )
            }),
        ),
        row(
            "nice",
            check_nice(0).and(check_nice(15)).map(|()| "0 and 15 are allowed"),
        ),
        row("real-time class", real_time()),
    ];
    rows.extend(["weight=1", "quota=2ms/100ms", "cpuset"].map(|slice| {
        let place = slice.parse().and_then(slice_place);
        row(&format!("slice {slice}"), place)
    }));
    if let Ok(placement) = placement {
        let talk = limits::check(&Plan::preset(Preset::Talk, placement.clone()));
        rows.push(row("1000 busy tasks", talk.map(|()| "possible")));
    }
    rows.extend(["/dev/fuse", "/dev/kvm"].map(|device| {
        let open = OpenOptions::new().read(true).write(true).open(device);
        row(device, open.map(|_| "usable"))
    }));
    let autogroup = match machine.autogroup {
        Some(true) => "on: nice values count within a session, where all roles are",
        _ => "off",
    };
    rows.push(row::<_, String>("autogroup", Ok(autogroup)));
    rows
}

/// Says whether a scan by BPF may read a page table that is freed meanwhile.
fn page_tables() -> &'static str {
    match vmaple_scan::frees_tables_by_rcu() {
        Some(true) => "freed by RCU: a run of the scan reads none that is freed meanwhile",
        Some(false) => "not freed by RCU: a scan leaves out the pages of a table that is freed while it reads it",
        None => "unknown, as this kernel does not describe its types",
    }
}

fn row<T: Display, E: Display>(name: &str, value: Result<T, E>) -> String {
    match value {
        Ok(text) => format!("  {name:<22} {text}"),
        Err(why) => format!("  {name:<22} no: {why}"),
    }
}

fn real_time() -> Result<&'static str, &'static str> {
    real_time_allowed()
        .then_some("allowed: the controller is never starved")
        .ok_or("needs CAP_SYS_NICE; the controller may see a hang late")
}

fn slice_place(slice: Slice) -> vmaple_repro::Result<String> {
    Ok(cgroup::parent(slice)?.map_or(String::new(), |p| {
        format!("in {} (cgroup {})", p.dir.display(), p.hierarchy)
    }))
}
