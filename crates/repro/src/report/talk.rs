//! The talk's table, in the column layout of the original script's summary.

use std::fmt::Write;

use super::{Report, hangs_cell, spread_cells};
use crate::clock::NS_PER_MS;
use crate::plan::ProcFile;
use crate::stats::Series;

/// One line that says what the table below it is of: kernel, machine, file, placement.
#[must_use]
pub fn heading(report: &Report, file: ProcFile) -> String {
    let machine = &report.machine;
    let place = &report.plan.placement;
    let list = |cpus: &[usize]| cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let file = match file {
        ProcFile::None => "/proc/PID/statm (takes no lock: the control)".to_owned(),
        ProcFile::ProcmapQuery => "PROCMAP_QUERY".to_owned(),
        file => format!("/proc/PID/{file}"),
    };
    format!(
        "{} {} {}, {}{} CPUs{} | {file} | mapper CPU {}, scanners ({}) and busy tasks CPU {}, controller CPU {}{}",
        machine.sysname,
        machine.release,
        machine.arch,
        machine.cpu.as_ref().map_or(String::new(), |cpu| format!("{cpu}, ")),
        machine.cpus,
        if machine.virtual_machine { " (virtual)" } else { "" },
        place.mapper,
        report.plan.slice,
        list(&place.busy),
        place.controller,
        if report.real_time_controller { " (real-time)" } else { "" },
    )
}

/// The line that says what this machine does to a task that nobody disturbs.
#[must_use]
pub fn noise_line(report: &Report) -> String {
    let gaps: Vec<_> = report
        .noise
        .gaps()
        .into_iter()
        .map(|(cpu, ns)| format!("{:.3} ms on CPU {cpu}", ns as f64 / NS_PER_MS))
        .collect();
    let steal: u64 = report.steal_ns().into_values().sum();
    format!(
        "Noise floor: longest gap of a pinned spinner {}; {:.0} ms stolen by the hypervisor during the runs.",
        gaps.join(", "),
        steal as f64 / NS_PER_MS
    )
}

/// The talk's table: `%5d %9.3f %9.3f %9.3f %6s` of level, median, minimum, maximum, hangs.
///
/// A figure that was cut short by the end of a hang is a lower bound and begins with `>=`.
#[must_use]
pub fn talk_table(series: &Series) -> String {
    let mut text = String::from(
        "         Worst-case mmap()/munmap()\n\
         \x20          latency (milliseconds)\n\
         \x20        --------------------------\n\
         #Busy    Median   Minimum   Maximum #Hangs\n",
    );
    for row in &series.rows {
        let [median, min, max] = spread_cells(row.worst);
        let hangs = hangs_cell(row.hangs);
        // Writing to a String can not fail.
        let _ = writeln!(text, "{:>5} {median:>9} {min:>9} {max:>9} {hangs:>6}", row.busy);
    }
    text
}
