//! Measures the CPU time of a scan next to that of the kernel's files, in turns.
//!
//! `beside_smaps [ROUNDS]`, or `ci/bench/run.sh scan`.

#![allow(unsafe_code)] // targets are made by fork(2)

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::time::Duration;

use vmaple_scan::{Method, Options, Sample, Scanner, Want};

type Error = Box<dyn std::error::Error>;

const PAGE: usize = 4096;
const DENSE_BYTES: usize = 1 << 30;

/// A shape of a process to scan.
#[derive(Clone, Copy)]
enum Shape {
    Mappings(usize),
    /// Each page, or one of this number.
    Pages(usize),
}

impl Shape {
    const ALL: [Self; 5] = [
        Self::Mappings(200),
        Self::Mappings(7_000),
        Self::Mappings(60_000),
        Self::Pages(1),
        Self::Pages(64),
    ];

    fn make(self) {
        let map = |bytes: usize, prot: libc::c_int| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: the kernel chooses the address.
            let at = unsafe { libc::mmap(null_mut(), bytes, prot, flags, -1, 0) };
            if at == libc::MAP_FAILED {
                // SAFETY: ends the target at once.
                unsafe { libc::_exit(1) }
            }
            at.cast::<u8>()
        };
        let write = |at: *mut u8| {
            // SAFETY: one byte of a page that was mapped.
            unsafe { at.write_volatile(1) };
        };
        match self {
            // Every other is written, so that none is merged with its neighbour.
            Self::Mappings(count) => (0..count).for_each(|i| {
                let prot = if i % 2 == 0 {
                    libc::PROT_READ
                } else {
                    libc::PROT_READ | libc::PROT_WRITE
                };
                let at = map(PAGE, prot);
                if i % 2 == 1 {
                    write(at);
                }
            }),
            Self::Pages(each) => {
                let at = map(DENSE_BYTES, libc::PROT_READ | libc::PROT_WRITE);
                // SAFETY: the memory was mapped above.
                unsafe { libc::madvise(at.cast(), DENSE_BYTES, libc::MADV_NOHUGEPAGE) };
                (0..DENSE_BYTES)
                    .step_by(each * PAGE)
                    .for_each(|offset| write(at.wrapping_add(offset)));
            }
        }
    }
}

/// A process that sleeps until this is dropped.
struct Target(libc::pid_t);

impl Target {
    fn start(shape: Shape) -> Result<Self, Error> {
        let (mut ready, tell) = std::io::pipe()?;
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: system calls alone.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            shape.make();
            // SAFETY: the byte outlives the call.
            unsafe { libc::write(tell.as_raw_fd(), [1_u8].as_ptr().cast(), 1) };
            loop {
                // SAFETY: sleeps.
                unsafe { libc::pause() };
            }
        }
        drop(tell);
        if pid < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        let target = Self(pid);
        ready.read_exact(&mut [0]).map_err(|_| "no memory for a target")?;
        Ok(target)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: a child that has not been waited for keeps its number.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: a null pointer, as the status is not wanted.
        unsafe { libc::waitpid(self.0, null_mut(), 0) };
    }
}

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A way to read a process, and its name.
struct Reader {
    name: &'static str,
    read: Box<dyn FnMut(u32) -> Result<(), Error>>,
}

impl Reader {
    fn scan(name: &'static str, method: Method, want: Want) -> Result<Self, Error> {
        Self::with(name, Options::new().method(method).want(want))
    }

    fn sum(name: &'static str, sample: Sample) -> Result<Self, Error> {
        Self::with(name, Options::new().method(Method::Bpf).sum_alone(true).sample(sample))
    }

    fn with(name: &'static str, options: Options) -> Result<Self, Error> {
        let mut scanner = Scanner::with(options.limit(Duration::MAX))?;
        let read = move |pid| {
            let scan = scanner.scan(pid)?;
            scanner.reuse(scan);
            Ok(())
        };
        Ok(Self {
            name,
            read: Box::new(read),
        })
    }

    fn file(name: &'static str, file: &'static str) -> Self {
        let mut buffer = vec![0; 128 << 10];
        let read = move |pid: u32| {
            let mut file = File::open(format!("/proc/{pid}/{file}"))?;
            while file.read(&mut buffer)? > 0 {}
            Ok(())
        };
        Self {
            name,
            read: Box::new(read),
        }
    }
}

/// Returns median, minimum and maximum.
fn cell(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
    match (times.first(), times.last()) {
        (Some(&least), Some(&most)) => format!("{} ({}, {})", ms(times[times.len() / 2]), ms(least), ms(most)),
        _ => String::from("-"),
    }
}

fn main() -> Result<(), Error> {
    let rounds = std::env::args()
        .nth(1)
        .map_or(Ok(21), |rounds| rounds.parse::<usize>())?;
    // Before there is memory of the readers that they would share.
    let targets = Shape::ALL
        .into_iter()
        .map(Target::start)
        .collect::<Result<Vec<_>, _>>()?;
    let mut readers = [
        Reader::scan("bpf: all of smaps", Method::Bpf, Want::Pages)?,
        Reader::sum("bpf: sums", Sample::All)?,
        Reader::sum("bpf: sums, 1 ms", Sample::Cpu(Duration::from_millis(1)))?,
        Reader::scan("bpf: page tables alone", Method::Bpf, Want::Tables)?,
        Reader::scan("bpf: mappings alone", Method::Bpf, Want::Ranges)?,
        Reader::file("smaps, read", "smaps"),
        Reader::scan("smaps, read and parsed", Method::Plain, Want::Pages)?,
        Reader::file("smaps_rollup, read", "smaps_rollup"),
        Reader::file("maps, read", "maps"),
        Reader::scan("noise floor: the first once more", Method::Bpf, Want::Pages)?,
    ];
    let mut rows: Vec<_> = readers.iter().map(|reader| format!("| {} |", reader.name)).collect();
    for target in &targets {
        let pid = target.0.unsigned_abs();
        let mut times = vec![vec![]; readers.len()];
        // The first round is for memory that is there afterwards.
        for round in 0..=rounds {
            for turn in 0..readers.len() {
                // Each is once the first.
                let i = (turn + round) % readers.len();
                let before = cpu_time();
                (readers[i].read)(pid)?;
                if round > 0 {
                    times[i].push(cpu_time() - before);
                }
            }
        }
        for (row, times) in rows.iter_mut().zip(&mut times) {
            *row += &format!(" {} |", cell(times));
        }
    }
    println!("CPU time of one scan, ms: median (minimum, maximum) of {rounds} rounds, all in turns\n");
    println!("| | 200 mappings | 7,000 | 60,000 | 1 GiB of small pages | each 64th |\n|---|--:|--:|--:|--:|--:|");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}
