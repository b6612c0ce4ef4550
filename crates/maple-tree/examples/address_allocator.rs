//! An address allocator: hands out aligned ranges of a device's window, and takes them back.

use maple_tree::{InsertErrorKind, MapleTree};

const WINDOW: std::ops::Range<u64> = 0x8000_0000..0x9000_0000;
const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let window = MapleTree::<u32>::new()?;
    let mut device = 0;
    // From above, as mmap does, each aligned to its size.
    let full = loop {
        let size = MIB << (device % 4);
        match window.alloc_range_rev(size, WINDOW, size, device) {
            Ok(first) if device < 3 => println!("device {device} at {first:#x}"),
            Ok(_) => {}
            Err(error) => break error,
        }
        device += 1;
    };
    assert_eq!(full.cause, InsertErrorKind::Full);
    let view = window.snapshot()?;
    let used: u64 = view.iter().map(|(range, _)| range.end() - range.start() + 1).sum();
    println!(
        "{device} devices fit, {} of {} MiB used",
        used / MIB,
        (WINDOW.end - WINDOW.start) / MIB
    );

    // The gap that a device leaves is found again.
    let (range, _) = view.find(0x8800_0000).ok_or("nothing there")?;
    window.erase(*range.start())?;
    let size = range.end() - range.start() + 1;
    assert_eq!(window.alloc_range(size, WINDOW, size, 99)?, *range.start());
    Ok(())
}
