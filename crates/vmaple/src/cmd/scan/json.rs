//! A scan as JSON: an object a line. docs/json.md describes it.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use vmaple_scan::{Counters, Field, Form, Report, Scan, ScanRecord};

use super::plan::Plan;

/// The form, with its version: to be raised by a change that a reader could stumble over.
const SCHEMA: &str = "vmaple-scan/1";

/// A scan.
pub(super) struct Object<'a> {
    scan: &'a Scan,
    form: &'a Form,
    plan: &'a Plan,
}

impl<'a> Object<'a> {
    pub(super) fn new(scan: &'a Scan, form: &'a Form, plan: &'a Plan) -> Self {
        Self { scan, form, plan }
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        let wanted = |field: &Field| self.plan.wants(*field) && self.scan.has(*field);
        Field::ALL.into_iter().filter(wanted)
    }

    fn mapping(&self, record: &ScanRecord<'_>) -> serde_json::Map<String, serde_json::Value> {
        let mut map = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| {
            map.insert(name.to_owned(), value);
        };
        let vma = &record.vma;
        // As in maps: who reads JSON may take a number for a double, which does not hold all addresses.
        put("start", format!("{:x}", vma.new_from).into());
        put("end", format!("{:x}", vma.end).into());
        put("perms", vma.perms.to_string().into());
        let skipped = if vma.inode == 0 { 0 } else { vma.new_from - vma.start };
        put("offset", vma.offset.wrapping_add(skipped).into());
        put("dev", format!("{:02x}:{:02x}", vma.dev.0, vma.dev.1).into());
        put("inode", vma.inode.into());
        put("name", vma.name.to_string().into());
        put("is_validated", record.is_validated.into());
        put("counts_later", record.counts_later.into());
        for field in self.fields() {
            let value = match field {
                Field::VmFlags => self.form.flags(record.vm_flags).into(),
                Field::THPeligible => record.thp_eligible.into(),
                Field::ProtectionKey if !self.form.has(field) => continue,
                // What is of a part is of the part from `start`.
                field => field.of(record).into(),
            };
            put(&key(field), value);
        }
        map
    }

    fn sum(&self) -> serde_json::Map<String, serde_json::Value> {
        let rollup = self.scan.rollup();
        let mut map = serde_json::Map::new();
        map.insert("mappings".into(), rollup.mappings.into());
        if self.plan.wants(Field::Size) {
            map.insert("size_bytes".into(), rollup.size.into());
        }
        for field in self.fields() {
            if let Some(bytes) = field.bytes(&rollup.stats) {
                map.insert(key(field), bytes.into());
            }
        }
        map
    }

    fn counters(&self, counters: &Counters) -> serde_json::Value {
        let process: serde_json::Map<_, _> = counters
            .process
            .iter()
            .filter(|(name, _)| self.plan.wants_counter(name))
            .map(|&(name, bytes)| (format!("{name}_bytes"), bytes.into()))
            .collect();
        let cgroup = counters.cgroup.as_ref().filter(|_| self.plan.wants_all());
        let cgroup = cgroup.map(|(path, lines)| {
            let lines = lines
                .iter()
                .map(|(name, bytes)| (format!("{name}_bytes"), (*bytes).into()));
            let mut map: serde_json::Map<String, serde_json::Value> = lines.collect();
            map.insert("path".into(), path.as_str().into());
            map
        });
        serde_json::json!({ "process": process, "cgroup": cgroup })
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;

        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("schema", SCHEMA)?;
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        object.serialize_entry("time", &time.to_string())?;
        object.serialize_entry("pid", &self.scan.pid())?;
        object.serialize_entry("report", &self.scan.report().map(ReportObject::new))?;
        if let Some(counters) = self.scan.counters() {
            object.serialize_entry("counters", &self.counters(counters))?;
        } else {
            object.serialize_entry("sum", &self.sum())?;
            object.serialize_entry("mappings", &Mappings(self))?;
        }
        object.end()
    }
}

/// The mappings, each of which is made when it is written: there may be a hundred thousand.
struct Mappings<'a>(&'a Object<'a>);

impl Serialize for Mappings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.scan.records().map(|record| self.0.mapping(&record)))
    }
}

/// A field's key: its name in smaller letters, with its unit.
fn key(field: Field) -> String {
    let name = field.label().to_lowercase();
    match field {
        Field::VmFlags | Field::THPeligible | Field::ProtectionKey => name,
        _ => format!("{name}_bytes"),
    }
}

/// A report, with units in names.
#[derive(Serialize)]
struct ReportObject {
    method: &'static str,
    held: &'static str,
    mappings: usize,
    runs: u64,
    longest_run_ns: u64,
    in_runs_ns: u64,
    elapsed_ns: u64,
    rejected_attempts: u64,
    /// Nothing where the kernel's file decides.
    mmap_lock_acquisitions: Option<u64>,
    validation: &'static str,
    unvalidated_mappings: usize,
    counted_later_mappings: usize,
    snapshot: Option<u32>,
    partial: Option<PartialObject>,
}

#[derive(Serialize)]
struct PartialObject {
    why: &'static str,
    below: String,
}

impl ReportObject {
    fn new(report: &Report) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            method: report.method.name(),
            held: report.method.held(),
            mappings: report.mappings,
            runs: report.runs,
            longest_run_ns: ns(report.longest_run),
            in_runs_ns: ns(report.in_runs),
            elapsed_ns: ns(report.elapsed),
            rejected_attempts: report.rejected,
            mmap_lock_acquisitions: report.mmap_lock.count(),
            validation: report.validation.name(),
            unvalidated_mappings: report.unvalidated,
            counted_later_mappings: report.counted_later,
            snapshot: report.snapshot,
            partial: report.partial.map(|partial| PartialObject {
                why: partial.name(),
                below: format!("{:x}", partial.below()),
            }),
        }
    }
}
