//! Sums of scans as metrics, in Prometheus' text format.

use std::fmt::Write;

use vmaple_scan::{Acquisitions, Field, Scan};

use super::plan::Plan;

/// A metric, with its samples.
struct Metric {
    name: &'static str,
    help: &'static str,
    samples: String,
}

impl Metric {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            samples: String::new(),
        }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        // Writing to a string does not fail.
        let _ = writeln!(self.samples, "{}{{{}}} {value}", self.name, labels.join(","));
    }

    fn text(&self) -> String {
        if self.samples.is_empty() {
            return String::new();
        }
        format!(
            "# HELP {} {}\n# TYPE {} gauge\n{}",
            self.name, self.help, self.name, self.samples
        )
    }
}

/// A label's value, with what the format escapes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The metrics of all processes of one round: the samples of a metric stand together, whosever they are.
pub(super) struct Exposition {
    bytes: Metric,
    cgroup: Metric,
    mappings: Metric,
    info: Metric,
    seconds: Metric,
    longest: Metric,
    rejected: Metric,
    mmap_lock: Metric,
    unvalidated: Metric,
    partial: Metric,
    /// The cgroups that are in already: processes share them.
    cgroups: Vec<String>,
}

impl Default for Exposition {
    fn default() -> Self {
        Self {
            bytes: Metric::new(
                "vmaple_memory_bytes",
                "Memory of a process, by the names of smaps in smaller letters.",
            ),
            cgroup: Metric::new(
                "vmaple_cgroup_memory_bytes",
                "Memory of a cgroup, by the names of memory.stat.",
            ),
            mappings: Metric::new("vmaple_mappings", "Mappings of a process."),
            info: Metric::new("vmaple_scan_info", "The process's name, and how it was read."),
            seconds: Metric::new("vmaple_scan_seconds", "Length of the scan."),
            longest: Metric::new("vmaple_scan_longest_run_seconds", "Length of its longest run or read."),
            rejected: Metric::new(
                "vmaple_scan_rejected_attempts",
                "Attempts in vain, as a writer was inside.",
            ),
            mmap_lock: Metric::new(
                "vmaple_scan_mmap_lock_acquisitions",
                "Acquisitions of the process's mmap_lock by the scan, where the method says how many.",
            ),
            unvalidated: Metric::new(
                "vmaple_scan_unvalidated_mappings",
                "Mappings that are not known to be of one instant.",
            ),
            partial: Metric::new("vmaple_scan_partial", "1 if the scan is not of the whole process."),
            cgroups: vec![],
        }
    }
}

impl Exposition {
    /// Adds a process.
    pub(super) fn add(&mut self, scan: &Scan, plan: &Plan) {
        let pid = scan.pid().to_string();
        let pid = ("pid", pid.as_str());
        if let Some(counters) = scan.counters() {
            for &(name, bytes) in &counters.process {
                if plan.wants_counter(name) {
                    self.bytes.add(&[pid, ("field", name)], bytes as f64);
                }
            }
            if let (Some((path, lines)), true) = (&counters.cgroup, plan.wants_all()) {
                self.add_cgroup(path, lines);
            }
        } else {
            let rollup = scan.rollup();
            if plan.wants(Field::Size) {
                self.bytes.add(&[pid, ("field", "size")], rollup.size as f64);
            }
            for field in Field::ALL
                .into_iter()
                .filter(|&field| plan.wants(field) && scan.has(field))
            {
                if let Some(bytes) = field.bytes(&rollup.stats) {
                    let name = field.label().to_lowercase();
                    self.bytes.add(&[pid, ("field", &name)], bytes as f64);
                }
            }
            self.mappings.add(&[pid], rollup.mappings as f64);
        }
        let Some(report) = scan.report() else { return };
        let comm = std::fs::read(format!("/proc/{}/comm", scan.pid())).unwrap_or_default();
        let comm = String::from_utf8_lossy(&comm);
        let comm = ("comm", comm.strip_suffix('\n').unwrap_or(&comm));
        self.info.add(&[pid, comm, ("method", report.method.name())], 1.0);
        self.seconds.add(&[pid], report.elapsed.as_secs_f64());
        self.longest.add(&[pid], report.longest_run.as_secs_f64());
        if report.mmap_lock == Acquisitions::None {
            self.mmap_lock.add(&[pid], 0.0);
        }
        if scan.counters().is_none() {
            self.rejected.add(&[pid], report.rejected as f64);
            self.unvalidated.add(&[pid], report.unvalidated as f64);
            self.partial.add(&[pid], f64::from(u8::from(report.partial.is_some())));
        }
    }

    fn add_cgroup(&mut self, path: &str, lines: &[(String, u64)]) {
        if self.cgroups.iter().any(|cgroup| cgroup == path) {
            return;
        }
        for (name, bytes) in lines {
            self.cgroup.add(&[("cgroup", path), ("field", name)], *bytes as f64);
        }
        self.cgroups.push(path.to_owned());
    }

    /// The text of all.
    pub(super) fn text(&self) -> String {
        let all = [
            &self.bytes,
            &self.cgroup,
            &self.mappings,
            &self.info,
            &self.seconds,
            &self.longest,
            &self.rejected,
            &self.mmap_lock,
            &self.unvalidated,
            &self.partial,
        ];
        all.into_iter().map(Metric::text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_of_several_processes_is_there_once_and_its_name_is_escaped() {
        let mut exposition = Exposition::default();
        let lines = [("anon".to_owned(), 4096), ("file".to_owned(), 1 << 52)];
        for path in ["/a\"b\\c\nd", "/e", "/a\"b\\c\nd"] {
            exposition.add_cgroup(path, &lines);
        }
        assert_eq!(
            exposition.text(),
            "# HELP vmaple_cgroup_memory_bytes Memory of a cgroup, by the names of memory.stat.\n\
             # TYPE vmaple_cgroup_memory_bytes gauge\n\
             vmaple_cgroup_memory_bytes{cgroup=\"/a\\\"b\\\\c\\nd\",field=\"anon\"} 4096\n\
             vmaple_cgroup_memory_bytes{cgroup=\"/a\\\"b\\\\c\\nd\",field=\"file\"} 4503599627370496\n\
             vmaple_cgroup_memory_bytes{cgroup=\"/e\",field=\"anon\"} 4096\n\
             vmaple_cgroup_memory_bytes{cgroup=\"/e\",field=\"file\"} 4503599627370496\n"
        );
    }
}
