//! The talk's table, in the column layout of the original script's summary.

use std::fmt::Write;

use crate::machine::NS_PER_MS;
use crate::plan::{ProcFile, Reading, Scanner, Target};

use super::cells::{hangs_cell, spread_cells};
use super::{Report, Series};

/// Writes the line above a table: kernel, machine, target, file, placement.
#[must_use]
pub fn heading(report: &Report, target: Target, file: Reading) -> String {
    let place = &report.plan.placement;
    let list = |cpus: &[usize]| cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let read = match (target, file) {
        (Target::Kernel, Reading::Control) => "/proc/PID/statm (takes no lock: the control)".to_owned(),
        (Target::Kernel, Reading::Proc(ProcFile::ProcmapQuery)) => "PROCMAP_QUERY".to_owned(),
        (Target::Kernel, file) => {
            let how = match file.scanner() {
                Scanner::Proc => "",
                Scanner::Bpf => " by the BPF scan (takes no lock)",
                Scanner::Boosted => ", one mapping a read at real-time priority",
            };
            format!("/proc/PID/{}{how}", file.proc_name())
        }
        // The kernels walk every page; the cure need not.
        (model, Reading::SMAPS | Reading::SMAPS_ROLLUP) => {
            let how = if model == Target::Maple {
                "page tables by their counters"
            } else {
                "page by page"
            };
            format!("{file} of the model {model} ({how})")
        }
        (model, file) => format!("{file} of the model {model}"),
    };
    let frozen = if report.plan.freeze { ", frozen in a read" } else { "" };
    format!(
        "{} | {read} | mapper CPU {}, scanners ({}{frozen}) and busy tasks CPU {}, controller CPU {}{}",
        report.machine,
        place.mapper,
        report.plan.slice,
        list(&place.busy),
        place.controller,
        if report.real_time_controller {
            " (real-time)"
        } else {
            ""
        },
    )
}

/// Writes the line on what this machine does to a task that nothing disturbs.
#[must_use]
pub fn noise_line(report: &Report) -> String {
    let gaps: Vec<_> = report
        .noise
        .gaps()
        .into_iter()
        .map(|(cpu, ns)| format!("{:.3} ms on CPU {cpu}", ns as f64 / NS_PER_MS))
        .collect();
    // An empty sum of floats would be -0.
    let steal = report.steal_ns().into_values().fold(0.0, |sum, ns| sum + ns as f64);
    format!(
        "Noise floor: longest gap of a pinned spinner {}; {:.0} ms stolen by the hypervisor during the runs.",
        gaps.join(", "),
        steal / NS_PER_MS
    )
}

/// Writes the talk's table: `%5d %9.3f %9.3f %9.3f %6s` of level, median, minimum, maximum, hangs.
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
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>5} {median:>9} {min:>9} {max:>9} {hangs:>6}", row.busy);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hung, report, sample};
    use super::*;
    use crate::report::series;

    #[test]
    fn the_table_is_laid_out_as_the_talks() {
        let maps = Some(Reading::MAPS);
        let report = report(vec![
            sample(None, 0, &[0.097], 0),
            sample(None, 0, &[0.036], 0),
            sample(None, 0, &[0.141], 0),
            sample(maps, 100, &[1.0, 307.146], 40),
            sample(maps, 100, &[1251.496], 40),
            hung(sample(maps, 1000, &[8019.6], 0)),
            sample(maps, 1000, &[4114.936], 0),
        ]);
        assert_eq!(
            talk_table(&series(&report)[0]),
            "         Worst-case mmap()/munmap()\n\
             \x20          latency (milliseconds)\n\
             \x20        --------------------------\n\
             #Busy    Median   Minimum   Maximum #Hangs\n\
             \x20   0     0.097     0.036     0.141       \n\
             \x20 100   779.321   307.146  1251.496       \n\
             \x201000 >=6067.27  4114.936 >=8019.60     *1\n"
        );
    }

    #[test]
    fn a_row_without_a_single_call_says_none_and_never_zero() {
        let report = report(vec![hung(sample(Some(Reading::MAPS), 1000, &[], 0))]);
        let table = talk_table(&series(&report)[0]);
        assert!(
            table.ends_with(" 1000      none      none      none     *1\n"),
            "{table}"
        );
    }

    #[test]
    fn the_heading_says_kernel_machine_target_file_and_placement() {
        let mut frozen = report(vec![]);
        frozen.plan.freeze = true;
        assert_eq!(
            heading(&frozen, Target::V54, Reading::MAPS),
            "Linux 5.4.0 x86_64, A CPU, 4 CPUs | maps of the model v5.4 | \
             mapper CPU 0, scanners (nice=15, frozen in a read) and busy tasks CPU 1, controller CPU 2 (real-time)"
        );
        for (target, file, expected) in [
            (
                Target::V617,
                Reading::SMAPS,
                "smaps of the model v6.17 (page by page) |",
            ),
            (
                Target::Maple,
                Reading::SMAPS_ROLLUP,
                "smaps_rollup of the model maple (page tables by their counters) |",
            ),
            (Target::Maple, Reading::PAGEMAP, "pagemap of the model maple |"),
        ] {
            let heading = heading(&report(vec![]), target, file);
            assert!(heading.contains(expected), "{heading}");
        }
        assert_eq!(
            heading(&report(vec![]), Target::Kernel, Reading::SMAPS),
            "Linux 5.4.0 x86_64, A CPU, 4 CPUs | /proc/PID/smaps | mapper CPU 0, scanners (nice=15) and busy tasks CPU 1, \
             controller CPU 2 (real-time)"
        );
        assert_eq!(
            noise_line(&report(vec![])),
            "Noise floor: longest gap of a pinned spinner 0.200 ms on CPU 0; 0 ms stolen by the hypervisor during the runs."
        );
    }
}
