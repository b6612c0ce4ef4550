//! The plan of a scan: the method, how much it has to read, and which values are printed.

use std::ops::RangeInclusive;
use std::time::Duration;

use vmaple_repro::Error;
use vmaple_scan::{Counter, Field, LeftOut, Method, Options, Sample, Scope, Want, kernel_form};

use crate::cli::{GroupBy, PidArg, ScanFormat, ScanMethod, ScanOptions};
use crate::cmd::scan::forms::{folded, group, summary, treemap};

const LIMITS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const EVERY: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(7 * 24 * 3600);

/// What to do.
pub(super) struct Plan {
    /// `None` for the best available.
    pub(super) method: Option<Method>,
    pub(super) want: Want,
    /// In lower case; counters by their names here; `None` for all.
    fields: Vec<String>,
    pub(super) format: ScanFormat,
    pub(super) sample: Sample,
    pub(super) ages: bool,
    /// Whether --format json leaves the mappings out.
    sums: bool,
    /// Whether there is a file that all rounds go to, with their mappings.
    is_recorded: bool,
    /// `None` if each process is printed.
    pub(super) group_by: Option<GroupBy>,
    pub(super) is_for_people: bool,
    pub(super) loudness: Loudness,
}

/// How much of a scan's report is printed on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loudness {
    /// What the result lacks.
    Quiet,
    /// What was held, and how long it took.
    Short,
    /// All of it.
    Full,
}

impl Plan {
    /// # Errors
    /// [`Error::Usage`] names what is not possible, and what is.
    pub(super) fn of(options: &ScanOptions, is_for_people: bool) -> Result<Self, Error> {
        in_range("--budget", options.budget, Options::BUDGETS)?;
        in_range("--limit", options.limit, LIMITS)?;
        options
            .every
            .map_or(Ok(()), |every| in_range("--every", every, EVERY))?;
        let method = match options.method {
            // Nothing else can count a part of the pages, or tell their ages.
            ScanMethod::Auto if options.cpu.is_some() || options.sample.is_some() || options.age => Some(Method::Bpf),
            ScanMethod::Auto => None,
            ScanMethod::Bpf => Some(Method::Bpf),
            ScanMethod::Counters => Some(Method::Counters),
            ScanMethod::Boosted => Some(Method::Boosted),
            ScanMethod::Plain => Some(Method::Plain),
        };
        let sample = sample(options);
        let selects = options.pids.is_empty();
        let is_default = options.format.is_none() && options.fields.is_empty() && method != Some(Method::Counters);
        let has_summary = options.summary || options.age && options.format.is_none() && !options.sums;
        let group_by = match options.group.group_by {
            None if options.group.top.is_some() => Some(GroupBy::Pid),
            None if is_default && is_for_people && selects && !has_summary => Some(GroupBy::Pid),
            group_by => group_by,
        };
        let format = match options.format {
            Some(format) => format,
            None if has_summary => ScanFormat::Summary,
            None if options.sums => ScanFormat::Json,
            None if sample != Sample::All => ScanFormat::Rollup,
            None if is_default && is_for_people => ScanFormat::Summary,
            None => ScanFormat::Smaps,
        };
        let has_mappings = format.is_of_mappings();
        if method == Some(Method::Counters) && group_by.is_some() {
            return Err(Error::Usage(
                "--group-by needs Pss and Uss, which the kernel does not count: take another method than counters"
                    .into(),
            ));
        }
        if method == Some(Method::Counters) && has_mappings {
            return Err(Error::Usage(
                "the kernel counts for whole processes: --method counters is for --format rollup, json and prometheus"
                    .into(),
            ));
        }
        let has_no_choice = match format {
            ScanFormat::Maps => Some("maps"),
            ScanFormat::Summary => Some("summary"),
            ScanFormat::Folded => Some("folded"),
            ScanFormat::Treemap => Some("treemap"),
            _ => None,
        };
        if let Some(name) = has_no_choice.filter(|_| !options.fields.is_empty()) {
            return Err(Error::Usage(format!(
                "--format {name} has no values to choose from: leave --fields out, or take --format smaps"
            )));
        }
        is_one_of_groups(options)?;
        check_sample(sample, method, format)?;
        check_age(options, method, format)?;
        if options.sums && format != ScanFormat::Json {
            return Err(Error::Usage("--sums is for --format json".into()));
        }
        let own_fields: &[Field] = match (group_by, format) {
            (Some(_), _) => &group::FIELDS,
            (None, ScanFormat::Summary) => &summary::FIELDS,
            (None, ScanFormat::Folded) => &folded::FIELDS,
            (None, ScanFormat::Treemap) => &treemap::FIELDS,
            _ => &[],
        };
        let fields: Vec<_> = match own_fields {
            [] => options.fields.iter().map(|field| name(field)).collect(),
            own => own.iter().map(|field| name(field.label())).collect(),
        };
        let names = Names::of(format, method);
        if let Some(unknown) = fields.iter().find(|name| !names.has(name)) {
            return Err(Error::Usage(format!(
                "--fields: '{unknown}' is no field of this format: use some of {}",
                names.text()
            )));
        }
        let want = if names.are_counted(&fields)? {
            Want::Counters
        } else if format == ScanFormat::Maps {
            Want::Ranges
        } else {
            let needs = fields.iter().filter_map(|name| Field::parse(name)).map(Want::of);
            needs.max().unwrap_or(Want::Pages).max(Want::Ranges)
        };
        let want = check_recordings(options, want)?;
        Ok(Self {
            method,
            want,
            fields,
            format,
            sample,
            ages: options.age,
            sums: options.sums,
            is_recorded: options.record.is_some(),
            group_by,
            is_for_people,
            loudness: match (options.quiet, options.verbose) {
                (true, _) => Loudness::Quiet,
                (false, true) => Loudness::Full,
                (false, false) => Loudness::Short,
            },
        })
    }

    /// Returns whether the output is made of sums over all mappings of a process alone.
    pub(super) fn is_of_sums(&self) -> bool {
        self.sample != Sample::All
            || self.sums
            || self.group_by.is_some()
            || matches!(self.format, ScanFormat::Rollup | ScanFormat::Prometheus)
    }

    /// Returns whether sums are all that a scan has to find.
    pub(super) fn needs_sums_alone(&self) -> bool {
        self.is_of_sums() && !self.is_recorded
    }

    pub(super) fn wants(&self, field: Field) -> bool {
        self.wants_all() || self.fields.iter().any(|name| field.label().eq_ignore_ascii_case(name))
    }

    pub(super) fn wants_counter(&self, counter: Counter) -> bool {
        self.wants_all() || self.fields.iter().any(|field| field == counter.name())
    }

    pub(super) fn wants_all(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns whether the output needs a value that is left out of mappings, or of their sum.
    pub(super) fn lacks(&self, left_out: &LeftOut) -> bool {
        let is_asked_for = match left_out.field {
            Some(field) => self.wants(field),
            // A line that this version does not know, or the cgroup's.
            None => self.wants_all(),
        };
        let is_printed = match self.format {
            _ if self.group_by.is_some() => left_out.of_sum,
            ScanFormat::Maps => false,
            ScanFormat::Smaps | ScanFormat::Summary | ScanFormat::Folded | ScanFormat::Treemap => left_out.mappings > 0,
            ScanFormat::Rollup | ScanFormat::Csv | ScanFormat::Prometheus => left_out.of_sum,
            ScanFormat::Json => true,
        };
        is_asked_for && is_printed
    }

    /// Returns whether the output has sums of values that a method may have rounded.
    pub(super) fn has_rounded_sums(&self) -> bool {
        let rounded = [Field::Pss, Field::PssDirty, Field::SwapPss, Field::Locked];
        let has_sums = self.group_by.is_some() || !matches!(self.format, ScanFormat::Maps | ScanFormat::Smaps);
        has_sums && rounded.iter().any(|&field| self.wants(field))
    }
}

/// Returns a name of `--fields` in lower case. The labels of status are accepted for its counters.
fn name(field: &str) -> String {
    let name = field.to_lowercase();
    Counter::parse(&name).map_or(name, |counter| counter.name().to_owned())
}

/// Returns how many tables of pages are to be counted.
fn sample(options: &ScanOptions) -> Sample {
    match (options.cpu, options.sample) {
        (Some(time), _) => Sample::Cpu(time),
        (None, Some(tables)) => Sample::Tables(tables),
        (None, None) => Sample::All,
    }
}

/// Checks that what is asked for can be estimated.
fn check_sample(sample: Sample, method: Option<Method>, format: ScanFormat) -> Result<(), Error> {
    if sample == Sample::All {
        return Ok(());
    }
    let why = match (method, format) {
        (_, format) if format.is_of_mappings() => {
            "--cpu and --sample estimate the sums of a process, not its mappings: take --format rollup, json or prometheus"
        }
        (Some(Method::Bpf), _) => return Ok(()),
        _ => "--cpu and --sample are of --method bpf: the kernel's files count all pages, and its counters none",
    };
    Err(Error::Usage(why.into()))
}

/// Checks that ages can be told and printed.
fn check_age(options: &ScanOptions, method: Option<Method>, format: ScanFormat) -> Result<(), Error> {
    let why = match (method, format) {
        _ if !options.age => return Ok(()),
        (Some(Method::Bpf), ScanFormat::Summary | ScanFormat::Json) if options.fields.is_empty() => return Ok(()),
        (Some(Method::Bpf), ScanFormat::Summary | ScanFormat::Json) => "--age needs all values: leave --fields out",
        (Some(Method::Bpf), _) => "--age is for --format summary and json: the kernel's files have no ages",
        _ => "--age is of --method bpf: the kernel's files have no ages",
    };
    Err(Error::Usage(why.into()))
}

/// Returns how much has to be read for a scan that is also recorded.
fn check_recordings(options: &ScanOptions, want: Want) -> Result<Want, Error> {
    if options.record.is_some() && (options.method == ScanMethod::Counters || want == Want::Counters) {
        return Err(Error::Usage(
            "--perfetto and --heat-map are made of mappings, and the kernel counts for whole processes: take another method \
             than counters, and other fields"
                .into(),
        ));
    }
    if options.record.heat_map.is_some() && !matches!(options.pids.as_slice(), [PidArg::Number(_)]) {
        return Err(Error::Usage(
            "--heat-map draws one address space: give the number of one process".into(),
        ));
    }
    Ok(match (&options.record.perfetto, &options.record.heat_map) {
        (Some(_), _) => Want::Pages,
        (None, Some(_)) => want.max(Want::Tables),
        (None, None) => want,
    })
}

/// Checks a format that is asked for, with or without groups.
fn is_one_of_groups(options: &ScanOptions) -> Result<(), Error> {
    let is_grouped = options.group.group_by.is_some() || options.group.top.is_some();
    let why = match (is_grouped, options.format) {
        (false, Some(ScanFormat::Csv)) => "--format csv is of groups: add --group-by",
        (true, Some(format)) if format.is_of_mappings() || format == ScanFormat::Rollup => {
            "--group-by prints sums of groups: leave --format out for a table, or take json, csv or prometheus"
        }
        _ => return Ok(()),
    };
    Err(Error::Usage(why.into()))
}

fn in_range(option: &str, value: Duration, range: RangeInclusive<Duration>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let text = humantime::format_duration;
    Err(Error::Usage(format!(
        "{option} {}: {} to {}",
        text(value),
        text(*range.start()),
        text(*range.end())
    )))
}

/// Returns the names that --fields accepts.
struct Names {
    fields: Vec<Field>,
    counters: &'static [Counter],
    /// Whether the method may still be chosen freely.
    is_open: bool,
}

impl Names {
    fn of(format: ScanFormat, method: Option<Method>) -> Self {
        let of_sum = |field: &Field| field.scope() != Scope::Mapping;
        let form = kernel_form().ok();
        let of_mapping = |field: &Field| form.as_ref().is_none_or(|form| form.fields().contains(*field));
        let mut fields = Field::ALL.to_vec();
        match format {
            _ if method == Some(Method::Counters) => fields.clear(),
            ScanFormat::Maps => fields.clear(),
            ScanFormat::Smaps | ScanFormat::Summary | ScanFormat::Folded | ScanFormat::Treemap => {
                fields.retain(of_mapping);
            }
            ScanFormat::Rollup | ScanFormat::Csv => fields.retain(of_sum),
            ScanFormat::Prometheus => fields.retain(|field| *field == Field::Size || of_sum(field)),
            ScanFormat::Json => fields.retain(|field| of_mapping(field) || of_sum(field)),
        }
        let is_open = method.is_none() && matches!(format, ScanFormat::Rollup | ScanFormat::Prometheus);
        let counters: &[_] = if is_open || method == Some(Method::Counters) {
            Counter::ALL
        } else {
            &[]
        };
        Self {
            fields,
            counters,
            is_open,
        }
    }

    fn field(&self, name: &str) -> Option<Field> {
        Field::parse(name).filter(|field| self.fields.contains(field))
    }

    fn has(&self, name: &str) -> bool {
        self.field(name).is_some() || self.counts(name)
    }

    fn counts(&self, name: &str) -> bool {
        self.counters.iter().any(|counter| counter.name() == name)
    }

    /// Returns whether the kernel's counters answer: if no other method is available, if a name is
    /// a counter's alone, or if they are equal to smaps.
    fn are_counted(&self, names: &[String]) -> Result<bool, Error> {
        if !self.is_open {
            return Ok(!self.counters.is_empty());
        }
        let alone = names.iter().find(|name| self.field(name).is_none());
        if let Some(alone) = alone {
            return match names.iter().find(|name| !self.counts(name)) {
                None => Ok(true),
                Some(other) => Err(Error::Usage(format!(
                    "--fields: the kernel has counted {alone} of the whole process, {other} is a sum over mappings: ask for them apart"
                ))),
            };
        }
        let is_the_same = |name: &String| matches!(self.field(name), Some(Field::Size | Field::Rss));
        Ok(!names.is_empty() && names.iter().all(is_the_same))
    }

    fn text(&self) -> String {
        let fields = self.fields.iter().map(|field| field.label().to_lowercase());
        let fields = fields.collect::<Vec<_>>().join(", ");
        let counters = self.counters.iter().map(|counter| counter.name());
        let counters = counters.collect::<Vec<_>>().join(", ");
        match (fields.as_str(), counters.as_str()) {
            (_, "") => fields,
            ("", _) => counters,
            _ => format!("{fields}; or of what the kernel counts of whole processes, {counters}"),
        }
    }
}
