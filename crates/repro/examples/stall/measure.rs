//! The measurement: three processes, each of which notes what it did and when.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::ptr;
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use vmaple_scan::Scanner;

use crate::{Lines, Stall};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SECOND: u64 = 1_000_000_000;
const PAGE: usize = 4096;
const REGION_PAGES: usize = 32_768;
/// Random calls before the measurement, so that the region is thousands of mappings.
const FRAGMENT: u32 = 8_000;
/// From the go to the window, so that all tasks are in full swing.
const WARM_UP: u64 = SECOND;
const WINDOW: u64 = SECOND;
const ROUNDS: u32 = 5;
/// A gap between two looks at the clock that long means that another task had the CPU.
const GAP: u64 = 100_000;

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// The region that the application maps and unmaps page by page.
struct Region {
    start: *mut u8,
    rng: fastrand::Rng,
}

impl Region {
    fn map() -> io::Result<Self> {
        // SAFETY: no address is asked for, so nothing that exists is replaced.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                REGION_PAGES * PAGE,
                ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }?;
        Ok(Self {
            start: start.cast(),
            rng: fastrand::Rng::with_seed(1),
        })
    }

    /// Maps or unmaps a random page, as the talk's application does.
    fn operate(&mut self) -> io::Result<()> {
        let page = self.start.wrapping_add(self.rng.usize(..REGION_PAGES) * PAGE).cast();
        if self.rng.bool() {
            let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::POPULATE;
            // SAFETY: the page lies in the region, which nothing else uses or refers to.
            unsafe { mmap_anonymous(page, PAGE, ProtFlags::WRITE, flags) }?;
        } else {
            // SAFETY: as above.
            unsafe { munmap(page, PAGE) }?;
        }
        Ok(())
    }
}

/// A child process that waits for the go and prints what it noted when it ends.
struct Role {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Role {
    fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut ready = String::new();
        output.read_line(&mut ready)?;
        if ready != "ready\n" {
            return Err(format!("{} did not start: it said {ready:?}", args.join(" ")).into());
        }
        Ok(Self { child, input, output })
    }

    /// Lets the child go on until `end`.
    fn go(&mut self, end: u64) -> io::Result<()> {
        writeln!(self.input, "{end}")
    }

    /// Returns the intervals that the child noted, in nanoseconds.
    fn finish(mut self) -> Result<Vec<(u64, u64)>> {
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        self.child.wait()?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Reports that this role is ready, and waits for the go; returns when the role ends.
fn wait_for_go() -> Result<u64> {
    println!("ready");
    let mut end = String::new();
    io::stdin().read_line(&mut end)?;
    Ok(end.trim().parse()?)
}

fn print(intervals: &[(u64, u64)]) -> Result<()> {
    println!("{}", serde_json::to_string(intervals)?);
    Ok(())
}

/// The monitor: reads the memory map of `pid` again and again, and notes when each read began and
/// ended.
pub(crate) fn monitor(what: &str, pid: u32, cpu: usize) -> Result<()> {
    let mut scanner = (what == "scan").then(Scanner::new).transpose()?;
    let mut buffer = vec![0; 128 << 10];
    pin(cpu)?;
    setpriority_process(None, 15)?;
    let end = wait_for_go()?;
    let mut reads = vec![];
    while now() < end {
        let begin = now();
        if let Some(scanner) = &mut scanner {
            drop(scanner.scan(pid)?);
        } else {
            let mut file = File::open(format!("/proc/{pid}/smaps"))?;
            while file.read(&mut buffer)? != 0 {}
        }
        reads.push((begin, now()));
    }
    print(&reads)
}

/// The busy task: spins on the clock, and notes when it had the CPU.
pub(crate) fn busy(cpu: usize) -> Result<()> {
    pin(cpu)?;
    let end = wait_for_go()?;
    let mut had = vec![];
    let (mut begin, mut last) = (now(), now());
    while last < end {
        let time = now();
        if time - last >= GAP {
            had.push((begin, last));
            begin = time;
        }
        last = time;
    }
    had.push((begin, last));
    print(&had)
}

/// Measures all rounds.
pub(crate) fn stall() -> Result<Stall> {
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let [first, .., last] = cpus[..] else {
        return Err("two CPUs are needed: one for the application, one for the monitor".into());
    };
    pin(first)?;
    let mut region = Region::map()?;
    for _ in 0..FRAGMENT {
        region.operate()?;
    }
    let (mut alone, mut smaps, mut scan) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        alone.push(application(&mut region, now() + WARM_UP)?.longest_us);
        smaps.push(monitored(&mut region, "smaps", last)?);
        scan.push(monitored(&mut region, "scan", last)?);
    }
    Ok(Stall {
        machine: machine()?,
        window_us: WINDOW / 1000,
        alone_longest_us: alone,
        smaps: median(smaps),
        scan: median(scan),
    })
}

/// Measures the application next to a monitor and a busy task.
fn monitored(region: &mut Region, what: &str, cpu: usize) -> Result<Lines> {
    let (cpu, pid) = (cpu.to_string(), std::process::id().to_string());
    let mut monitor = Role::start(&["monitor", what, &pid, &cpu])?;
    let mut busy = Role::start(&["busy", &cpu])?;
    let window = now() + WARM_UP;
    monitor.go(window + WINDOW)?;
    busy.go(window + WINDOW)?;
    let mut lines = application(region, window)?;
    lines.busy = within(&busy.finish()?, window);
    lines.reads = within(&monitor.finish()?, window);
    Ok(lines)
}

/// Returns the round with the median longest call.
fn median(mut rounds: Vec<Lines>) -> Lines {
    let longest = rounds.iter().map(|round| round.longest_us).collect();
    rounds.sort_by_key(|round| round.longest_us);
    let mut middle = rounds.swap_remove(rounds.len() / 2);
    middle.rounds_longest_us = longest;
    middle
}

/// Maps and unmaps until the window is over; returns what happened within it.
fn application(region: &mut Region, window: u64) -> Result<Lines> {
    let end = window + WINDOW;
    // Touched now: nothing but the region's calls may need the lock during the window.
    let mut calls = vec![(1, 1); 200_000];
    calls.clear();
    while now() < end && calls.len() < calls.capacity() {
        let begin = now();
        region.operate()?;
        calls.push((begin, now()));
        std::thread::sleep(Duration::from_micros(10));
    }
    let mut lines = Lines {
        calls_per_ms: vec![0; usize::try_from(WINDOW / 1_000_000)?],
        ..Lines::default()
    };
    for &(begin, done) in &calls {
        if done < window || begin >= end {
            continue;
        }
        let took = done - begin;
        lines.longest_us = lines.longest_us.max(took / 1000);
        if took >= 1_000_000 {
            lines.stalls.push((begin, done));
        }
        if done < end {
            lines.calls += 1;
            lines.calls_per_ms[usize::try_from((done - window) / 1_000_000)?] += 1;
        }
    }
    lines.stalls = within(&lines.stalls, window);
    Ok(lines)
}

/// Returns the parts of `intervals` within the window, in microseconds after its start.
fn within(intervals: &[(u64, u64)], window: u64) -> Vec<(u64, u64)> {
    let inside = |time: u64| (time.clamp(window, window + WINDOW) - window) / 1000;
    intervals
        .iter()
        .map(|&(begin, end)| (inside(begin), inside(end)))
        .filter(|(begin, end)| begin < end)
        .collect()
}

/// Returns the kernel's release and the processor's name.
fn machine() -> Result<String> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, name)| name);
    Ok(format!("Linux {release}, {model}"))
}
