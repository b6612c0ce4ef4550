//! A monitor that reads while a thread maps and unmaps: neither waits for the other.
//!
//!     cargo run -p vmaple-mm --example reader

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vmaple_mm::pgtable::{CountBy, PageCounts};
use vmaple_mm::{Layout, Limits, MapFlags, Mm, MmRef, PAGE_SIZE, Prot, VirtAddr, VmaRead};

/// Rounds of the application.
const ROUNDS: u64 = 20_000;

fn main() -> Result<(), vmaple_mm::Error> {
    let mm: Mm = Mm::new(Layout::default(), Limits::default())?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let app = scope.spawn(|| {
            let worked = work(&mm);
            // Relaxed: a flag.
            done.store(true, Ordering::Relaxed);
            worked
        });
        // The monitor keeps the structure of the address space, but nothing mapped.
        watch(&mm.grab(), &done)?;
        app.join().expect("no panic")
    })
}

/// The application: maps a region, touches it, unmaps it.
fn work(mm: &Mm) -> Result<(), vmaple_mm::Error> {
    let thread = mm.thread()?;
    let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    for _ in 0..ROUNDS {
        let at = mm.mmap(VirtAddr(0), 16 * PAGE_SIZE, Prot::READ | Prot::WRITE, private, None, 0)?;
        thread.write(at, b"data")?;
        mm.munmap(at, 16 * PAGE_SIZE)?;
    }
    Ok(())
}

/// The monitor: reads the mappings and the resident pages, and tells one state of the mappings from
/// several.
fn watch(mm: &MmRef, done: &AtomicBool) -> Result<(), vmaple_mm::Error> {
    let reader = mm.reader()?;
    let (mut looks, mut of_one_state, mut most) = (0, 0, (0, 0));
    // Relaxed: a flag.
    while !done.load(Ordering::Relaxed) {
        let before = mm.change();
        let Some(section) = reader.read_lock() else {
            break;
        };
        let mapped = section.iter_from(VirtAddr(0)).map(|vma| vma.range().len()).sum::<u64>();
        drop(section);
        let mut counts = PageCounts::default();
        let all = VirtAddr(0)..mm.layout().task_size;
        reader.walker().count(all, CountBy::Counters, &mut counts);
        // The same even number: the mappings were in one state all the while.
        of_one_state += u64::from(before.is_multiple_of(2) && before == mm.change());
        looks += 1;
        most = (most.0.max(mapped), most.1.max(counts.rss));
    }
    println!(
        "{} changes, {looks} looks, {of_one_state} of them at one state",
        mm.change() / 2
    );
    println!("at most {} bytes mapped and {} resident", most.0, most.1);
    Ok(())
}
