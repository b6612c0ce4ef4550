//! A monitor that prints the maps of an address space while its owner changes it.
//!
//! The owner maps and unmaps as fast as it can; the monitor takes as long as it likes between two
//! records, and delays no call. What it prints is never torn: lines ascend, never overlap, and
//! cover what is mapped all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vmaple_mm::{Layout, Limits, MapFlags, Mm, Prot, VirtAddr};
use vmaple_proc::{Maps, Smaps};

const BASE: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 0x1000;
const PRIVATE: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS).union(MapFlags::FIXED);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    let read_write = Prot::READ | Prot::WRITE;
    // Even mappings stay, odd ones come and go.
    for i in 0..16 {
        let at = VirtAddr(BASE + i * 2 * PAGE);
        mm.mmap(at, PAGE, read_write, PRIVATE, None, 0)?;
        mm.thread()?.write(at, &[1])?;
    }
    let is_done = AtomicBool::new(false);
    let calls = thread::scope(|scope| {
        let owner = scope.spawn(|| {
            let mut calls = 0_u64;
            // Relaxed: says when to stop, and nothing else.
            while !is_done.load(Ordering::Relaxed) {
                let at = VirtAddr(BASE + (calls % 8 * 2 + 1) * 2 * PAGE);
                mm.munmap(at, PAGE)?;
                mm.mmap(at, PAGE, read_write, PRIVATE, None, 0)?;
                calls += 2;
            }
            Ok::<_, vmaple_mm::Error>(calls)
        });
        let printed = print(&mm);
        is_done.store(true, Ordering::Relaxed);
        let owned = owner.join().map_err(|_| "the owner panicked")?;
        printed?;
        Ok::<_, Box<dyn std::error::Error>>(owned?)
    })?;
    println!("{calls} calls of the owner during that time");
    Ok(())
}

/// Prints maps record by record, slowly, and then the resident pages of one instant's mappings.
fn print(mm: &Mm) -> Result<(), Box<dyn std::error::Error>> {
    let mut maps = Maps::open(mm)?;
    let mut line = [0; 200];
    while let Some(record) = maps.next_record()? {
        let length = record.write_line(&mut line)?;
        print!("{}", String::from_utf8_lossy(&line[..length]));
        thread::sleep(Duration::from_millis(20));
    }
    let (mut smaps, mut mappings, mut rss) = (Smaps::snapshot(mm)?, 0, 0);
    while let Some(record) = smaps.next_record()? {
        mappings += 1;
        rss += record.counts.rss;
    }
    println!("of one instant: {mappings} mappings, {rss} bytes resident");
    Ok(())
}
