//! The machine and kernel that a result belongs to.

use std::collections::BTreeMap;
use std::{fmt, fs};

use rustix::system::uname;
use serde::{Deserialize, Serialize};

/// What the kernel reports of the machine; `None` where it reports nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// `uname -s`, as in `Linux`.
    pub sysname: String,
    /// `uname -r`, as in `6.18.44`.
    pub release: String,
    /// `uname -v`: build, preemption model.
    pub version: String,
    /// `uname -m`, as in `x86_64`.
    pub arch: String,
    /// The processor's name.
    pub cpu: Option<String>,
    /// CPUs online.
    pub cpus: u64,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether it runs under a hypervisor.
    pub virtual_machine: bool,
    /// Whether the scheduler groups tasks by session (`kernel.sched_autogroup_enabled`).
    pub autogroup: Option<bool>,
    /// The nice value of this session's group, where there is one.
    pub autogroup_nice: Option<i32>,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`.
    pub transparent_hugepages: Option<String>,
    /// The one-minute load average before the experiment.
    pub load: Option<f64>,
}

impl Machine {
    /// Asks the kernel about this machine.
    #[must_use]
    pub fn this() -> Self {
        let name = uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            sysname: text(name.sysname()),
            release: text(name.release()),
            version: text(name.version()),
            arch: text(name.machine()),
            cpu: field(&cpuinfo, "model name").map(str::to_owned),
            cpus: steal_ns().len() as u64,
            memory_bytes: meminfo_bytes("MemTotal"),
            virtual_machine: field(&cpuinfo, "flags").is_some_and(|f| f.split(' ').any(|f| f == "hypervisor"))
                || fs::exists("/sys/hypervisor/type").unwrap_or(false)
                || fs::exists("/proc/device-tree/hypervisor").unwrap_or(false),
            autogroup: read_number("/proc/sys/kernel/sched_autogroup_enabled").map(|n| n != 0),
            autogroup_nice: read("/proc/self/autogroup")
                .rsplit_once("nice ")
                .and_then(|(_, n)| n.trim().parse().ok()),
            transparent_hugepages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            load: read("/proc/loadavg").split(' ').next().and_then(|n| n.parse().ok()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}, ", self.sysname, self.release, self.arch)?;
        if let Some(cpu) = &self.cpu {
            write!(f, "{cpu}, ")?;
        }
        let kind = if self.virtual_machine { " (virtual)" } else { "" };
        write!(f, "{} CPUs{kind}", self.cpus)
    }
}

/// Returns the value of a `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Returns the word in brackets of a list of choices.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Reads a file that holds one number.
pub(crate) fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Reads a line of /proc/meminfo, in bytes.
pub(crate) fn meminfo_bytes(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = field(&text, name)?.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Reads the time that the hypervisor gave to others while a CPU wanted to run: since boot, in
/// nanoseconds by CPU.
pub(crate) fn steal_ns() -> BTreeMap<usize, u64> {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    parse_steal(&stat, rustix::param::clock_ticks_per_second())
}

fn parse_steal(stat: &str, ticks_per_second: u64) -> BTreeMap<usize, u64> {
    stat.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let cpu = words.next()?.strip_prefix("cpu")?.parse().ok()?;
            // user nice system idle iowait irq softirq steal
            let ticks: u64 = words.nth(7)?.parse().ok()?;
            Some((cpu, ticks * (1_000_000_000 / ticks_per_second)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_eighth_figure_of_each_cpu() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu3 0 0 0 0 0 0 0 25 0 0\nintr 5\n";
        assert_eq!(
            parse_steal(stat, 100),
            BTreeMap::from([(0, 80_000_000), (3, 250_000_000)])
        );
    }

    #[test]
    fn the_choice_in_brackets_is_found() {
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn this_machine_has_a_name() {
        let machine = Machine::this();
        assert_eq!(machine.sysname, "Linux");
        assert!(machine.cpus > 0);
    }
}
