//! A scan as JSON: one object on each line. docs/json.md describes it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use vmaple_scan::{Cgroup, Counters, Field, Form, Name, Report, Sampled, Scan, ScanRecord};

use crate::cmd::scan::forms::said;
use crate::cmd::scan::plan::Plan;
use crate::cmd::scan::processes::identity::Identity;
use crate::cmd::scan::processes::target::Failure;

/// The form and its version. A change that breaks a reader raises the version.
const SCHEMA: &str = "vmaple-scan/2";

/// A scan.
pub(in crate::cmd::scan) struct Object<'a> {
    scan: &'a Scan,
    identity: &'a Identity<'a>,
    form: &'a Form,
    plan: &'a Plan,
}

impl<'a> Object<'a> {
    pub(in crate::cmd::scan) fn new(
        scan: &'a Scan,
        identity: &'a Identity<'a>,
        form: &'a Form,
        plan: &'a Plan,
    ) -> Self {
        Self {
            scan,
            identity,
            form,
            plan,
        }
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        let fields = self.scan.fields().iter();
        fields.filter(|&field| self.plan.wants(field))
    }

    fn mapping(&self, record: &ScanRecord<'_>) -> serde_json::Map<String, serde_json::Value> {
        let mut map = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| {
            map.insert(name.to_owned(), value);
        };
        let mapping = &record.mapping;
        let vma = &mapping.vma;
        // Text, as in maps: a JSON reader may take a number for a double, which cannot hold all
        // addresses.
        put("start", format!("{:x}", vma.new_from).into());
        put("end", format!("{:x}", vma.end).into());
        put("perms", vma.perms.to_string().into());
        let skipped = if vma.inode == 0 { 0 } else { vma.new_from - vma.start };
        put("offset", vma.offset.wrapping_add(skipped).into());
        put("dev", format!("{:02x}:{:02x}", vma.dev.0, vma.dev.1).into());
        put("inode", vma.inode.into());
        let name = name(&vma.name);
        let (name, bytes) = text_and_bytes(&name);
        put("name", name.into());
        // Few names are not UTF-8: the others need no second form.
        if let Some(bytes) = bytes {
            put("name_bytes", bytes.into());
        }
        put("is_validated", record.is_validated.into());
        put("counts_later", record.counts_later.into());
        for field in self.fields() {
            let value = match field {
                Field::VmFlags => self.form.letters().text(mapping.vm_flags).into(),
                Field::THPeligible => mapping.thp_eligible.into(),
                Field::ProtectionKey if !self.form.fields().contains(field) => continue,
                // The values of a part are of the part from `start`.
                field => mapping.value(field).into(),
            };
            put(&key(field), value);
        }
        if let Some(ages) = record.ages {
            put("age_bytes", ages.as_slice().into());
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
            if let Some(bytes) = rollup.stats.bytes(field) {
                map.insert(key(field), bytes.into());
            }
        }
        if let Some(ages) = rollup.ages {
            map.insert("age_bytes".into(), ages.as_slice().into());
        }
        map
    }

    fn counters(&self, counters: &Counters) -> serde_json::Value {
        let process: serde_json::Map<_, _> = counters
            .process
            .iter()
            .filter(|(counter, _)| self.plan.wants_counter(*counter))
            .map(|&(counter, bytes)| (format!("{}_bytes", counter.name()), bytes.into()))
            .collect();
        let cgroup = counters.cgroup.as_ref().filter(|_| self.plan.wants_all());
        let cgroup = cgroup.map(|Cgroup { path, memory, .. }| {
            let lines = memory
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
        object.serialize_entry("time", &now())?;
        object.serialize_entry("pid", &self.scan.pid())?;
        let (comm, bytes) = text_and_bytes(self.identity.comm());
        object.serialize_entry("comm", &comm)?;
        object.serialize_entry("comm_bytes", &bytes)?;
        object.serialize_entry("started_ns", &self.identity.started().map(ns))?;
        object.serialize_entry("cmdline", &self.identity.arguments())?;
        object.serialize_entry("uid", &self.identity.user_number())?;
        object.serialize_entry("user", &self.identity.user())?;
        object.serialize_entry("cgroup", &self.identity.cgroup())?;
        object.serialize_entry("unit", &self.identity.unit())?;
        object.serialize_entry("container", &self.identity.container())?;
        let report = ReportObject::new(self.scan.report(), self.plan);
        object.serialize_entry("report", &report)?;
        if let Some(counters) = self.scan.counters() {
            object.serialize_entry("counters", &self.counters(counters))?;
        } else {
            object.serialize_entry("sum", &self.sum())?;
            if !self.plan.is_of_sums() {
                object.serialize_entry("mappings", &Mappings(self))?;
            }
        }
        object.end()
    }
}

/// A process that could not be scanned.
#[derive(Serialize)]
pub(in crate::cmd::scan) struct FailureObject {
    schema: &'static str,
    time: String,
    pid: u32,
    error: ErrorObject,
}

#[derive(Serialize)]
struct ErrorObject {
    reason: &'static str,
    text: String,
}

impl FailureObject {
    pub(in crate::cmd::scan) fn new(pid: u32, failure: &Failure) -> Self {
        let (reason, text) = (failure.reason(), failure.error.to_string());
        Self {
            schema: SCHEMA,
            time: now(),
            pid,
            error: ErrorObject { reason, text },
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a mapping's name as maps shows it, without escapes.
pub(in crate::cmd::scan) fn name<'a>(name: &Name<'a>) -> Cow<'a, [u8]> {
    match *name {
        Name::None => Cow::Borrowed(b""),
        Name::Path(path) => Cow::Borrowed(path),
        Name::Heap => Cow::Borrowed(b"[heap]"),
        Name::Stack => Cow::Borrowed(b"[stack]"),
        Name::Anon(text) => [b"[anon:", text, b"]"].concat().into(),
        Name::AnonShmem(text) => [b"[anon_shmem:", text, b"]"].concat().into(),
    }
}

/// Returns text, with U+FFFD for bytes that are none; and the bytes if there are such.
fn text_and_bytes(bytes: &[u8]) -> (Cow<'_, str>, Option<&[u8]>) {
    let text = String::from_utf8_lossy(bytes);
    let lost = matches!(text, Cow::Owned(_)).then_some(bytes);
    (text, lost)
}

/// The mappings. Each is made when it is written: there may be a hundred thousand.
struct Mappings<'a>(&'a Object<'a>);

impl Serialize for Mappings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.scan.records().map(|record| self.0.mapping(&record)))
    }
}

/// Returns a field's key: its name in lower case, with its unit.
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
    thread: Option<u32>,
    mappings: usize,
    runs: u64,
    budget_ns: Option<u64>,
    longest_run_ns: u64,
    in_runs_ns: u64,
    elapsed_ns: u64,
    rejected_attempts: u64,
    /// `None` where the kernel's file decides.
    mmap_lock_acquisitions: Option<u64>,
    validation: &'static str,
    unvalidated_mappings: usize,
    counted_later_mappings: usize,
    cut_names: usize,
    left_out: Vec<LeftOutObject>,
    rounded: Option<RoundedObject>,
    sampled: Option<SampledObject>,
    snapshot: Option<u32>,
    partial: Option<PartialObject>,
}

#[derive(Serialize)]
struct LeftOutObject {
    field: String,
    mappings: usize,
    of_sum: bool,
    why: &'static str,
}

#[derive(Serialize)]
struct RoundedObject {
    mappings: usize,
    at_most_bytes: u64,
}

#[derive(Serialize)]
struct SampledObject {
    tables: u64,
    counted_tables: u64,
    cpu_ns: u64,
    /// Half of the interval of 95 % of each value that is not exact.
    margins: serde_json::Map<String, serde_json::Value>,
}

impl SampledObject {
    fn new(sampled: &Sampled, plan: &Plan) -> Self {
        let wanted = sampled.margins.iter().filter(|margin| plan.wants(margin.field));
        Self {
            tables: sampled.tables,
            counted_tables: sampled.counted,
            cpu_ns: ns(sampled.cpu),
            margins: wanted
                .map(|margin| (key(margin.field), margin.bytes().into()))
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct PartialObject {
    why: &'static str,
    below: String,
}

impl ReportObject {
    fn new(report: &Report, plan: &Plan) -> Self {
        let left_out = said::left_out(report, plan).map(|left_out| LeftOutObject {
            field: left_out.line.to_lowercase(),
            mappings: left_out.mappings,
            of_sum: left_out.of_sum,
            why: left_out.why.name(),
        });
        Self {
            method: report.method.name(),
            held: report.method.held(),
            thread: report.thread,
            budget_ns: report.budget.map(ns),
            cut_names: report.cut_names.unwrap_or(0),
            left_out: left_out.collect(),
            rounded: report.rounded.map(|rounded| RoundedObject {
                mappings: rounded.mappings,
                at_most_bytes: rounded.at_most_bytes,
            }),
            sampled: report.sampled.as_ref().map(|sampled| SampledObject::new(sampled, plan)),
            mappings: report.mappings.unwrap_or(0),
            runs: report.runs,
            longest_run_ns: ns(report.longest_run),
            in_runs_ns: ns(report.in_runs),
            elapsed_ns: ns(report.elapsed),
            rejected_attempts: report.rejected.unwrap_or(0),
            mmap_lock_acquisitions: report.mmap_lock.count(),
            validation: report.validation.name(),
            unvalidated_mappings: report.unvalidated.unwrap_or(0),
            counted_later_mappings: report.counted_later.unwrap_or(0),
            snapshot: report.snapshot,
            partial: report.partial.map(|partial| PartialObject {
                why: partial.name(),
                below: format!("{:x}", partial.below()),
            }),
        }
    }
}
