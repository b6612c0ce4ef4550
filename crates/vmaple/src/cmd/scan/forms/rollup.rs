//! A roll-up of the kernel's counters, in the form of smaps_rollup.

use std::io::Write;

use vmaple_scan::{Cgroup, Counter, Counters, FieldSet, Form, MemSizeStats, append};

use crate::cmd::scan::plan::Plan;

/// Writes counters as the kernel's roll-up writes its sums, and after them those of the cgroup. The
/// header's range is empty, as no mapping was read.
pub(in crate::cmd::scan) fn write(counters: &Counters, form: &Form, plan: &Plan, text: &mut Vec<u8>) {
    append(text, 128, |to| {
        form.write_rollup(0..0, &MemSizeStats::default(), FieldSet::NONE, to)
    });
    for &(counter, bytes) in &counters.process {
        if plan.wants_counter(counter) {
            // Writing to a vector cannot fail.
            let _ = writeln!(text, "{:<16}{:>8} kB", format!("{}:", label(counter)), bytes >> 10);
        }
    }
    if let (Some(Cgroup { path, memory, .. }), true) = (&counters.cgroup, plan.wants_all()) {
        let _ = writeln!(text, "cgroup: {path}");
        for (name, bytes) in memory {
            let _ = writeln!(text, "{:<20} {:>8} kB", format!("cgroup.{name}:"), bytes >> 10);
        }
    }
}

/// Returns the label of smaps where the value is the same, else that of status.
fn label(counter: Counter) -> &'static str {
    match counter {
        Counter::Rss => "Rss",
        Counter::Size => "Size",
        counter => counter.label(),
    }
}
