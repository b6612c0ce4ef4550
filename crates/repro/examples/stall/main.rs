//! Measures one second of the talk's problem and draws it as two time lines: `stall measure FILE`
//! (as root), `stall draw FILE light|dark`.
//!
//! An application maps and unmaps pages on one CPU. On another, a monitor at nice 15 reads the
//! application's memory map next to a task that never sleeps. Each round measures the application
//! alone, then with a monitor that reads /proc/PID/smaps, then with one that scans by BPF.

mod draw;
mod measure;

use std::error::Error;
use std::fs;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// One measurement: what the committed data file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Stall {
    /// The kernel and the processor.
    machine: String,
    /// The length of the window, which begins a second after all tasks run.
    window_us: u64,
    /// The longest call of each round's second in which only the application ran: the noise of the
    /// machine.
    alone_longest_us: Vec<u64>,
    /// The monitor reads /proc/PID/smaps.
    smaps: Lines,
    /// The monitor scans by BPF.
    scan: Lines,
}

/// The two time lines of one monitor, of the round with the median longest call. Times are
/// microseconds after the start of the window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lines {
    /// Calls that the application completed.
    calls: u64,
    /// The longest of them.
    longest_us: u64,
    /// The longest call of each round.
    rounds_longest_us: Vec<u64>,
    /// Calls of a millisecond or more: begin and end.
    stalls: Vec<(u64, u64)>,
    /// How many calls ended in each millisecond.
    calls_per_ms: Vec<u32>,
    /// When the busy task had the CPU that it shares with the monitor: begin and end.
    busy: Vec<(u64, u64)>,
    /// The monitor's reads of the whole memory map: begin and end.
    reads: Vec<(u64, u64)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", file] => {
            let stall = measure::stall()?;
            fs::write(file, serde_json::to_string(&stall)? + "\n")?;
        }
        ["draw", file, theme @ ("light" | "dark")] => {
            let stall: Stall = serde_json::from_slice(&fs::read(file)?)?;
            io::stdout().write_all(draw::svg(&stall, theme == "dark").as_bytes())?;
        }
        ["monitor", what, pid, cpu] => measure::monitor(what, pid.parse()?, cpu.parse()?)?,
        ["busy", cpu] => measure::busy(cpu.parse()?)?,
        _ => return Err("usage: stall measure FILE, or stall draw FILE light|dark".into()),
    }
    Ok(())
}
