//! Processes that exist nowhere but in this tree, to try programs on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use vmaple_fuse::{Guest, Guests};
use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};

/// The number of the first: near the top of what there can be, where few processes have theirs.
const FIRST: u32 = 3_999_998;
const PAGE: u64 = 4096;
const BASE: u64 = 0x7f00_0000_0000;

/// The guests, of which one changes until this is dropped.
pub(super) struct Demo {
    pub(super) guests: Guests,
    is_over: Arc<AtomicBool>,
    changes: Option<JoinHandle<()>>,
}

impl Demo {
    /// Makes two processes: one that sleeps, and one that maps, writes and unmaps all the time.
    pub(super) fn start() -> anyhow::Result<Self> {
        let guests = Guests::new();
        let (quiet, busy) = (address_space()?, address_space()?);
        let (pid, name) = (free_pid(FIRST), "demo-quiet");
        guests.add(guest(pid, name, &quiet));
        guests.add(guest(free_pid(pid + 1), "demo-busy", &busy).parent(pid));
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let changes = std::thread::Builder::new().name("demo".into()).spawn(move || {
            // What it is mapped by keeps it.
            let _quiet = quiet;
            // Relaxed: says when to end, and nothing else.
            for step in (0..).take_while(|_| !ends.load(Relaxed)) {
                // Without memory it is a demo of less.
                let _ = change(&busy, step);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Ok(Self {
            guests,
            is_over,
            changes: Some(changes.context("starting the thread of the demo")?),
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(changes) = self.changes.take() {
            let _ = changes.join();
        }
    }
}

fn guest(pid: u32, name: &str, mm: &Mm) -> Guest {
    let program = format!("/usr/bin/{name}");
    Guest::new(pid, name, mm)
        .arguments([&program, "--forever"])
        .program(program)
}

/// Returns the first number from this one on that no process has.
fn free_pid(from: u32) -> u32 {
    (from..)
        .find(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        .unwrap_or(from)
}

/// Makes an address space of code, data, and memory that is written to.
fn address_space() -> anyhow::Result<Mm> {
    let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    for (at, pages, prot) in [
        (0x40_0000, 16, Prot::READ | Prot::EXEC),
        (0x60_0000, 4, Prot::READ),
        (0x80_0000, 64, Prot::READ | Prot::WRITE),
        (BASE, 1024, Prot::READ | Prot::WRITE),
    ] {
        mm.mmap(VirtAddr(at), pages * PAGE, prot, flags, None, 0)?;
    }
    let thread = mm.thread()?;
    for page in 0..512 {
        thread.write(VirtAddr(BASE + page * PAGE), &[1])?;
    }
    drop(thread);
    Ok(mm)
}

/// Maps and writes to a page after the others; after a hundred of them, unmaps them again.
fn change(mm: &Mm, step: u64) -> Result<(), vmaple_mm::Error> {
    let at = VirtAddr(BASE + (2000 + step % 100 * 2) * PAGE);
    if (step / 100).is_multiple_of(2) {
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
        mm.mmap(at, PAGE, Prot::READ | Prot::WRITE, flags, None, 0)?;
        mm.thread()?.write(at, &[1])?;
    } else {
        mm.munmap(at, PAGE)?;
    }
    Ok(())
}
