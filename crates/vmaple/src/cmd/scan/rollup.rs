//! A roll-up of what the kernel has counted, in the form of smaps_rollup.

use std::io::Write;

use vmaple_scan::{Counters, Form, Rollup};

use super::plan::Plan;

/// Counters as the kernel's roll-up has its sums, and after them those of the cgroup. The header's range is empty, as no mapping was looked at.
pub(super) fn write(counters: &Counters, form: &Form, plan: &Plan, text: &mut Vec<u8>) {
    form.write_rollup(&Rollup::default(), |_| false, text);
    for &(name, bytes) in &counters.process {
        if plan.wants_counter(name) {
            // Writing to a vector does not fail.
            let _ = writeln!(text, "{:<16}{:>8} kB", format!("{}:", label(name)), bytes >> 10);
        }
    }
    if let (Some((path, lines)), true) = (&counters.cgroup, plan.wants_all()) {
        let _ = writeln!(text, "cgroup: {path}");
        for (name, bytes) in lines {
            let _ = writeln!(text, "{:<20} {:>8} kB", format!("cgroup.{name}:"), bytes >> 10);
        }
    }
}

/// The label of smaps where the value is the same, else that of status.
fn label(name: &str) -> &'static str {
    match name {
        "rss" => "Rss",
        "size" => "Size",
        name => Counters::label(name).unwrap_or_default(),
    }
}
