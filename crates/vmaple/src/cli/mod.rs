//! Every option of the command line.

mod mount;
mod scan;
mod top;

use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use vmaple_repro::plan::{Preset, Reading, Scanner, Slice, Target};

pub(crate) use self::mount::{LiveArgs, MountOptions, RunOptions};
pub(crate) use self::scan::{GroupBy, PidArg, RecordOptions, ScanFormat, ScanMethod, ScanOptions, SelectOptions, pid};
pub(crate) use self::top::TopOptions;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 error, 2 usage, 3 limit exceeded (--fail-above, --fail-on-hang, \
--limit), 77 not possible on this kernel or not with these rights, 130 interrupted";

/// Reads a process's memory map without stalling it, and shows how `cat /proc/PID/maps` does stall
/// it
///
/// Without a command it runs `vmaple repro`, the experiment of "cat /proc/$PID/maps: What Could
/// Possibly Go Wrong?" (Linux Plumbers Conference 2021), on the running kernel and on models of
/// v5.4, v6.17 and the cure, in two and a half minutes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the worst mmap()/munmap() of a process while others read its maps
    Repro(Box<ReproOptions>),
    /// Read a process's memory map without stopping the process
    Scan(ScanOptions),
    /// Show what uses the memory of this machine, live
    Top(TopOptions),
    /// Mount a /proc whose maps and smaps hold no process up, for monitors that take another root
    Mount(MountOptions),
    /// Unmount what vmaple has mounted, also if that vmaple was killed
    Umount {
        /// The directory
        dir: PathBuf,
    },
    /// Run a command for which /proc is such a tree
    Run(RunOptions),
    /// Print saved runs side by side, as the talk's last table does
    Compare(CompareOptions),
    /// Print which locks this kernel takes to read a file, and what this machine allows; no load
    Doctor(DoctorOptions),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands to a directory
    Man {
        /// Where to write vmaple.1, vmaple-repro.1 and so on
        dir: Option<PathBuf>,
    },
}

/// Returns whether a path is a name of standard output, which must not be replaced.
pub(crate) fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path.as_os_str() == *name)
}

/// How to print what was found.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Print one JSON object, for a fleet of machines; the exit code is 77 if a scan by BPF is not
    /// possible
    ///
    /// docs/json.md of vmaple's source describes the object. The noise floor is not measured.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Command {
    /// Returns whether its results go to standard output.
    pub(crate) fn prints(&self) -> bool {
        match self {
            Self::Repro(options) => !options.dry_run,
            Self::Scan(options) => options.output.as_deref().is_none_or(is_stdout),
            Self::Man { dir } => dir.is_none(),
            Self::Mount(_) | Self::Umount { .. } | Self::Run(_) => false,
            Self::Compare(_) | Self::Top(_) | Self::Doctor(_) | Self::Completions { .. } => true,
        }
    }
}

/// Parses a whole number.
fn whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|e: ParseIntError| match e.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "out of range",
        _ => "expected a whole number",
    })
}

impl Default for Command {
    fn default() -> Self {
        let matches = <ReproOptions as Args>::augment_args(clap::Command::new("repro")).get_matches_from(["repro"]);
        let options = <ReproOptions as clap::FromArgMatches>::from_arg_matches(&matches);
        Self::Repro(Box::new(options.unwrap_or_else(|e| e.exit())))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PresetName {
    /// 0,1,10 busy tasks, 3 samples of 0.7 s: two and a half minutes
    Check,
    /// 0,1,10,100 busy tasks, 7 samples of 10 s: 40 minutes or more
    Test,
    /// 0,1,10,100,1000 busy tasks, 24 samples of 10 s, as in the talk: three hours or more
    Talk,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Check => Self::Check,
            PresetName::Test => Self::Test,
            PresetName::Talk => Self::Talk,
        }
    }
}

const REPRO_EXAMPLES: &str = "Examples:
  vmaple repro --file smaps,none --scanner proc,bpf --busy 0,1,10,100 --samples 5
  vmaple repro --target v5.4,v6.17,maple --file smaps --busy 0,1,2 --freeze
  vmaple repro --preset talk --export-json talk.json --export-svg talk.svg";

#[derive(Debug, Args)]
#[command(after_help = REPRO_EXAMPLES, after_long_help = format!("{REPRO_EXAMPLES}\n\n{EXIT_CODES}"), next_help_heading = "Workload")]
pub(crate) struct ReproOptions {
    /// Levels, samples, duration; other options override
    ///
    /// check: 0, 1 and 10 busy tasks, 3 samples of 0.7 s, in two and a half minutes. test: up to
    /// 100 busy tasks, 7 samples of 10 s, in 40 minutes or more. talk: up to 1000 busy tasks, 24
    /// samples of 10 s, in three hours or more.
    #[arg(
        short,
        long,
        value_enum,
        default_value = "check",
        hide_possible_values = true,
        value_name = "check|test|talk"
    )]
    pub(crate) preset: PresetName,

    /// Whose memory is mapped and scanned [default: all possible]
    ///
    /// kernel: real processes on the running kernel. v5.4, v6.17, maple: models in one process
    /// each, with threads for processes. v5.4 keeps mappings as Linux 5.4 does, under a lock that
    /// readers and page faults take. v6.17 has a lock for each mapping, which a reader of maps or
    /// smaps holds while it looks at the mapping. maple, the cure, keeps mappings in a maple tree.
    /// Its readers walk the tree and the page tables under RCU, holding nothing. The models have
    /// maps, smaps, smaps_rollup and pagemap. Levels and samples of several targets are
    /// interleaved.
    #[arg(short, long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) target: Option<Vec<Target>>,

    /// What the scanners read [default: maps,smaps,none]
    ///
    /// maps, smaps, smaps_rollup, numa_maps, pagemap (of the mapper's region), procmap-query (the
    /// ioctl), none; and maps-bpf, smaps-bpf, maps-boosted, smaps-boosted, which --scanner makes of
    /// maps and smaps. `none` reads statm, which takes no lock of the address space: the control
    /// that shows the noise under the same load, for the kernel only. Levels and samples of several
    /// files are interleaved.
    #[arg(short, long, alias = "procfile", value_delimiter = ',', value_name = "LIST")]
    pub(crate) file: Option<Vec<Reading>>,

    /// How the scanners read it: proc, bpf, boosted
    ///
    /// proc: with read(2), as any monitor. bpf: the content of maps and smaps, by the BPF scan of
    /// `vmaple scan`, which takes no lock; reports name it maps-bpf and smaps-bpf. boosted: with
    /// read(2), one mapping at a time and at real-time priority; reports name it maps-boosted and
    /// smaps-boosted. Each of maps and smaps is read by each scanner, all other files by proc.
    /// Models are read by proc only. [default: proc; without --file also bpf where it is possible]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) scanner: Option<Vec<Scanner>>,

    /// Numbers of scanners and of busy tasks [default: by preset]
    ///
    /// For each n of the list, n scanners and n busy tasks run on the same CPU. A busy task uses up
    /// that CPU: anything else there hardly runs meanwhile.
    #[arg(short, long, alias = "nbusytasks", value_delimiter = ',', value_parser = whole::<u32>, value_name = "LIST")]
    pub(crate) busy: Option<Vec<u32>>,

    /// Runs of each kind [default: by preset]
    #[arg(short = 'n', long, alias = "nsamples", value_parser = whole::<u32>, value_name = "N")]
    pub(crate) samples: Option<u32>,

    /// Length of a run, as in 10s [default: by preset]
    #[arg(short, long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) duration: Option<Duration>,

    /// nice=N, weight=N, quota=2ms/100ms or cpuset
    ///
    /// It confines the scanners to their slice of the machine. weight, quota and cpuset are
    /// settings of a cgroup that the run makes (v2, or v1's cpu controller) and removes.
    #[arg(long, default_value = "nice=15", value_name = "SLICE")]
    pub(crate) slice: Slice,

    /// Busy tasks spin for TIME and sleep 1 ms in turn, instead of spinning without sleep
    #[arg(long, alias = "busyduration", value_parser = humantime::parse_duration, value_name = "TIME", hide_short_help = true)]
    pub(crate) busy_duration: Option<Duration>,

    /// Size of the region that is mapped and unmapped
    #[arg(long, default_value = "128MiB", value_name = "SIZE", hide_short_help = true)]
    pub(crate) region: ByteSize,

    /// Random operations before the scanners start
    ///
    /// They split the region into many mappings, as in a real process.
    #[arg(long, default_value_t = 0, value_parser = whole::<u64>, value_name = "N")]
    pub(crate) fragment: u64,

    /// Stop each scanner in the middle of its first read (models only)
    ///
    /// It stays there for the whole run, like a monitor that lost its CPU.
    #[arg(long)]
    pub(crate) freeze: bool,

    /// Leave out the mapper's second thread, which takes page faults
    #[arg(long, hide_short_help = true)]
    pub(crate) no_faults: bool,

    /// Seed of the random pages; sample i uses SEED + i
    #[arg(long, default_value_t = 1, value_name = "SEED", hide_short_help = true)]
    pub(crate) seed: u64,

    /// The mapper's CPU [default: the first]
    #[arg(long, alias = "cpumapper", value_name = "CPU", help_heading = "Placement")]
    pub(crate) cpu_mapper: Option<usize>,

    /// First CPU of scanners and busy tasks [default: the last]
    #[arg(long, alias = "cpubusytasks", value_name = "CPU", help_heading = "Placement")]
    pub(crate) cpu_busy: Option<usize>,

    /// CPUs with scanners and busy tasks, --busy on each
    #[arg(
        long,
        alias = "nbusycpus",
        default_value_t = 1,
        value_name = "N",
        help_heading = "Placement"
    )]
    pub(crate) busy_cpus: usize,

    /// The CPU of the process that starts and stops the others [default: the mapper's]
    #[arg(
        long,
        alias = "cpuscript",
        value_name = "CPU",
        help_heading = "Placement",
        hide_short_help = true
    )]
    pub(crate) cpu_controller: Option<usize>,

    /// Print every table, instead of one screen
    ///
    /// They are the talk's table and all figures of each series, and models and scanners side by
    /// side.
    #[arg(long, help_heading = "Output")]
    pub(crate) details: bool,

    #[command(flatten)]
    pub(crate) export: ExportOptions,

    /// Save everything; in each --export option - is standard output
    ///
    /// The file has the settings, the machine and every run with its histogram. docs/json.md of
    /// vmaple's source describes the form.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) export_json: Option<PathBuf>,

    /// Save one line for each run, as comma-separated values
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) export_csv: Option<PathBuf>,

    /// Exit with 3 if any call took longer than TIME
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Limits")]
    pub(crate) fail_above: Option<Duration>,

    /// Exit with 3 if any run hung
    #[arg(long, help_heading = "Limits")]
    pub(crate) fail_on_hang: bool,

    /// Allow more than 100 busy tasks outside a virtual machine
    #[arg(long, help_heading = "Limits", hide_short_help = true)]
    pub(crate) yes_load: bool,

    /// Print the plan and stop
    #[arg(long, help_heading = "Limits")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ExportOptions {
    /// Save the tables as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) export_markdown: Option<PathBuf>,

    /// Save the plot: worst case against busy tasks
    #[arg(long, value_name = "FILE")]
    pub(crate) export_svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vmaple compare v6.1.json v6.18.json --export-svg both.svg")]
pub(crate) struct CompareOptions {
    /// Reports that `vmaple repro --export-json` saved
    #[arg(required = true, value_name = "FILE.json")]
    pub(crate) reports: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) export: ExportOptions,
}
