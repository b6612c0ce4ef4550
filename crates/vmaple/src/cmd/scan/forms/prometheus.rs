//! Sums of scans as metrics, in Prometheus' text format.

use std::borrow::Cow;
use std::fmt::Write;

use vmaple_scan::{Counters, Field, Report, Scan};

use crate::cmd::scan::forms::said;
use crate::cmd::scan::plan::Plan;
use crate::cmd::scan::processes::identity::{Identity, boot_time};
use crate::cmd::scan::processes::target::Failure;

/// A metric, with its samples.
struct Metric {
    name: Cow<'static, str>,
    help: Cow<'static, str>,
    samples: String,
}

impl Metric {
    fn text(&self) -> String {
        let Self { name, help, samples } = self;
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{samples}")
    }
}

/// Returns a label's value with the format's escapes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The metrics of all processes of one round. The samples of a metric stand together.
///
/// Each value is a metric of its own: a sum over values of different kinds has no meaning, nor has
/// one over cgroups, which contain one another.
#[derive(Default)]
pub(in crate::cmd::scan) struct Exposition {
    metrics: Vec<Metric>,
    /// The cgroups that are written already: processes share them.
    cgroups: Vec<String>,
}

impl Exposition {
    /// Adds a sample to the metric of a name.
    pub(in crate::cmd::scan) fn put(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let name = name.into();
        let found = self.metrics.iter().position(|metric| metric.name == name);
        let at = found.unwrap_or_else(|| {
            self.metrics.push(Metric {
                name,
                help: help.into(),
                samples: String::new(),
            });
            self.metrics.len() - 1
        });
        let metric = &mut self.metrics[at];
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(metric.samples, "{}{{{}}} {value}", metric.name, labels.join(","));
    }

    /// Adds a process.
    pub(in crate::cmd::scan) fn add(&mut self, scan: &Scan, identity: &Identity<'_>, plan: &Plan) {
        let pid = scan.pid().to_string();
        let pid = ("pid", pid.as_str());
        self.put_up(pid, 1.0);
        if let (Some(started), Some(boot)) = (identity.started(), boot_time()) {
            let help = "When the process was started, in seconds after the beginning of 1970.";
            let time = (boot + started).as_secs_f64();
            self.put("vmaple_process_start_time_seconds", help, &[pid], time);
        }
        match scan.counters() {
            Some(counters) => self.add_counters(pid, counters, plan),
            None => self.add_sums(pid, scan, plan),
        }
        let report = scan.report();
        let (comm, cmdline) = (identity.name(), identity.command_line());
        let user = identity.user().unwrap_or_default();
        let labels = [
            pid,
            ("comm", &comm),
            ("cmdline", &cmdline),
            ("user", &user),
            ("cgroup", identity.cgroup().unwrap_or_default()),
            ("unit", identity.unit().unwrap_or_default()),
            ("container", identity.container().unwrap_or_default()),
            ("method", report.method.name()),
        ];
        self.put(
            "vmaple_scan_info",
            "What the process is, and how it was read.",
            &labels,
            1.0,
        );
        self.add_report(pid, report, plan);
    }

    /// Adds a process that was not scanned.
    pub(in crate::cmd::scan) fn add_failure(&mut self, pid: u32, failure: &Failure) {
        let pid = pid.to_string();
        let pid = ("pid", pid.as_str());
        self.put_up(pid, 0.0);
        let help = "1 for each process that was not scanned, with the reason.";
        self.put("vmaple_scan_failed", help, &[pid, ("reason", failure.reason())], 1.0);
    }

    fn put_up(&mut self, pid: (&str, &str), value: f64) {
        self.put("vmaple_up", "1 if the process was scanned, 0 if not.", &[pid], value);
    }

    fn add_sums(&mut self, pid: (&str, &str), scan: &Scan, plan: &Plan) {
        let rollup = scan.rollup();
        if plan.wants(Field::Size) && scan.has(Field::Size) {
            self.put_memory(pid, "size", "Size of all mappings of the process.".into(), rollup.size);
        } else if plan.wants(Field::Size) {
            // The sum was read from smaps_rollup, which lacks this line.
            self.put_left_out(&[pid, ("field", "size"), ("why", "not-of-sum")]);
        }
        for field in scan.fields().iter().filter(|&field| plan.wants(field)) {
            if let Some(bytes) = rollup.stats.bytes(field) {
                let help = format!("{} of the process, as in smaps_rollup.", field.label());
                self.put_memory(pid, &field.label().to_lowercase(), help, bytes);
            }
            let sampled = scan.report().sampled.as_ref();
            if let Some(margin) = sampled.and_then(|sampled| sampled.margin(field)) {
                let name = format!("{}_margin", field.label().to_lowercase());
                let help = format!(
                    "What {} may be too high or too low by (95 %), as not all pages were counted.",
                    field.label()
                );
                self.put_memory(pid, &name, help, margin.bytes());
            }
        }
        if rollup.mappings > 0 {
            let help = "How many mappings the process has.";
            self.put("vmaple_process_mappings", help, &[pid], rollup.mappings as f64);
        }
    }

    fn add_counters(&mut self, pid: (&str, &str), counters: &Counters, plan: &Plan) {
        for &(counter, bytes) in &counters.process {
            if plan.wants_counter(counter) {
                let label = counter.label();
                let help = format!("{label} of the process, as the kernel has counted it for its status.");
                self.put_memory(pid, counter.name(), help, bytes);
            }
        }
        if let (Some(cgroup), true) = (&counters.cgroup, plan.wants_all()) {
            self.add_cgroup(&cgroup.path, &cgroup.memory);
        }
    }

    fn put_memory(&mut self, pid: (&str, &str), name: &str, help: String, bytes: u64) {
        self.put(format!("vmaple_process_{name}_bytes"), help, &[pid], bytes as f64);
    }

    fn add_cgroup(&mut self, path: &str, lines: &[(String, u64)]) {
        if self.cgroups.iter().any(|cgroup| cgroup == path) {
            return;
        }
        for (name, bytes) in lines {
            let help = match name.as_str() {
                "current" => "The cgroup's memory.current.".to_owned(),
                name => format!("{name} of the cgroup's memory.stat."),
            };
            let name = format!("vmaple_cgroup_{name}_bytes");
            self.put(name, help, &[("cgroup", path)], *bytes as f64);
        }
        self.cgroups.push(path.to_owned());
    }

    /// Adds how the process was read, and what the values lack.
    fn add_report(&mut self, pid: (&str, &str), report: &Report, plan: &Plan) {
        let mut put = |name, help, value| self.put(name, help, &[pid], value);
        put(
            "vmaple_scan_seconds",
            "Length of the scan.",
            report.elapsed.as_secs_f64(),
        );
        let longest = report.longest_run.as_secs_f64();
        put(
            "vmaple_scan_longest_run_seconds",
            "Length of its longest run or read.",
            longest,
        );
        if let Some(acquisitions) = report.mmap_lock.count() {
            let help = "How often the scan took the process's mmap_lock, where the method decides it.";
            put("vmaple_scan_mmap_lock_acquisitions", help, acquisitions as f64);
        }
        let is_partial = f64::from(u8::from(report.partial.is_some()));
        put(
            "vmaple_scan_partial",
            "1 if the scan is not of the whole process.",
            is_partial,
        );
        if report.mappings.is_some_and(|mappings| mappings > 0) {
            let help = "Attempts in vain, as a writer was inside.";
            put(
                "vmaple_scan_rejected_attempts",
                help,
                report.rejected.unwrap_or(0) as f64,
            );
            let help = "Mappings that are not known to be of one instant.";
            let unvalidated = report.unvalidated.unwrap_or(0);
            put("vmaple_scan_unvalidated_mappings", help, unvalidated as f64);
            let help = "Mappings whose pages were counted while writers were inside.";
            let later = report.counted_later.unwrap_or(0);
            put("vmaple_scan_counted_later_mappings", help, later as f64);
        }
        if let Some(rounded) = report.rounded.filter(|_| plan.has_rounded_sums()) {
            let help =
                "By how much Pss, Pss_Dirty, SwapPss and Locked may be too low at most, as values were rounded down.";
            put("vmaple_scan_rounded_bytes", help, rounded.at_most_bytes as f64);
        }
        for left_out in said::left_out(report, plan) {
            let field = left_out.line.to_lowercase();
            let labels = [pid, ("field", &field), ("why", left_out.why.name())];
            self.put_left_out(&labels);
        }
    }

    fn put_left_out(&mut self, labels: &[(&str, &str)]) {
        let help = "1 for each value that the scan lacks, with the reason.";
        self.put("vmaple_scan_left_out", help, labels, 1.0);
    }

    /// Returns the text of all.
    pub(in crate::cmd::scan) fn text(&self) -> String {
        self.metrics.iter().map(Metric::text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_of_several_processes_is_there_once_and_its_name_is_escaped() {
        let mut exposition = Exposition::default();
        let lines = [("anon".to_owned(), 4096), ("current".to_owned(), 1 << 52)];
        for path in ["/a\"b\\c\nd", "/e", "/a\"b\\c\nd"] {
            exposition.add_cgroup(path, &lines);
        }
        assert_eq!(
            exposition.text(),
            "# HELP vmaple_cgroup_anon_bytes anon of the cgroup's memory.stat.\n\
             # TYPE vmaple_cgroup_anon_bytes gauge\n\
             vmaple_cgroup_anon_bytes{cgroup=\"/a\\\"b\\\\c\\nd\"} 4096\n\
             vmaple_cgroup_anon_bytes{cgroup=\"/e\"} 4096\n\
             # HELP vmaple_cgroup_current_bytes The cgroup's memory.current.\n\
             # TYPE vmaple_cgroup_current_bytes gauge\n\
             vmaple_cgroup_current_bytes{cgroup=\"/a\\\"b\\\\c\\nd\"} 4503599627370496\n\
             vmaple_cgroup_current_bytes{cgroup=\"/e\"} 4503599627370496\n"
        );
    }
}
