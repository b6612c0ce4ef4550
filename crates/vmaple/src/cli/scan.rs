//! The options of `vmaple scan`.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::EXIT_CODES;

/// Parses the number of a process.
pub(crate) fn pid(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        let mut why = "expected a process's number".to_owned();
        if text.starts_with(|c: char| c.is_alphabetic()) {
            let _ = write!(why, "; those of a program: vmaple scan $(pgrep -x {text})");
        }
        why
    })
}

/// A process, or where the numbers of more stand.
#[derive(Clone, Debug)]
pub(crate) enum PidArg {
    Number(u32),
    /// `-`
    Stdin,
}

pub(super) fn pid_arg(text: &str) -> Result<PidArg, String> {
    match text {
        "-" => Ok(PidArg::Stdin),
        _ => pid(text).map(PidArg::Number),
    }
}

/// The form of what a scan prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanFormat {
    /// What uses the memory, on one screen: by kind, and the largest mappings
    Summary,
    /// As /proc/PID/maps
    Maps,
    /// As /proc/PID/smaps
    Smaps,
    /// As /proc/PID/smaps_rollup
    Rollup,
    /// Comma-separated values; with --group-by only
    Csv,
    /// Folded stacks with Pss in kilobytes, of which flame graphs are made
    Folded,
    /// A picture (SVG) of all processes: areas of Pss, divided by kinds of memory
    Treemap,
    /// An object for each scan, with its report
    Json,
    /// Metrics of the sums, and of how they were read
    Prometheus,
}

impl ScanFormat {
    /// Returns whether it is made of the mappings of a process, and not of sums.
    pub(crate) const fn is_of_mappings(self) -> bool {
        matches!(
            self,
            Self::Summary | Self::Maps | Self::Smaps | Self::Folded | Self::Treemap
        )
    }
}

/// How a process is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanMethod {
    /// bpf, or else boosted, or else exit code 77; counters if they are enough; never plain
    Auto,
    /// A BPF program under RCU, without any lock of the process (root, or CAP_BPF and CAP_PERFMON;
    /// Linux 6.1)
    Bpf,
    /// The kernel's own counters of the whole process
    Counters,
    /// /proc/PID/smaps, one mapping a read, at real-time priority (CAP_SYS_NICE)
    Boosted,
    /// /proc/PID/smaps under the kernel's locks: the process waits while the reader is kept from
    /// its CPU
    Plain,
}

const SCAN_EXAMPLES: &str = "Examples:
  vmaple scan 812                                  # what uses its memory
  vmaple scan 812 --format rollup --fields rss,pss
  vmaple scan --name '^nginx$' --format prometheus --every 15s --output vmaple.prom
  vmaple scan --all --group-by unit --top 10 --cpu 50ms";

#[derive(Debug, Args)]
#[command(after_help = SCAN_EXAMPLES, after_long_help = format!("{SCAN_EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct ScanOptions {
    /// The processes; - reads their numbers from standard input
    ///
    /// Several are scanned one after the other. If one cannot be scanned, standard error reports
    /// why, and the others are still scanned. The exit code is that of the first failure.
    #[arg(required_unless_present = "select", conflicts_with = "select", value_parser = pid_arg, value_name = "PID")]
    pub(crate) pids: Vec<PidArg>,

    #[command(flatten)]
    pub(crate) select: SelectOptions,

    #[command(flatten)]
    pub(crate) group: GroupOptions,

    #[command(flatten)]
    pub(crate) record: RecordOptions,

    /// What to print [default: on a terminal summary, else smaps]
    ///
    /// On a terminal, processes that --all, --name and the like select are printed as a table.
    ///
    /// With several processes or rounds, a line `==> PID TIME <==` stands before the text of each.
    /// JSON is one object on each line; docs/json.md of vmaple's source describes it. Metrics are
    /// in Prometheus' text format, a metric for each value.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<ScanFormat>,

    /// Also print how long pages have not been used, by generations
    ///
    /// They are those of Linux's multi-gen LRU: reclaim begins a new one when it needs memory, and
    /// pages that have been used since the last come to the youngest. Reading them changes nothing.
    /// For --format summary and json.
    #[arg(long, conflicts_with_all = ["cpu", "sample", "group_by"], hide_short_help = true)]
    pub(crate) age: bool,

    /// With --format json, leave the mappings out
    #[arg(long, hide_short_help = true)]
    pub(crate) sums: bool,

    /// Print --format summary, also to a file or a pipe
    #[arg(long, conflicts_with_all = ["format", "group_by"])]
    pub(crate) summary: bool,

    /// Values to print, by their names in smaps, as in rss,pss [default: all]
    ///
    /// A scan for fewer values reads less. --format rollup and prometheus also have rss_anon,
    /// vm_swap, page_tables and others, which the kernel counts for the whole process, to within
    /// some hundred kilobytes. If all values of the list are such counters, size or rss, the scan
    /// looks at no mapping. An unknown name prints the list of all names.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) fields: Vec<String>,

    /// How to read
    #[arg(short, long, value_enum, default_value = "auto", value_name = "METHOD")]
    pub(crate) method: ScanMethod,

    /// Scan again and again, until the processes have ended
    ///
    /// A process that ends is left out from then on, even if another process gets its number.
    /// Ctrl-C ends the command after the current round, a second Ctrl-C at once.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) every: Option<Duration>,

    /// Write to FILE instead of standard output
    ///
    /// The file appears as a whole, and each round of --every replaces it as a whole. So the
    /// textfile collector of Prometheus' node_exporter can read it.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Print nothing on standard error for complete scans
    ///
    /// Errors, warnings, and reports of scans that are partial or lack something are still printed.
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Print all of each scan's report on standard error
    ///
    /// It adds the number of mappings, whether they are of one instant, and the runs or reads.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Time after which a run of the BPF program stops by itself
    ///
    /// Where the kernel is not preemptible, nothing else runs on the reader's CPU during a run. A
    /// run ends after its current page table, and interrupts count, so it may take longer.
    #[arg(long, hide_short_help = true, default_value = "200us", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) budget: Duration,

    /// CPU time in which to count as many pages as it is enough for, drawn by chance
    ///
    /// The sums then have a margin of 95 %, as in `61308 kB +- 310 kB`. Those without it are exact:
    /// Rss, Anonymous and Swap are what the kernel has counted, and huge pages are all looked at.
    /// Several processes share the time. To find the mappings of a process takes time beyond it.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) cpu: Option<Duration>,

    /// Count about N tables of 512 pages each, drawn by chance, instead of all
    #[arg(long, value_name = "N", conflicts_with = "cpu", hide_short_help = true)]
    pub(crate) sample: Option<u32>,

    /// Longest time that a scan may take
    ///
    /// A scan that takes longer prints what it has, marked as partial, and the exit code is 3.
    #[arg(long, hide_short_help = true, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) limit: Duration,
}

/// Which processes, instead of their numbers.
#[derive(Clone, Debug, Args)]
#[group(id = "select", multiple = true)]
pub(crate) struct SelectOptions {
    /// Scan every process of the machine
    ///
    /// Processes that end meanwhile are no error: standard error reports how many. Kernel threads
    /// have no memory map and are left out. With --every each round looks for the processes again.
    /// All of this holds for --name, --cgroup, --user and --children-of too. A process has to match
    /// each of these options that is given.
    #[arg(long, help_heading = SELECT)]
    pub(crate) all: bool,

    /// Scan processes whose name matches a regular expression, as of pgrep(1)
    ///
    /// The name is that of /proc/PID/comm, of at most 15 bytes.
    #[arg(long, value_name = "REGEX", value_parser = regex::bytes::Regex::new, help_heading = SELECT)]
    pub(crate) name: Option<regex::bytes::Regex>,

    /// Scan processes in a cgroup and in those below it
    ///
    /// The path is one of /proc/PID/cgroup, or one below /sys/fs/cgroup, of version 1 or 2.
    #[arg(long, value_name = "PATH", help_heading = SELECT)]
    pub(crate) cgroup: Option<String>,

    /// Scan processes whose effective user is USER, a name or number
    #[arg(long, value_name = "USER", help_heading = SELECT)]
    pub(crate) user: Option<String>,

    /// Scan the children of a process, their children and so on; not itself
    #[arg(long, value_name = "PID", value_parser = pid, help_heading = SELECT)]
    pub(crate) children_of: Option<u32>,
}

/// Groups instead of processes.
#[derive(Debug, Args)]
pub(crate) struct GroupOptions {
    /// Print a table of groups of processes, instead of each process
    ///
    /// A group has one name, executable, cgroup, effective user, systemd unit or container. The
    /// largest Pss comes first. Pss divides a shared page among all processes that map it, Uss
    /// counts pages of one process alone, Rss counts a shared page in each. `OF MAX` is the most
    /// mappings of one process, as a part of vm.max_map_count. On a terminal sizes have units, else
    /// they are bytes. --format json, csv and prometheus print the same for programs.
    #[arg(
        long,
        value_enum,
        value_name = "KEY",
        conflicts_with = "fields",
        help_heading = "Group processes"
    )]
    pub(crate) group_by: Option<GroupBy>,

    /// Print the N largest groups; a table has the others in one row
    ///
    /// Without --group-by each process is a group.
    #[arg(long, value_name = "N", help_heading = "Group processes")]
    pub(crate) top: Option<usize>,
}

/// Files that all rounds go to.
#[derive(Debug, Default, Args)]
pub(crate) struct RecordOptions {
    /// Also write all rounds to FILE, as a trace for Perfetto
    ///
    /// ui.perfetto.dev opens it, and shows the memory of each process over time by its mappings.
    /// FILE is replaced by the first scan and grows with each round.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cpu", "sample"], help_heading = RECORD, hide_short_help = true)]
    pub(crate) perfetto: Option<PathBuf>,

    /// Also draw all rounds to FILE, as a picture (SVG) of one process
    ///
    /// Time goes from left to right, addresses from top to bottom without the gaps between them,
    /// and colours show how much of each mapping is resident.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cpu", "sample", "select"], help_heading = RECORD, hide_short_help = true)]
    pub(crate) heat_map: Option<PathBuf>,
}

impl RecordOptions {
    /// Returns whether there is a file.
    pub(crate) fn is_some(&self) -> bool {
        self.perfetto.is_some() || self.heat_map.is_some()
    }
}

/// What the processes of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupBy {
    /// Each process by itself
    Pid,
    Name,
    Exe,
    Cgroup,
    User,
    Unit,
    Container,
}

impl GroupBy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Name => "name",
            Self::Exe => "exe",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Unit => "unit",
            Self::Container => "container",
        }
    }
}

const SELECT: &str = "Select processes by what they are";
const RECORD: &str = "Record rounds";
